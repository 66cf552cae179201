"""What a backtest is played by, and what it comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from liualgotrader.common.borrow import BorrowRows
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.market_columns import BarColumns, Floats, Ints
from liualgotrader.common.recording import RecordedColumns, nothing_recorded
from liualgotrader.common.rows import Row, SignalRow
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import Limits, Timings
from liualgotrader.exchange.rules import Rules
from liualgotrader.tapes.splits import Dividend, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestTerms:
    """What a run is played by. `period` is the length of its bars, ns; `sessions` are played in order.

    Bars are raw: splits and dividends happen when the session of their day begins. `detail` returns raw finer bars of a
    symbol in a session, as far as there are any: what passes inside a bar while an order works is taken from them.
    """

    batch_id: str
    sessions: tuple[TradingSession, ...]
    cash: Decimal = Decimal(100_000)
    period: int = MINUTE
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    timings: Timings = field(default_factory=Timings)
    rules: Rules = field(default_factory=Rules)
    liquidation_minutes: int | None = 15  # None: nothing is closed for a close
    crypto: bool = False  # days of UTC, parts of coins, neither short sales nor margin
    portfolio_value: float | None = None
    shortable: Mapping[str, bool] = field(default_factory=dict)
    daily: Mapping[str, BarColumns] = field(default_factory=dict)  # of before the first bar, for who asks
    splits: Mapping[str, Sequence[Split]] = field(default_factory=dict)  # by symbol
    dividends: Mapping[str, Sequence[Dividend]] = field(default_factory=dict)
    borrow: BorrowRows = ()
    detail: Callable[[str, TradingSession], BarColumns] | None = None


@dataclass(slots=True)
class RunRecord:
    """What a run came to. `equity` is the account's at each session's close, US dollars; the newest row of each order
    comes first, then all others in order."""

    batch_id: str
    first_equity: float
    slots: tuple[SlotPlan, ...] = ()
    rows: list[Row] = field(default_factory=list)
    signals: list[SignalRow] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    stopped: dict[int, str] = field(default_factory=dict)  # slot -> why its strategy was stopped
    failures: list[str] = field(default_factory=list)  # what strategies raised, with symbol and time; the first ones
    sessions: list[TradingSession] = field(default_factory=list)
    session_closes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    equity: Floats = field(default_factory=lambda: np.zeros(0))
    bars: int = 0
    recorded: RecordedColumns = field(default_factory=nothing_recorded)
    ended: str | None = None  # why it ended before its last session
