"""Converts our values to columns that PostgreSQL can keep, and back: instants, text, JSON, whole rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import msgspec

from liualgotrader.common.money import plain
from liualgotrader.common.rows import BUYS

R = TypeVar("R", bound=msgspec.Struct)

_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = _EPOCH_UTC.replace(tzinfo=None)
_MICROSECOND = timedelta(microseconds=1)

# Signed shares of the execution `t` of new_trades.
SIGNED = f"CASE WHEN t.operation IN {BUYS} THEN t.qty ELSE -t.qty END"


def utc_naive(at: int) -> datetime:
    """Return the instant (ns UTC) for a column without zone, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=at // 1000)


def utc_aware(at: int) -> datetime:
    """Return the instant (ns UTC) for a column with zone, cut to microseconds."""
    return _EPOCH_UTC + timedelta(microseconds=at // 1000)


def instant_of(moment: datetime) -> int:
    """Return the ns UTC of a column's value, with zone or without (then it is UTC)."""
    epoch = _EPOCH if moment.tzinfo is None else _EPOCH_UTC
    return (moment - epoch) // _MICROSECOND * 1000


def midnight(day: date) -> datetime:
    """Return the start of a day for a column without zone."""
    return _EPOCH + (day - _EPOCH.date())


def clean_text(text: str) -> str:
    r"""Return text that a column can hold: without NUL, and with lone surrogates replaced.

    >>> clean_text("broker said\x00 no")
    'broker said no'
    """
    if "\0" not in text and text.isascii():
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def json_text(value: Any) -> str:
    r"""Return JSON that a `jsonb` column can hold; what no JSON can say (NaN, infinity) becomes null.

    Decimals become text, NumPy scalars numbers, anything else its own text.

    >>> json_text({"rsi": float("nan"), "note": "a\x00b"})
    '{"rsi":null,"note":"ab"}'
    """
    try:
        text = _encoder.encode(value).decode()
    except UnicodeEncodeError:  # a lone surrogate
        return _encoder.encode(_cleaned(value)).decode()
    return _encoder.encode(_cleaned(value)).decode() if "\\u0000" in text else text


def from_json(text: str | None) -> Any:
    """Return the value of a `jsonb` column read as text, None for NULL."""
    return None if text is None else msgspec.json.decode(text)


def _plain_value(value: Any) -> Any:
    item = getattr(value, "item", None)  # NumPy scalars
    if callable(item) and getattr(value, "ndim", 1) == 0:
        return item()
    tolist = getattr(value, "tolist", None)  # NumPy arrays
    return tolist() if callable(tolist) else str(value)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_cleaned(item) for item in value]
    return value


_encoder = msgspec.json.Encoder(enc_hook=_plain_value)


# --- rows ---------------------------------------------------------------------------------------


def insert_into(table: str, columns: Iterable[str]) -> str:
    """Return the statement that inserts the objects of the JSON array $1 in their order, each value as its column's type."""
    names = ", ".join(columns)
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {rows_of(table)} ORDER BY ordinality"


def rows_of(table: str) -> str:
    """Return the FROM item that has the objects of the JSON array $1 as rows of a table, with their `ordinality`."""
    return f"json_populate_recordset(NULL::{table}, $1::text::json) WITH ORDINALITY"


def columns_of(row: msgspec.Struct) -> dict[str, Any]:
    """Return a row's values by field, instants (`at`, `…_at`) as timestamps."""
    values = msgspec.structs.asdict(row)
    for name in _instants(type(row)):
        values[name] = utc_aware(values[name])
    return values


@cache
def _instants(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(name for name in kind.__struct_fields__ if name == "at" or name.endswith("_at"))


def row_from(kind: type[R], record: Mapping[str, Any], **given: Any) -> R:
    """Return the struct whose fields have the values of the columns of their names, and those that are `given`."""
    return kind(**{name: _own(record[name]) for name in kind.__struct_fields__ if name not in given}, **given)


def _own(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return instant_of(value)
    return value.isoformat() if isinstance(value, date) else value
