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
from liualgotrader.common.clock import MINUTE, SECOND, machine_now
from liualgotrader.common.control import FILLS_OF, MARK_OF, REFUSED_OF
from liualgotrader.common.money import CENT, ZERO, exact
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import CarriedPosition, EventLag, FilledTrade
from liualgotrader.supervisor.managed_process import ManagedProcess, SimulatedMarket
from liualgotrader.supervisor.stack import Stack
from liualgotrader.supervisor.view import GAINS, GatewayFacts, PositionLine, ProcessView, StrategyView, View

_LAGS_EVERY = 5 * SECOND  # machine time at least from one row of lags to the next
_RATE_OVER = 2 * SECOND  # machine time over which events per second are taken


class _Rate:
    """How fast a figure grows by the machine's clock, over the last two seconds or a little more."""

    def __init__(self, figure: float) -> None:
        self._since, self._figure, self._rate = machine_now(), figure, 0.0

    def per_ns(self, figure: float) -> float:
        """Return the rate, with the newest figure."""
        now = machine_now()
        if now - self._since >= _RATE_OVER:
            self._rate = max(0.0, figure - self._figure) / (now - self._since)
            self._since, self._figure = now, figure
        return self._rate


class SessionFigures:
    """Makes views of one session, of its `strategies` in the layout's order."""

    def __init__(
        self, stack: Stack, market: SimulatedMarket | None, strategies: Sequence[str], market_now: Callable[[], int]
    ) -> None:
        self._stack, self._market, self._names, self._market_now = stack, market, strategies, market_now
        self._began = machine_now()
        self._trades: Sequence[FilledTrade] = ()
        self._trips = Trips((), ())
        self._events, self._market_time = _Rate(0.0), _Rate(stack.plan.hours.opens_at)
        self._fills_seen = 0.0
        self._data_taken: dict[str, list[int]] = {}  # by process: events, stale and dropped ones
        self._lags_at = self._lags_taken = 0

    def count(self, trades: Sequence[FilledTrade], opening: Mapping[Key, CarriedPosition]) -> None:
        """Take the newest state of the record; `opening` is what is held from earlier batches."""
        self._trades = trades
        self._trips = round_trips(trades, opening)

    def fills_are_new(self) -> bool:
        """Whether the gateway has reported fills since the last call."""
        gateway = self._stack.workers.get("order_gateway")
        fills = gateway.counters.get("fills", 0.0) if gateway is not None else 0.0
        before, self._fills_seen = self._fills_seen, fills
        return fills != before

    def lags(self, *, last: bool = False) -> list[EventLag]:
        """Return what processes counted of market data since the call before, each minute at most; at the `last` call too."""
        at, now = self._market_now(), machine_now()
        due = at // MINUTE > self._lags_at // MINUTE and now - self._lags_taken > _LAGS_EVERY
        if not (due or last):
            return []
        self._lags_at, self._lags_taken, rows = at, now, []
        for worker in self._stack.workers.values():
            of = worker.counters
            counted = [int(of.get(name, 0)) for name in ("events", "stale", "dropped_before_us")]
            before = self._data_taken.get(worker.name, [0, 0, 0])
            self._data_taken[worker.name] = counted
            if counted[0] < before[0]:
                before = [0, 0, 0]  # a process that was started again
            events, stale, dropped = (now - then for now, then in zip(counted, before, strict=True))
            lag = of.get("feed_lag_ms", 0.0)  # the producer's; consumers have a median and the greatest
            if events or stale or dropped:
                lags = (of.get("lag_p50_ms", lag), of.get("lag_ms", lag))
                rows.append(EventLag(self._stack.plan.batch_id, at, worker.name, events, stale, dropped, *lags))
        return rows

    def facts(self) -> GatewayFacts | None:
        """Return what the order gateway reported last, None if it has reported nothing."""
        gateway = self._stack.workers.get("order_gateway")
        if gateway is None or "positions" not in gateway.facts:
            return None
        return msgspec.convert(gateway.facts, GatewayFacts)

    def held(self) -> Mapping[tuple[str, str], PositionLine] | None:
        """Return every position in the gateway's books by strategy and symbol, None if it has reported nothing."""
        facts = self.facts()
        if facts is None:
            return None
        held: dict[tuple[str, str], PositionLine] = {}
        for line in at_newest_prices(facts, self._marks())[1]:
            place = (line.strategy, line.symbol)
            more = held[place].quantity if place in held else ZERO
            held[place] = msgspec.structs.replace(line, quantity=line.quantity + more)
        return held

    def view(self) -> View:
        """Return the session at this moment."""
        plan = self._stack.plan
        workers = self._workers()
        processes = tuple(ProcessView(w.name, w.state, w.pid, max(w.restarts, 0), dict(w.counters)) for w in workers)
        events = sum(p.counters.get("events", 0.0) for p in processes if p.name == "producer")
        market_at = self._market_now()
        told = self.facts()
        facts, positions = (None, ()) if told is None else at_newest_prices(told, self._marks())
        return View(
            batch_id=plan.batch_id,
            environment=plan.environment,
            day=plan.hours.day,
            market_at=market_at,
            opens_at=plan.hours.opens_at,
            closes_at=plan.hours.closes_at,
            elapsed_seconds=(machine_now() - self._began) / SECOND,
            events_per_second=self._events.per_ns(events) * SECOND,
            processes=processes,
            strategies=tuple(self._strategies(facts, positions)),
            waiting_for=self._market.waiting_for() if self._market else (),
            facts=facts,
            positions=positions,
            speed=self._market_time.per_ns(market_at) if self._market is not None else None,
            debug=plan.debug,
        )

    def _marks(self) -> dict[str, Decimal]:
        """Return the newest prices that the consumers saw of what they hold."""
        marks: dict[str, Decimal] = {}
        for worker in (w for w in self._workers() if w.state not in ("starting", "down")):  # else they are old
            found = {n.removeprefix(MARK_OF): v for n, v in worker.counters.items() if n.startswith(MARK_OF)}
            marks |= {symbol: exact(price) for symbol, price in found.items()}
        return marks

    def _workers(self) -> Sequence[ManagedProcess]:
        return [*([self._market.worker] if self._market else []), *self._stack.workers.values()]

    def _counted(self, prefix: str) -> Counter[str]:
        """Return the sums over all processes of the counters whose names begin so, by the rest of their names."""
        found: Counter[str] = Counter()
        for worker in self._workers():
            for name, value in worker.counters.items():
                if name.startswith(prefix):
                    found[name.removeprefix(prefix)] += int(value)
        return found

    def _strategies(self, facts: GatewayFacts | None, positions: Sequence[PositionLine]) -> list[StrategyView]:
        realized = facts.realized if facts is not None else {}
        stored = Counter(t.strategy for t in self._trades)
        reported = self._counted(FILLS_OF)  # by the gateway, before their rows are there
        refused = self._counted(REFUSED_OF)
        views: list[StrategyView] = []
        for found in summarize(self._names, self._trips).strategies:
            name = found.name
            mine = [p for p in positions if p.strategy == name]
            opened = sum((p.gain or ZERO for p in mine), ZERO).quantize(CENT)
            ended = dict.fromkeys(s.stopped for s in self._stack.plan.slots if s.strategy == name and s.stopped)
            views.append(
                StrategyView(
                    name=name,
                    fills=max(stored[name], reported[name]),
                    trips=found.trips,
                    open_positions=found.open_positions if facts is None else len({p.symbol for p in mine}),
                    gain=realized.get(name, found.gain).quantize(CENT) + opened,
                    open_gain=opened,
                    ended=", ".join(ended),
                    refused={k.removeprefix(f"{name}."): n for k, n in refused.items() if k.startswith(f"{name}.")},
                )
            )
        return views


