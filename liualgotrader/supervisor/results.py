"""What the record says of one session: its executions, what it began with, and what is open after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from liualgotrader.analytics.consolidate import opening_of
from liualgotrader.analytics.trips import Key
from liualgotrader.common.money import ZERO
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import FilledTrade, LeftOpen


class Held(msgspec.Struct, frozen=True):
    """A strategy's position in the order gateway's books: signed shares at their average cost, dollars per share."""

    quantity: Decimal
    average_price: Decimal


class Standing(msgspec.Struct, frozen=True):
    """A position of a strategy after the session: signed shares at their average cost, newest stop and target stored.

    What the order gateway has in its books counts, where it told any. `in_account` is False for what the record has and
    those books have not; `recorded` is what the record has of the session's own where it says something else.
    """

    strategy: str
    symbol: str
    quantity: Decimal
    average_price: Decimal
    stop: Decimal | None = None
    target: Decimal | None = None
    in_account: bool = True
    last: Decimal | None = None  # newest price
    recorded: Decimal | None = None

    @property
    def gain(self) -> Decimal | None:
        """What it has gained at the newest price, US dollars without fees; None if no price is known."""
        return None if self.last is None else (self.last - self.average_price) * self.quantity


class Results:
    """Reads the record of one session.

    Its account may begin empty, as that of a simulation does which keeps none; with `skip_existing` what the account
    holds at the start is nobody's. Either way (`alone`) only the session's own executions count.
    """

    def __init__(
        self, store: Store, environment: str, batch_id: str, strategies: Sequence[str], *, alone: bool = False
    ) -> None:
        self._store, self._environment, self._batch_id = store, environment, batch_id
        self._strategies = strategies
        self._alone = alone
        self._before: Mapping[str, Mapping[str, LeftOpen]] | None = None

    async def trades(self) -> Sequence[FilledTrade]:
        """Return the session's executions so far, by time.

        Raises:
            DatabaseUnavailable: if the server cannot be reached.
        """
        return await self._store.trades(self._batch_id)

    async def opening(self, trades: Sequence[FilledTrade]) -> Mapping[Key, LeftOpen]:
        """Return what earlier batches left open, by the slot that has traded the symbol since.

        Raises:
            DatabaseUnavailable: if the server cannot be reached.
        """
        return opening_of(trades, await self._held_before())

    async def standing(self, held: Mapping[tuple[str, str], Held] | None = None) -> list[Standing]:
        """Return what the strategies hold, in their order, by symbol.

        `held` is what the order gateway has in its books, by strategy and symbol, None if it told nothing.

        Raises:
            DatabaseUnavailable: if the server cannot be reached.
        """
        found: list[Standing] = []
        before = await self._held_before()
        for name in self._strategies:
            positions = await self._store.open_after(self._environment, name, self._batch_id, alone=self._alone)
            recorded = {
                p.symbol: Standing(name, p.symbol, p.quantity, p.average_price, p.planned_stop, p.planned_target)
                for p in positions
            }
            if held is None:
                found += recorded.values()
                continue
            told = {symbol: position for (strategy, symbol), position in held.items() if strategy == name}
            for symbol in sorted({*recorded, *told}):
                of_today = symbol not in before.get(name, {})
                found.append(_as_told(name, symbol, recorded.get(symbol), told.get(symbol), of_today=of_today))
        return found

    async def left_behind(self, foreign: Mapping[str, str]) -> list[str]:
        """Return a sentence for each symbol of which the account holds shares that are not ours, and who left them.

        Raises:
            DatabaseUnavailable: if the server cannot be reached.
        """
        owners: dict[str, str] = {}
        for name in await self._store.strategies_before(self._environment, self._batch_id):
            if name not in self._strategies:
                for position in await self._store.left_open(self._environment, name, self._batch_id):
                    owners.setdefault(position.symbol, name)
        return [
            f"the account holds {shares} {symbol} that are not ours: they are never traded"
            + (f" ({owners[symbol]}, which is not in this plan, left some open)" if symbol in owners else "")
            + f"; `liu positions flatten {symbol}` closes them, `adopt` gives them to a strategy"
            for symbol, shares in sorted(foreign.items())
        ]

    async def _held_before(self) -> Mapping[str, Mapping[str, LeftOpen]]:
        if self._alone:
            return {}
        if self._before is None:
            store, environment, batch_id = self._store, self._environment, self._batch_id
            self._before = {
                name: {p.symbol: p for p in await store.left_open(environment, name, batch_id)}
                for name in self._strategies
            }
        return self._before


def _as_told(strategy: str, symbol: str, recorded: Standing | None, told: Held | None, *, of_today: bool) -> Standing:
    """Return a position as the gateway has it; of earlier sessions the record may have what the account has not."""
    stored = recorded.quantity if recorded is not None else ZERO
    quantity = told.quantity if told is not None else ZERO
    differs = stored if of_today and stored != quantity else None
    if recorded is None:
        cost = told.average_price if told is not None else ZERO
        return Standing(strategy, symbol, quantity, cost, recorded=differs)
    if told is None:
        return msgspec.structs.replace(recorded, in_account=False, recorded=differs)
    return msgspec.structs.replace(recorded, quantity=quantity, recorded=differs)
