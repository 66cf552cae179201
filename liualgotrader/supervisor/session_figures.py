"""What a session's processes and rows say, put together for the screen and for `trader status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from liualgotrader.analytics.consolidate import opening_of
from liualgotrader.analytics.summary import summarize
from liualgotrader.analytics.trips import Key, Trips, round_trips
from liualgotrader.common.clock import SECOND, machine_now
from liualgotrader.common.control import FILLS_OF, MARK_OF, REFUSED_OF
from liualgotrader.common.money import CENT, ZERO, exact
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import CarriedPosition, FilledTrade
from liualgotrader.supervisor.simulated_market import SimulatedMarket
from liualgotrader.supervisor.stack import Stack
from liualgotrader.supervisor.view import GAINS, PositionLine, ProcessView, StrategyView, View, producer_events

_RATE_OVER = 2 * SECOND  # machine time over which events per second are taken


class SessionFigures:
    """Makes views of one session, of its `strategies` in the layout's order."""

    def __init__(
        self,
        stack: Stack,
        market: SimulatedMarket | None,
        strategies: Sequence[str],
        market_now: Callable[[], int],
    ) -> None:
        self._stack, self._market, self._names, self._market_now = stack, market, strategies, market_now
        self._began = machine_now()
        self._trades: Sequence[FilledTrade] = ()
        self._trips = Trips((), ())
        self._rate_since = self._began
        self._rate_events = 0.0
        self._rate = 0.0
        self._fills_told = 0.0
        self._pace, self._pace_since, self._pace_market = 0.0, self._began, stack.plan.hours.opens_at

    def count(self, trades: Sequence[FilledTrade], opening: Mapping[Key, CarriedPosition]) -> None:
        """Take the newest state of the record; `opening` is what is held from earlier batches."""
        self._trades = trades
        self._trips = round_trips(trades, opening)

    def fills_are_new(self) -> bool:
        """Whether the gateway has told of fills since this was asked last."""
        gateway = self._stack.workers.get("order_gateway")
        told = gateway.counters.get("fills", 0.0) if gateway is not None else 0.0
        before, self._fills_told = self._fills_told, told
        return told != before

    def held(self) -> Mapping[tuple[str, str], Held] | None:
        """Return every position in the gateway's books by strategy and symbol, None if it has told nothing."""
        positions = self.facts().get("positions")
        if positions is None:
            return None
        held: dict[tuple[str, str], Held] = {}
        for told in positions:
            place, more = (told["strategy"], told["symbol"]), Decimal(told["quantity"])
            held[place] = Held(held[place].quantity + more if place in held else more, Decimal(told["average_price"]))
        return held

    def quarantined(self) -> Mapping[str, str]:
        """Return the symbols in which the account differs from our books, and how."""
        found: dict[str, str] = self.facts().get("quarantined", {})
        return found

    def view(self) -> View:
        """Return the session at this moment."""
        plan = self._stack.plan
        processes = tuple(w.view() for w in self._workers())
        facts, positions = at_newest_prices(self.facts(), self._marks())
        return View(
            batch_id=plan.batch_id,
            environment=plan.environment,
            day=plan.hours.day,
            market_at=self._market_now(),
            opens_at=plan.hours.opens_at,
            closes_at=plan.hours.closes_at,
            elapsed_seconds=(machine_now() - self._began) / SECOND,
            events_per_second=self._events_per_second(processes),
            processes=processes,
            strategies=self._strategies(facts, positions),
            waiting_for=self._market.waiting_for() if self._market else (),
            facts=facts,
            positions=positions,
            speed=self._speed(),
            debug=plan.debug,
        )

    def facts(self) -> dict[str, Any]:
        """Return all that processes told, by name."""
        return {key: value for worker in self._workers() for key, value in worker.facts.items()}

    def _marks(self) -> dict[str, Decimal]:
        """Return the newest prices that the consumers saw of what they hold."""
        marks: dict[str, Decimal] = {}
        for worker in (w for w in self._workers() if w.state not in ("starting", "down")):  # else they are old
            found = {n.removeprefix(MARK_OF): v for n, v in worker.counters.items() if n.startswith(MARK_OF)}
            marks |= {symbol: exact(price) for symbol, price in found.items()}
        return marks

    def _speed(self) -> float | None:
        """Return the pace of a simulated market lately, None where time is real."""
        if self._market is None:
            return None
        now, market = machine_now(), self._market_now()
        if now - self._pace_since >= _RATE_OVER:
            self._pace = max(0, market - self._pace_market) / (now - self._pace_since)
            self._pace_since, self._pace_market = now, market
        return self._pace

    def _workers(self) -> Sequence[Any]:
        market = [self._market.worker] if self._market else []
        return [*market, *self._stack.workers.values()]

    def _events_per_second(self, processes: Sequence[ProcessView]) -> float:
        now, events = machine_now(), producer_events(processes)
        if now - self._rate_since >= _RATE_OVER:
            self._rate = max(0.0, events - self._rate_events) * SECOND / (now - self._rate_since)
            self._rate_since, self._rate_events = now, events
        return self._rate

    def _counted(self, prefix: str) -> Counter[str]:
        """Return the sums over all processes of the counters whose names begin so, by the rest of their names."""
        found: Counter[str] = Counter()
        for worker in self._workers():
            for name, value in worker.counters.items():
                if name.startswith(prefix):
                    found[name.removeprefix(prefix)] += int(value)
        return found

    def _strategies(self, facts: Mapping[str, Any], positions: Sequence[PositionLine]) -> tuple[StrategyView, ...]:
        names = self._names
        figures = {f.strategy: f for f in summarize(names, self._trips).strategies}
        held = self.held()
        open_now = None if held is None else Counter(name for name, _ in held)
        stored = Counter(t.strategy for t in self._trades)
        told = self._counted(FILLS_OF)  # by the gateway, before their rows are there
        fills = {name: max(stored[name], told[name]) for name in figures}
        refused = self._counted(REFUSED_OF)
        realized = {name: Decimal(gain) for name, gain in (facts.get("realized") or {}).items()}
        opened = {
            name: sum((p.gain or ZERO for p in positions if p.strategy == name), ZERO).quantize(CENT)
            for name in figures
        }
        ended = {
            name: ", ".join(
                dict.fromkeys(s.stopped for s in self._stack.plan.slots if s.strategy == name and s.stopped)
            )
            for name in figures
        }
        return tuple(
            StrategyView(
                name=name,
                fills=fills[name],
                trips=found.trips,
                open_positions=found.open_positions if open_now is None else open_now[name],
                gain=realized.get(name, found.gain).quantize(CENT) + opened[name],
                open_gain=opened[name],
                ended=ended[name],
                refused={
                    rule.removeprefix(f"{name}."): count
                    for rule, count in refused.items()
                    if rule.startswith(f"{name}.")
                },
            )
            for name, found in figures.items()
        )


