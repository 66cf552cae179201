"""Parts of a report's page, every text of a user's escaped: cards, tables, and figures as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape

from liualgotrader.common.money import ZERO

TEXTS = frozenset({"ended", "opened", "strategy", "symbol", "side", "exit reason"})  # columns that hold no numbers
UNKNOWN = "–"


def card(title: str, body: str, note: str = "", kind: str = "") -> str:
    """Return a section of the page: `body` is HTML, `kind` how much room it takes."""
    said = f'<p class="note">{with_code(note)}</p>' if note else ""
    return f'<section class="card {kind}"><div class="head"><h2>{escape(title)}</h2>{said}</div>{body}</section>\n'


def with_code(text: str) -> str:
    """Return an escaped sentence, what stands between backquotes as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 and n < len(parts) - 1 else part for n, part in enumerate(parts))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that a click sorts; the cells are HTML."""
    kinds = [' class="text"' if name in TEXTS else "" for name in head]
    names = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, head, strict=True))
    cells = ("".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f'<div class="scroll"><table class="sort"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names with what stands beside them."""
    body = "".join(f"<tr><td>{escape(name)}</td><td>{escape(str(text))}</td></tr>" for name, text in rows)
    return f'<table class="facts"><tbody>{body}</tbody></table>'


def counted(number: int, what: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def signed(figure: Decimal | float | None, text: str) -> str:
    """Return a text in the colour of a gain or a loss."""
    if not figure:
        return text
    return f'<span class="{"gain" if figure > 0 else "loss"}">{text}</span>'


def dollars(amount: Decimal | None) -> str:
    """Return an amount to the cent, with its sign."""
    return UNKNOWN if amount is None else f"{amount if amount else ZERO:+,.2f}"


def price(amount: Decimal | None) -> str:
    """Return dollars a share, to the cent or as much finer as they are, up to four places."""
    if amount is None:
        return UNKNOWN
    text = f"{amount:,.4f}"
    return text[:-2] if text.endswith("00") else text


def percent(fraction: float | None, *, digits: int = 2, sign: str = "") -> str:
    """Return a fraction in percent."""
    return UNKNOWN if fraction is None else f"{100 * fraction:{sign}z,.{digits}f} %"


def plain(figure: float | None, *, digits: int = 2, sign: str = "") -> str:
    """Return a figure to so many places."""
    return UNKNOWN if figure is None else f"{figure:{sign}z,.{digits}f}"
