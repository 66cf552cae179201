"""Symbols whose market data may have a hole, until the vendor carries them and their consumers have heard of it."""

from __future__ import annotations

from collections.abc import Iterable

from liualgotrader.common.events import Gap


class Gaps:
    """Pure; instants are market time, ns UTC. `due` says that `tell` may have something to say."""

    def __init__(self) -> None:
        self.due = False
        self._all_since: int | None = None
        self._since: dict[str, int] = {}
        self._asked: dict[str, int] = {}

    def lost(self, since: int) -> None:
        """Nothing is carried any more; `since` is when something was heard at last, 0 if never."""
        self._all_since = since if self._all_since is None else min(self._all_since, since)
        self.due = True

    def begun(self, symbols: Iterable[str], at: int) -> None:
        """Somebody has the history of these already; what came from `at` on may be missing, 0 if nobody here knows."""
        self._since.update((symbol, at) for symbol in symbols)
        self.due = True

    def asked(self, symbols: Iterable[str], at: int) -> None:
        """These are new and asked for at `at`; they have a gap only if the vendor refuses them at first."""
        self._asked.update((symbol, at) for symbol in symbols)
        self.due = True

    def freed(self) -> None:
        """A symbol was let go, so that the vendor may carry one that it has refused."""
        self.due = bool(self._since)

    def tell(self, now: int, followed: Iterable[str], carried: frozenset[str]) -> list[Gap]:
        """Return what consumers are to hear once the vendor has answered everything, in alphabetical order."""
        since = dict(self._since)
        self._since = {symbol: at for symbol, at in self._asked.items() if symbol not in carried}
        if self._all_since is not None:
            since |= dict.fromkeys(followed, self._all_since)
        self._since |= {symbol: at for symbol, at in since.items() if symbol not in carried}
        self._asked, self._all_since, self.due = {}, None, False
        return [Gap(symbol, now, at) for symbol, at in sorted(since.items()) if symbol in carried]
