"""`Scanner`: the class that every scanner extends, with a name, a period and `run`, which returns symbols."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextvars import Context as OwnContext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.plugins import build, check_arguments, context_for, load_class
from liualgotrader.common.ports import MarketHistory


class Scanner(ABC):
    """Chooses symbols. `recurrence` is the time between two runs by the market's clock, None for one run a session.

    What it picks is for the strategy `target_strategy_name`, or for all of them if that is empty.
    `data_loader` is a `DataLoader`; inside a session `data_api` is the vendor's history and snapshots.
    """

    own_context: OwnContext | None = None  # in which all of its code runs; `make_scanner` sets it
    sees_today: ClassVar[bool] = False  # it picks by the day so far, of which daily bars show nothing before the close
    built_in: ClassVar[dict[str, type[Scanner]]] = {}  # by the name of the table that needs no `filename`
    _data_api: MarketHistory | None = None
    _now: Callable[[], int] | None = None
    _tell: Callable[[str], None] | None = None

    def __init_subclass__(cls, *, built_in: str = "") -> None:
        super().__init_subclass__()
        if built_in:
            Scanner.built_in.setdefault(built_in, cls)

    def __init__(
        self,
        name: str = "",
        data_loader: Any = None,
        recurrence: timedelta | None = None,
        target_strategy_name: str | None = None,
        data_source: object = None,
    ) -> None:
        self.name = name or type(self).__name__
        self.data_loader = data_loader
        self.recurrence = recurrence
        self.target_strategy_name = target_strategy_name
        self.data_source = data_source

    def __repr__(self) -> str:
        return self.name

    def join_session(
        self,
        *,
        data_api: MarketHistory,
        now: Callable[[], int],
        opens_at: int,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """Start in a session: its data, the market's time (ns UTC), its open, and the function that shows a line."""
        self._data_api, self._now, self._opens_at = data_api, now, opens_at
        self._tell = tell

    def tell(self, text: str) -> None:
        """Show a line, which begins with the scanner's name, on the session's screen; none outside a session."""
        if self._tell is not None:
            self._tell(text)

    @property
    def data_api(self) -> MarketHistory:
        """Bars, snapshots and the list of tradable symbols, for use with `await`.

        Raises:
            RuntimeError: outside a session.
        """
        if self._data_api is None:
            raise RuntimeError(f"scanner {self.name} has market data only inside a session")
        return self._data_api

    def minutes_from_open(self) -> float:
        """Return how long the session has been open, negative before the open.

        Raises:
            RuntimeError: outside a session.
        """
        if self._now is None:
            raise RuntimeError(f"scanner {self.name} has a session's time only inside a session")
        return (self._now() - self._opens_at) / MINUTE

    @abstractmethod
    async def run(self, back_time: datetime | None = None) -> list[str]:
        """Return the symbols to trade, the most wanted first; `back_time` None means now."""

    @classmethod
    def get_supported_scanners(cls) -> list[str]:
        """Return the names that need no file of their own."""
        return list(cls.built_in)

    @classmethod
    async def get_scanner(cls, data_loader: Any, scanner_name: str, scanner_details: Mapping[str, Any]) -> Scanner:
        """Return the scanner that a table of the tradeplan describes.

        Raises:
            ConfigError: the file, the class or one of the settings does not fit; one sentence.
        """
        return make_scanner(data_loader, scanner_name, scanner_details)


def symbols_of(found: object) -> list[str]:
    """Return the symbols that a scanner's `run` has returned, in capitals, each once; those of a set by the alphabet.

    Raises:
        TypeError: it is no list of strings.
    """
    if found is None:
        return []
    if not isinstance(found, list | tuple | set):
        raise TypeError(f"returned {found!r:.40} instead of a list of symbols")
    for symbol in found:
        if not isinstance(symbol, str):
            raise TypeError(f"returned a list with {symbol!r:.40} in it, but a symbol is a string like 'AAPL'")
    ordered = sorted(found) if isinstance(found, set) else found  # a set has another order in every process
    return [symbol for symbol in dict.fromkeys(text.strip().upper() for text in ordered) if symbol]


def make_scanner(
    data_loader: object,
    name: str,
    details: Mapping[str, Any],
    folder: Path | None = None,
    *,
    seed: str = "",
    **more: Any,
) -> Scanner:
    """Return the scanner that a table of the tradeplan describes; its random numbers begin with `seed`.

    Relative files are looked for in `folder`, the working directory by default. `more` goes to the constructor of a
    built-in scanner only, as the original did with `trading_api`.

    Raises:
        ConfigError: as `Scanner.get_scanner`.
    """
    table = f"scanners.{name}"
    kind, settings = _kind_and_settings(data_loader, name, details, folder)
    if kind is Scanner.built_in.get(name):
        return build(kind, {**settings, **more}, table=table)
    context = context_for(kind, seed or name)
    scanner = build(kind, settings, table=table, context=context)
    scanner.own_context = context
    return scanner


def check_scanner(name: str, details: Mapping[str, Any]) -> None:
    """Check what `make_scanner` would be given; of those with a file of their own none is made.

    Raises:
        ConfigError: as `make_scanner`.
    """
    kind, settings = _kind_and_settings(None, name, details, None)
    if kind is Scanner.built_in.get(name):
        build(kind, settings, table=f"scanners.{name}")
    else:
        check_arguments(kind, settings, table=f"scanners.{name}")


def _kind_and_settings(
    data_loader: object, name: str, details: Mapping[str, Any], folder: Path | None
) -> tuple[type[Scanner], dict[str, Any]]:
    """Return the class that a table of the tradeplan means, and what its constructor is given."""
    settings = {**details, "data_loader": data_loader}
    if minutes := settings.pop("recurrence", None):
        settings["recurrence"] = timedelta(minutes=minutes)
    filename = settings.pop("filename", None)
    if name in Scanner.built_in and "filename" not in details:
        return Scanner.built_in[name], settings
    return load_class(Scanner, name, filename, folder or Path(), table=f"scanners.{name}"), settings  # type: ignore[type-abstract]
