"""What a miner is: a job that collects or works out facts between sessions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from liualgotrader.common.errors import ConfigError
from liualgotrader.common.ports import Store
from liualgotrader.common.secret import Secret

if TYPE_CHECKING:
    from liualgotrader.data.loader import DataLoader

T = TypeVar("T")


@dataclass(frozen=True)
class MinerServices:
    """What the platform lends a miner while it runs. The database of `models` is open as well."""

    store: Store
    loader: Callable[[], DataLoader]  # daily bars, from the market that was asked for
    today: date
    polygon_key: Secret
    say: Callable[[str], None]  # a line for the person who looks
    show: Callable[[int, int], None]  # how many of how many are done
    folder: Path  # of miner.toml, which files are named from
    market: Path  # of the market-data store

    def progress(self, items: Sequence[T]) -> Iterator[T]:
        """Yield the items, and show after each how far it has come."""
        for done, item in enumerate(items, 1):
            yield item
            self.show(done, len(items))


class Miner(ABC):
    """A job of `market_miner`. Its table in miner.toml arrives as `data`, or as the arguments of its constructor.

    `services` is there once it runs.
    """

    services: MinerServices

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self._name

    @abstractmethod
    async def run(self) -> bool:
        """Do the job; False, or an error, ends the program after it."""

    async def would_do(self) -> str:
        """Return in words what `run` would do now: of which symbols, how many rows, of which days; for a dry run.

        The database may be read; nothing is written, and no vendor is asked.
        """
        return "runs; its class does not say (`would_do`) what it would write"


def number(data: dict[str, Any], *names: str, least: float = 0, default: float | None = None) -> float:
    """Return the number that a miner's table has under one of its names.

    Raises:
        ConfigError: if there is none, or it is not a number above `least`.
    """
    for name in names:
        if (value := data.get(name)) is not None:
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > least:
                raise ConfigError(f"`{name} = {value!r}` must be a number above {least:g}")
            return float(value)
    if default is None:
        raise ConfigError(f"`{names[0]}` is missing: a number above {least:g}")
    return default


def texts(data: dict[str, Any], name: str) -> list[str]:
    """Return the list of texts that a miner's table has under a name, empty if it has none; a text alone is a list of one.

    Raises:
        ConfigError: if it is something else.
    """
    value = data.get(name) or []
    found: Iterable[Any] = [value] if isinstance(value, str) else value if isinstance(value, list | dict) else [None]
    if not all(isinstance(text, str) and text for text in found):
        raise ConfigError(f"`{name}` must be a list of names")
    return list(dict.fromkeys(found))