def at_newest_prices(
    facts: Mapping[str, Any], marks: Mapping[str, Decimal]
) -> tuple[dict[str, Any], tuple[PositionLine, ...]]:
    """Return the gateway's facts and its positions brought forward to newer prices, all to the same ones.

    Equity and the day's gains move by what the positions gained since the gateway looked: one frame agrees with itself.
    """
    positions, since = [], ZERO
    for told in sorted(facts.get("positions") or (), key=lambda p: (p["symbol"], p["strategy"])):
        entry, quantity = Decimal(told["average_price"]), Decimal(told["quantity"])
        then = _price(told.get("last"))
        now = marks.get(told["symbol"], then)
        if now is not None:
            since += quantity * (now - (entry if then is None else then))
        stop, target = _price(told.get("resting_stop") or told.get("stop")), _price(told.get("target"))
        positions.append(PositionLine(told["strategy"], told["symbol"], quantity, entry, now, stop, target))
    moved = {name: facts[name] for name in ("equity", *GAINS) if facts.get(name) is not None}
    return {**facts, **{name: f"{Decimal(value) + since:.2f}" for name, value in moved.items()}}, tuple(positions)


def _price(text: str | None) -> Decimal | None:
    return Decimal(text) if text else None


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
        self._before: Mapping[str, Mapping[str, CarriedPosition]] | None = None

    async def trades(self) -> Sequence[FilledTrade]:
        """Return the session's executions so far, by time.

        Raises:
            DatabaseUnavailable: if the server cannot be reached.
        """
        return await self._store.trades(self._batch_id)

    async def opening(self, trades: Sequence[FilledTrade]) -> Mapping[Key, CarriedPosition]:
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
                for position in await self._store.carried_positions(self._environment, name, self._batch_id):
                    owners.setdefault(position.symbol, name)
        return [
            f"the account holds {shares} {symbol} that are not ours: they are never traded"
            + (f" ({owners[symbol]}, which is not in this plan, left some open)" if symbol in owners else "")
            + f"; `liu positions flatten {symbol}` closes them, `adopt` gives them to a strategy"
            for symbol, shares in sorted(foreign.items())
        ]

    async def _held_before(self) -> Mapping[str, Mapping[str, CarriedPosition]]:
        if self._alone:
            return {}
        if self._before is None:
            store, environment, batch_id = self._store, self._environment, self._batch_id
            self._before = {
                name: {p.symbol: p for p in await store.carried_positions(environment, name, batch_id)}
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
