"""What every tape shares: its assets, events merged by time from columns, history folded from bars."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from liualgotrader.common.calendar import Session, session_of
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar, Counts
from liualgotrader.data.tapes.columns import SymbolColumns, TapeEvent, merged


@dataclass(frozen=True, slots=True, order=True)
class TapeAsset:
    """One symbol of a tape, as `common.ports.Asset` wants it; `exchange` is Alpaca's name of the venue."""

    symbol: str
    name: str
    exchange: str
    shortable: bool = True
    fractionable: bool = True


class ColumnTape(ABC):
    """A `Tape` whose symbols are loaded one by one as columns, when their events are first asked for."""

    def __init__(self, session: Session, assets: Sequence[TapeAsset]) -> None:
        self._session = session
        self._assets = tuple(sorted(assets))
        self._columns: dict[str, SymbolColumns] = {}

    @property
    def session(self) -> Session:
        """The calendar's session of the day."""
        return self._session

    @property
    def day(self) -> date:
        """The day that is played."""
        return self._session.day

    @property
    def opens_at(self) -> int:
        """When regular trading begins, ns UTC."""
        return self._session.opens_at

    @property
    def closes_at(self) -> int:
        """When regular trading ends, ns UTC."""
        return self._session.closes_at

    def assets(self) -> Sequence[TapeAsset]:
        """Return what can be traded, by symbol in alphabetical order."""
        return self._assets

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols in alphabetical order."""
        return tuple(a.symbol for a in self._assets)

    def events(self, start: int, end: int) -> Iterator[TapeEvent]:
        """Yield quotes, trades and statuses with start <= at < end, by time.

        At equal times symbols come in alphabetical order, and within a symbol statuses, then quotes, then
        trades, each in the order of their file. The first call loads all symbols.
        """
        return merged([self.columns(s) for s in self.symbols()], start, end)

    def columns(self, symbol: str) -> SymbolColumns:
        """Return all events of the day in one symbol, loaded on first use.

        Raises:
            ConfigError: if the tape does not have the symbol.
        """
        found = self._columns.get(symbol)
        if found is None:
            if symbol not in self.symbols():
                raise ConfigError(f"The tape of {self.day} has no symbol {symbol}; it has {listed(self.symbols())}.")
            found = self._columns[symbol] = self._load(symbol)
        return found

    def crosses(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the symbols in which the print of the opening and of the closing auction is marked; loads them all."""
        opening, closing = (
            frozenset(s for s in self.symbols() if np.any(self.columns(s).trades.flags & int(mark)))
            for mark in (Counts.OPENING_CROSS, Counts.CLOSING_CROSS)
        )
        return opening, closing

    @abstractmethod
    def _load(self, symbol: str) -> SymbolColumns:
        """Return all events of the day in one symbol."""

    @abstractmethod
    def notes(self) -> list[str]:
        """Return one sentence per symbol whose events are not as the market made them (made-up quotes or trades)."""

    @abstractmethod
    def minute_bars(self, symbol: str, start: int, end: int) -> Sequence[Bar]:
        """Return minute bars of sessions before `day` with start <= opened_at < end, oldest first."""

    @abstractmethod
    def daily_bars(self, symbol: str, start: date, end: date) -> Sequence[Bar]:
        """Return daily bars from `start` to `end`, both included, of days before `day`; each spans its session."""


def session_must_exist(day: date, what: str) -> Session:
    """Return the session of `day`.

    Raises:
        ConfigError: if the exchange is shut on that day.
    """
    session = session_of(day)
    if session is None:
        raise ConfigError(f"The exchange is shut on {day}, so {what} cannot be played; choose a trading day.")
    return session


def chosen_symbols(wanted: Sequence[str] | None, existing: Sequence[str], where: str) -> list[str]:
    """Return the wanted symbols in alphabetical order, all existing ones if none are named.

    Raises:
        ConfigError: if there is nothing, or a wanted symbol is not there.
    """
    if not existing:
        raise ConfigError(f"{where} holds no market data for that day; name another folder or another day.")
    if not wanted:
        return sorted(existing)
    upper = sorted({s.upper() for s in wanted})
    missing = [s for s in upper if s not in set(existing)]
    if missing:
        raise ConfigError(f"{where} holds nothing for {listed(missing)}; it has {listed(sorted(existing))}.")
    return upper


def listed(names: Sequence[str], limit: int = 12) -> str:
    """Return names for a sentence, the first few of many."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
