"""Plays trades and quotes through engine, order desk and exchange in one process, as a simulated market that waits for all.

Time moves in quanta. At each of its instants: what has happened at the exchange by then and the news of it, what is due
by the desk's clock, what the market has sent, picks, what is due by the engine's clock, and then what was decided. An order arrives
at that instant plus the latency of the fill profile, and meets what stands then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import numpy as np

from liualgotrader.backtest.array_signals import WholeBars
from liualgotrader.backtest.order_path import ACCOUNT
from liualgotrader.backtest.run_record import BacktestTerms
from liualgotrader.backtest.session_run import PlayedMarket, SessionRun, hours_of
from liualgotrader.common.calendar import TradingSession, previous_sessions
from liualgotrader.common.clock import MINUTE, NEVER, QUANTUM, SECOND, grid_after, grid_at_or_after
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar, EventBatch, FeedEvent, Quote, Status, TradeTick
from liualgotrader.common.market_columns import BarColumns, between, joined
from liualgotrader.common.session_plan import AFTER_CLOSE, EARLY, Hours
from liualgotrader.engine.bars import COLUMNS
from liualgotrader.engine.engine import session_starts
from liualgotrader.exchange.rules import ExchangeSession
from liualgotrader.orders.account_state import ACCOUNT_SECONDS, PRICES_SECONDS
from liualgotrader.tapes.base import ColumnTape, asset_terms, exchange_session
from liualgotrader.tapes.columns import TapeEvent, bars_in_order, newest_of
from liualgotrader.tapes.minute_bars import regular

_FOLLOWED: dict[str, type[FeedEvent]] = {"second": TradeTick, "trade": TradeTick, "quote": Quote, "minute": Bar}


class TickBacktest(SessionRun):
    """A run on trades and quotes; `tape_of` returns a session's, `events` are the tradeplan's.

    With a period of a second quanta last a second, and strategies are told of seconds in place of trades.
    """

    def __init__(
        self, terms: BacktestTerms, tape_of: Callable[[TradingSession], ColumnTape], events: frozenset[str]
    ) -> None:
        self._tape_of, self._events_taken = tape_of, 0
        self._told = events
        self._quantum = max(QUANTUM, terms.period)
        self._wanted = {Status, Bar, Quote} if terms.period else {Status, *(_FOLLOWED[word] for word in events)}
        self._past: dict[str, list[BarColumns]] = {}
        following = (*(session.opens_at for session in terms.sessions[1:]), 0)
        hours = []
        for session, next_opens_at in zip(terms.sessions, following, strict=True):
            before = sorted(previous_sessions(session.day, terms.timings.history_sessions), reverse=True)
            hours.append(
                hours_of(session, terms.liquidation_minutes, next_opens_at, [(s.opens_at, s.closes_at) for s in before])
            )
        first = self._prepare(terms.sessions[0])
        super().__init__(
            terms,
            PlayedMarket(
                hours=hours,
                limits=terms.limits,
                rules=terms.rules,
                events=events,
                session_starts=tuple(sorted({at for one in hours for at in session_starts(one)})),
                assets=asset_terms(self._tape.assets()),
                session=first,
                bars=self._known(),
                history=self._history,
            ),
        )
        self._engine.market.shortable = {asset.symbol: asset.shortable for asset in self._tape.assets()}

    @property
    def _taken(self) -> int:
        return self._events_taken

    def bars(self) -> dict[str, BarColumns]:
        found = {symbol: joined(parts) for symbol, parts in self._past.items()}
        return {symbol: bars for symbol, bars in found.items() if len(bars.opened_at)}

    # --- sessions ----------------------------------------------------------------------------------

    def _prepare(self, session: TradingSession) -> ExchangeSession:
        self._tape = self._tape_of(session)
        self._tape.load()
        self._minutes = {symbol: self._tape.bars_today(symbol, MINUTE) for symbol in self._tape.symbols()}
        for symbol, minutes in self._minutes.items():
            self._past.setdefault(symbol, []).append(regular(minutes))
        return exchange_session(self._tape)

    def _known(self) -> dict[str, BarColumns]:
        """Return the minutes of regular trading up to the session's close, at its prices."""
        tape = self._tape
        before = {symbol: BarColumns.of(symbol, tape.history(symbol, MINUTE)) for symbol in tape.symbols()}
        return {symbol: regular(joined([bars, self._minutes[symbol]])) for symbol, bars in before.items()}

    def _warm_up(self, session: TradingSession) -> None:
        tape, start, ends_at = self._tape, session.opens_at - EARLY, session.closes_at + AFTER_CLOSE
        for bars in self._known().values():
            self.data.restate(bars)
        for event in newest_of(tape.events(0, start)):
            self._exchange.on_event(event)
        self._exchange.advance(start)
        self._path.now = start
        self._events: Iterator[TapeEvent] = tape.events(start, ends_at)
        self._next = next(self._events, None)
        told = [*self._minutes.values()] if "minute" in self._told else []
        if self.terms.period and "second" in self._told:
            told += [tape.bars_today(symbol, SECOND) for symbol in tape.symbols()]
        self._bars = bars_in_order(told, start) if told else iter(())
        self._bar = next(self._bars, None)
        self._account_at, self._prices_at = start + ACCOUNT_SECONDS * SECOND, NEVER

    def _play(self, session: TradingSession, hours: Hours) -> Decimal:
        self._play_until(hours.closes_at)
        worth = self._exchange.account(ACCOUNT).equity
        self._play_until(hours.closes_at + AFTER_CLOSE)
        return worth

    def _restate(self, symbol: str, ratio: Decimal) -> None:
        bars, factor = self._engine.market.state(symbol).bars, float(ratio)
        scale = {"volume": factor, "count": 1.0}
        block = np.stack([bars.closed(name) * scale.get(name, 1 / factor) for name in COLUMNS])
        self._engine.split(symbol, ratio, block, bars.opened_at().copy())

    def _whole(self, symbol: str) -> WholeBars:
        raise ConfigError(
            "array signals are worked out for whole columns of bars, which a run on ticks does not have: play them with"
            " --scale minute, or write on_bar"
        )

    def _history(self, symbol: str, since: int, now: int) -> Sequence[Bar]:
        """Return the minutes that a vendor would answer with."""
        hours = self._engine.terms.hours
        start = max(since, min([hours.opens_at, *(opens_at for opens_at, _ in hours.previous)]))
        today = between(self._minutes[symbol], start, now).bars() if symbol in self._minutes else []
        return [*self._tape.minute_bars(symbol, start, now), *(bar for bar in today if bar.closed_at <= now)]

    # --- time --------------------------------------------------------------------------------------

    def _play_until(self, ends_at: int) -> None:
        while (at := self._next_instant()) <= ends_at:
            self._go_to(at)

    def _next_instant(self) -> int:
        """Return the next boundary of a quantum at which there is something to do."""
        due = min(
            self._engine.next_deadline(),
            self._desk.next_market,
            self._exchange.next_wakeup(),
            self._pick_at,
            self._account_at,
            self._prices_at,
        )
        if self._bar is not None:
            due = min(due, self._bar.closed_at)
        quantum = self._quantum
        found = grid_at_or_after(due, quantum) if due < NEVER else NEVER
        if self._next is not None:
            found = min(found, grid_after(self._next.at, quantum))
        return max(found, grid_after(self._path.now, quantum))

    def _go_to(self, at: int) -> None:
        engine, path = self._engine, self._path
        events = self._played_before(at)
        self._exchange.advance(at)
        path.now = at
        outputs = [*path.hear_all(account=self._account_at <= at, prices=self._prices_at <= at)]
        self._set_polls(at)
        if events:
            outputs += engine.on_batch(EventBatch(1, 1, 0, events), at, 0)
        if self._pick_at <= at:
            outputs += self._picked()
        if engine.next_deadline() <= at:
            outputs += engine.on_timer(at, 0)
        path.take(outputs)
        while path.has_heard:  # at once, as of an order that is taken back before it has arrived
            path.take(path.hear_all())

    def _played_before(self, at: int) -> list[FeedEvent]:
        """Let what happens before an instant happen at the exchange, and return what of it is sent to strategies."""
        event, bar, on_event = self._next, self._bar, self._exchange.on_event
        wanted, symbols, sent = self._wanted, self._engine.symbols, list[FeedEvent]()
        while event is not None and event.at < at:
            while bar is not None and bar.closed_at <= event.at:
                sent.append(bar)
                bar = next(self._bars, None)
            on_event(event)
            self._events_taken += 1
            sent.append(event)
            event = next(self._events, None)
        while bar is not None and bar.closed_at <= at:
            sent.append(bar)
            bar = next(self._bars, None)
        self._next, self._bar = event, bar
        return [one for one in sent if one.symbol in symbols and type(one) in wanted]

    def _set_polls(self, at: int) -> None:
        """Ask for account and prices again as often as a session does."""
        if self._account_at <= at:
            self._account_at = at + ACCOUNT_SECONDS * SECOND
        if self._prices_at <= at:
            self._prices_at = NEVER
        if self._prices_at == NEVER and self._desk.caretaken():
            self._prices_at = at + PRICES_SECONDS * SECOND