def at_newest_prices(
    facts: GatewayFacts, marks: Mapping[str, Decimal]
) -> tuple[GatewayFacts, tuple[PositionLine, ...]]:
    """Return the gateway's facts and its positions brought forward to newer prices, all to the same ones.

    Equity and the day's gains move by what the positions gained since the gateway looked: one frame agrees with itself.
    """
    positions, since = [], ZERO
    for told in sorted(facts.positions, key=lambda p: (p.symbol, p.strategy)):
        now = marks.get(told.symbol, told.last)
        if now is not None:
            since += told.quantity * (now - (told.average_price if told.last is None else told.last))
        stop = told.stop if told.resting_stop is None else told.resting_stop
        positions.append(
            PositionLine(told.strategy, told.symbol, told.quantity, told.average_price, now, stop, told.target)
        )
    moved = {name: getattr(facts, name) for name in ("equity", *GAINS)}
    moved = {name: None if value is None else round(value + since, 2) for name, value in moved.items()}
    return msgspec.structs.replace(facts, **moved), tuple(positions)


class FinalPosition(PositionLine, frozen=True):
    """A position of a strategy after the session, with the stop and target that the record has.

    What the order gateway has in its books counts, where it reported any. `in_account` is False for what the record has
    and those books have not; `recorded` is what the record has of the session's own where it says something else.
    """

    in_account: bool = True
    recorded: Decimal | None = None


