"""Pages over several symbols: ordered by symbol, then time, `limit` rows in all, an opaque token for the next.

A token names a symbol and the place in it where the next page begins. Places do not move when new rows
come, so no row is lost or repeated at a page's edge, equal times included.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Protocol


class Rows(Protocol):
    """The rows of one symbol that a request is about. A place is an integer that grows with time."""

    def places(self) -> Sequence[int]:
        """Return the places, ascending."""
        ...

    def row(self, place: int) -> object:
        """Return the row at a place as the wire shows it."""
        ...


def page(
    symbols: Sequence[str],
    rows_of: Callable[[str], Rows],
    *,
    limit: int,
    descending: bool,
    token: str | None,
) -> tuple[dict[str, list[object]], str | None]:
    """Return one page as rows by symbol, and the token of the next one, None if there is none.

    Raises:
        ValueError: if the token is none of ours.
    """
    first_symbol, first_place = _read(token) if token else ("", None)
    found: dict[str, list[object]] = {}
    left = limit
    for symbol in sorted(set(symbols)):
        if symbol < first_symbol:
            continue
        rows = rows_of(symbol)
        places = rows.places()
        wanted = places[::-1] if descending else places
        if symbol == first_symbol and first_place is not None:
            from_place = first_place
            wanted = [p for p in wanted if (p <= from_place if descending else p >= from_place)]
        if not wanted:
            continue
        if not left:
            return found, _token(symbol, wanted[0])
        found[symbol] = [rows.row(place) for place in wanted[:left]]
        if len(wanted) > left:
            return found, _token(symbol, wanted[left])
        left -= len(wanted)
    return found, None


def _token(symbol: str, place: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{place}".encode()).decode()


def _read(token: str) -> tuple[str, int]:
    try:
        symbol, _, place = base64.urlsafe_b64decode(token.encode()).decode().rpartition("|")
        return symbol, int(place)
    except (binascii.Error, UnicodeDecodeError, ValueError) as e:
        raise ValueError("invalid page_token") from e
