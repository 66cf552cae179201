"""Plays bars through engine, order desk and exchange in one process, session by session.

Within an instant: fills inside the bars that close at it, then what strategies decide on those bars, then what is due by
the clock. An order trades no earlier than at the open of the next bar of its symbol (see `exchange.matching`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec

from liualgotrader.backtest.array_signals import WholeBars
from liualgotrader.backtest.order_path import ACCOUNT
from liualgotrader.backtest.run_record import BacktestTerms
from liualgotrader.backtest.session_run import PlayedMarket, Scrutiny, SessionRun, hours_of
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import HOUR, SECOND
from liualgotrader.common.events import Bar
from liualgotrader.common.market_columns import BarColumns, between
from liualgotrader.common.session_plan import Hours
from liualgotrader.engine.bar_tape import BarTape
from liualgotrader.engine.bars import Bars, BarsView
from liualgotrader.exchange.exchange_values import AssetTerms
from liualgotrader.exchange.rules import ExchangeSession
from liualgotrader.orders.desk_messages import Tick
from liualgotrader.tapes.splits import adjusted


class Backtest(SessionRun):
    """A run on bars."""

    def __init__(self, terms: BacktestTerms, bars: Mapping[str, BarColumns], scrutiny: Scrutiny | None = None) -> None:
        scrutiny = scrutiny or Scrutiny()
        first = terms.sessions[0]
        # A bar is as old as it is long when the next one closes, and a daily one lasts over the night.
        limits = msgspec.structs.replace(
            terms.limits,
            quote_age_seconds=0.0
            if terms.period > HOUR
            else max(terms.limits.quote_age_seconds, 2 * terms.period / SECOND),
        )
        starts = sorted(s.opens_at for s in terms.sessions)
        self._raw, self._starts = bars, starts
        known = {symbol: adjusted(bars[symbol], terms.splits.get(symbol, ()), first.day) for symbol in sorted(bars)}
        self._tape = BarTape([*known.values()], first.opens_at, starts, hidden=scrutiny.hidden)
        self._numbers = {symbol: number for number, symbol in enumerate(self._tape.symbols)}
        self._extremes: dict[str, tuple[float, float]] = {}
        self._details: dict[str, BarColumns] = {}  # of the session
        following = (*(session.opens_at for session in terms.sessions[1:]), 0)
        market = PlayedMarket(
            hours=[
                hours_of(session, terms.liquidation_minutes, next_opens_at)
                for session, next_opens_at in zip(terms.sessions, following, strict=True)
            ],
            limits=limits,
            rules=msgspec.structs.replace(terms.rules, latency_ns=0, match_on_arrival=False, synthetic_quotes=False),
            events=frozenset({"minute"}),
            session_starts=tuple(starts),
            assets=[
                AssetTerms(symbol, shortable=terms.shortable.get(symbol, not terms.crypto), marginable=not terms.crypto)
                for symbol in self._tape.symbols
            ],
            session=self._prepare(first),
            bars=known,
            closes=self._close_of,
            extremes=self._extremes_of,
            scrutiny=scrutiny,
        )
        super().__init__(terms, market)
        self._engine.follow(self._tape)

    @property
    def _taken(self) -> int:
        return self._tape.taken

    def bars(self) -> dict[str, BarColumns]:
        return dict(self._raw)

    def _prepare(self, session: TradingSession) -> ExchangeSession:
        self._extremes.clear()
        self._details.clear()
        return super()._prepare(session)

    def _restate(self, symbol: str, ratio: Decimal) -> None:
        bars = adjusted(self._raw[symbol], self.terms.splits[symbol], self._session.day)
        block, opened = BarTape([bars], self._session.opens_at, self._starts).columns_of(0)
        block = self._tape.as_shown(self._numbers[symbol], block, len(self._engine.symbols[symbol].bars))
        self._engine.split(symbol, ratio, block, opened)
        self.data.restate(symbol, bars)

    def _play(self, session: TradingSession, hours: Hours) -> Decimal:
        engine, exchange, desk, tape, path = self._engine, self._exchange, self._desk, self._tape, self._path
        closes_at = session.closes_at
        crossed = closed = 0  # the instants whose bars have traded with the orders that came before, and inside them
        due: int | None = None  # when something happens next without a bar; None: to be looked up
        timer_at = engine.next_deadline()  # orders do not move it
        while (at := tape.next_at()) <= closes_at:
            if due is None:
                due = min(timer_at, desk.next_market, exchange.next_wakeup(), self._pick_at)
            opens = session.opens_at if self.terms.period > HOUR else at - self.terms.period
            if exchange.watched and due > opens and at > max(crossed, tape.last_at):
                crossed = at
                self._cross_bars(at)
                due = None
            elif due < at and due < closes_at:
                self._pass(due)
                due, timer_at = None, engine.next_deadline()
            elif self.terms.period > HOUR and exchange.watched and at > max(closed, tape.last_at):
                closed = at
                self._cross_bars(at, inside=True)
                due = None
            else:  # of one instant the bars come first, then what is due
                until = at if path.look_if_low() or exchange.watched else min(due, closes_at)
                if outputs := engine.play(tape, until):
                    path.take(outputs)
                    due = None
        while (due := min(engine.next_deadline(), desk.next_market, exchange.next_wakeup(), self._pick_at)) < closes_at:
            self._pass(due)
        self._pass(closes_at)
        return exchange.account(ACCOUNT).equity

    def _pass(self, at: int) -> None:
        """Do what is due by the clock."""
        self._path.now = max(self._path.now, at)
        self._path.settle()
        if self._desk.next_market <= at:
            self._path.tell(Tick())
        if self._pick_at <= at:
            self._pick()
        self._path.take(self._engine.on_timer(self._path.now, 0))

    def _cross_bars(self, at: int, *, inside: bool = False) -> None:
        """Let the bars that close at `at` trade with the orders that came in before they opened, or `inside` them."""
        symbols, tape = self._engine.symbols, self._tape
        found = [tape.next_of(self._numbers[s], len(symbols[s].bars)) for s in sorted(self._exchange.watched)]
        if bars := [bar for bar in found if bar is not None]:
            if inside:
                self._exchange.close_bars(bars)
                self._after_crossing(bars[0].opened_at)
                return
            for passing in self._finer(bars) if self.terms.detail is not None else [bars]:
                self._exchange.on_bars(passing)
                self._after_crossing(passing[0].opened_at)

    def _after_crossing(self, opened_at: int) -> None:
        self._path.now = max(self._path.now, opened_at)
        self._path.settle()

    def _finer(self, bars: Sequence[Bar]) -> Iterator[list[Bar]]:
        """Yield what passed inside bars while orders work in their symbols, by time; last the bars of which that is not known."""
        detail, groups, whole = self.terms.detail, dict[int, list[Bar]](), list[Bar]()
        assert detail is not None
        for bar in bars:
            if bar.symbol not in self._details:
                self._details[bar.symbol] = detail(bar.symbol, self._session)
            if not (inside := between(self._details[bar.symbol], bar.opened_at, bar.closed_at).bars()):
                whole.append(bar)
            for one in inside:
                groups.setdefault(one.opened_at, []).append(one)
        for opened_at in sorted(groups):
            if any(one.symbol in self._exchange.watched for one in groups[opened_at]):
                yield groups[opened_at]
        if whole:
            yield whole

    def _whole(self, symbol: str) -> WholeBars:
        bars = adjusted(self._raw[symbol], self.terms.splits.get(symbol, ()), self._session.day)
        block, opened = BarTape([bars], self._session.opens_at, self._starts).columns_of(0)

        def first(rows: int) -> BarsView:
            whole = Bars(symbol, self._starts)
            whole.load_ahead(block, opened, rows)
            return BarsView(whole)

        return WholeBars(len(opened), first)

    def _extremes_of(self, symbol: str) -> tuple[float, float]:
        found = self._extremes.get(symbol)
        if found is None:
            span = self._session.opens_at, self._session.closes_at
            found = self._extremes[symbol] = self._tape.extremes(self._numbers[symbol], *span)
        return found

    def _close_of(self, symbol: str) -> float | None:
        state = self._engine.symbols.get(symbol)
        return state.last_price if state is not None and state.last_at else None