class Results:
    """Reads the record of one session.

    With `alone` only the session's own executions count: its account began empty, or `skip_existing` gives what it held
    to no strategy.
    """

    def __init__(
        self, store: Store, environment: str, batch_id: str, strategies: Sequence[str], *, alone: bool = False
    ) -> None:
        self._store, self._environment, self._batch_id = store, environment, batch_id
        self._strategies = strategies
        self._alone = alone
        self._before: Mapping[str, Mapping[str, CarriedPosition]] | None = None

    async def executions(self) -> tuple[Sequence[FilledTrade], Mapping[Key, CarriedPosition]]:
        """Return the session's executions so far, by time, and what each slot held of their symbols before.

        Raises:
            DatabaseUnavailable: if the server cannot be reached.
        """
        trades = await self._store.trades(self._batch_id)
        return trades, opening_of(trades, await self._held_before())

    async def standing(self, held: Mapping[tuple[str, str], PositionLine] | None = None) -> list[FinalPosition]:
        """Return what the strategies hold, in their order, by symbol.

        `held` is what the order gateway has in its books, by strategy and symbol, None if it reported nothing.

        Raises:
            DatabaseUnavailable: if the server cannot be reached.
        """
        found: list[FinalPosition] = []
        before = await self._held_before()
        for name in self._strategies:
            positions = await self._store.open_after(self._environment, name, self._batch_id, alone=self._alone)
            recorded = {
                p.symbol: FinalPosition(
                    name, p.symbol, p.quantity, p.average_price, None, p.planned_stop, p.planned_target
                )
                for p in positions
            }
            if held is None:
                found += recorded.values()
                continue
            booked = {symbol: position for (strategy, symbol), position in held.items() if strategy == name}
            for symbol in sorted({*recorded, *booked}):
                has = booked.get(symbol, PositionLine(name, symbol, ZERO, ZERO))
                told = recorded.get(symbol) or FinalPosition(name, symbol, ZERO, has.entry)
                # Of earlier sessions the record may have what the account has not.
                differs = told.quantity != has.quantity and symbol not in before.get(name, {})
                changes: dict[str, Any] = {"recorded": told.quantity if differs else None}
                if symbol in booked:
                    changes |= {"quantity": has.quantity, "last": has.last}
                else:
                    changes["in_account"] = False
                found.append(msgspec.structs.replace(told, **changes))
        return found

    async def left_behind(self, foreign: Mapping[str, Decimal]) -> list[str]:
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
