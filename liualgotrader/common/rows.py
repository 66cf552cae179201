"""Database rows as values, each made by the owner of the fact.

Instants are ns UTC; the store turns them into timestamps. Money is `Decimal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from liualgotrader.common.money import ZERO

BUYS = ("buy", "buy_short")  # operations of executions; the original's buy_short bought a short position back


class BatchRow(msgspec.Struct, frozen=True):
    """One run of `trader`."""

    batch_id: str
    session_date: str  # ISO date, New York
    environment: str  # PAPER, PROD, BACKTEST or SIMULATED
    started_at: int
    layout: dict[str, Any]  # processes, consumers, slots
    configuration: dict[str, Any]  # without secrets
    versions: dict[str, str]
    seed: int | None = None


class AlgoRunRow(msgspec.Struct, frozen=True):
    """One strategy in one consumer slot of one batch."""

    batch_id: str
    slot: int
    strategy: str
    environment: str
    build_number: str
    parameters: dict[str, Any]  # without secrets
    started_at: int
    ref_algo_run: int | None = None  # the run that this one repeats


class OrderRow(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="order"):
    """The newest state of one order; `client_order_id` is unique for ever."""

    client_order_id: str
    batch_id: str
    slot: int
    algo_run_id: int
    generation: int  # of the gateway that wrote it
    symbol: str
    side: str
    quantity: Decimal
    type: str
    time_in_force: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    state: str
    broker_order_id: str | None
    filled_quantity: Decimal
    average_price: Decimal | None
    reason: str
    planned_stop: Decimal | None
    planned_target: Decimal | None
    indicators: dict[str, Any]
    decided_at: int
    updated_at: int


class OrderEventRow(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="order_event"):
    """One step in the life of an order; (client_order_id, number) is unique."""

    client_order_id: str
    number: int
    event: str
    at: int
    details: dict[str, Any]


class TradeRow(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="trade"):
    """One execution, as the original's table `new_trades` keeps it; `execution_id` is unique for ever.

    `account_id` names the portfolio account that the cash movement is booked to, in the same transaction.
    """

    execution_id: str
    client_order_id: str
    algo_run_id: int
    symbol: str
    operation: str  # buy, sell
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at: int
    indicators: dict[str, Any]
    planned_stop: Decimal | None
    planned_target: Decimal | None
    account_id: int | None = None


class ForeignRow(msgspec.Struct, frozen=True, tag_field="kind", tag="foreign"):
    """What the account held beyond the sum of our strategies when the gateway started."""

    batch_id: str
    symbol: str
    quantity: Decimal
    at: int


class PlanRow(msgspec.Struct, frozen=True, tag_field="kind", tag="plan"):
    """Where a strategy has put the stop and target of a position; the newest of a run and symbol counts."""

    algo_run_id: int
    symbol: str
    at: int
    planned_stop: Decimal | None
    planned_target: Decimal | None


class ActivityRow(msgspec.Struct, frozen=True, tag_field="kind", tag="activity"):
    """A deposit, a withdrawal, a dividend, a fee …: what moved the account and is no execution. `activity_id` is unique."""

    activity_id: str
    batch_id: str  # whose gateway learned of it
    activity_type: str  # the broker's word
    symbol: str
    amount: Decimal | None  # US dollars, signed; None: not known
    at: int
    description: str


Row = OrderRow | OrderEventRow | TradeRow | ForeignRow | PlanRow | ActivityRow


class TradedBefore(msgspec.Struct, frozen=True, tag_field="kind", tag="traded_before"):
    """What earlier batches of a session's strategies have traded on its day in a symbol.

    `quantity` is signed shares, `value` what was paid for them less what was received, `fees` come on top, dollars.
    """

    symbol: str
    quantity: Decimal
    value: Decimal
    fees: Decimal


_row_encoder = msgspec.msgpack.Encoder(enc_hook=str)


class Progress(msgspec.Struct, frozen=True):
    """How far a batch's rows have come: the number of the newest, and a digest of all up to it.

    Two journals that lead to the same number and digest have led to the same rows. An older version stored no digest.
    """

    number: int = 0
    digest: str | None = ""

    def after(self, row: Row) -> Progress:
        """Return the progress once `row`, the next one, is there too."""
        try:
            data = _row_encoder.encode(row)
        except UnicodeEncodeError:  # a lone surrogate
            data = repr(row).encode("utf-8", "backslashreplace")
        digest = blake2b((self.digest or "").encode() + data, digest_size=16).hexdigest()
        return Progress(self.number + 1, digest)

    def agrees(self, stored: Progress) -> bool:
        """Whether this is what is stored."""
        return self.number == stored.number and (stored.digest is None or self.digest == stored.digest)


class BookedExecution(msgspec.Struct, frozen=True):
    """What the record has of an order's execution: its shares that were new then, at a price in dollars per share."""

    execution_id: str
    quantity: Decimal
    price: Decimal


class EarlierOrder(msgspec.Struct, frozen=True):
    """An order of an earlier batch whose end the record does not know.

    `events` are its stored steps, `parent` the order whose bracket it belongs to, `account_id` the portfolio account
    of its batch, `booked` its stored executions in the order they were written, `first` its first step with the details
    in `began`.
    """

    order: OrderRow
    strategy: str
    events: int
    parent: str = ""
    account_id: int | None = None
    booked: tuple[BookedExecution, ...] = ()
    first: str = ""
    began: dict[str, Any] = {}


class RecordedBatch(msgspec.Struct, frozen=True):
    """All that the record has of a batch's trading: what its gateway wrote, in the order that it was written.

    `orders` are those of the batch and those of earlier ones that it took over; `trades` the executions of its runs.
    """

    progress: Progress = Progress()
    orders: tuple[EarlierOrder, ...] = ()
    trades: tuple[TradeRow, ...] = ()
    plans: tuple[PlanRow, ...] = ()
    foreign: tuple[ForeignRow, ...] = ()


class CarriedPosition(msgspec.Struct, frozen=True):
    """A position that earlier batches of a strategy left open: signed shares at an average cost in dollars per share.

    `entry_stop` is the stop planned when it was opened, which the risk taken is measured by; `planned_stop` the newest.
    """

    symbol: str
    quantity: Decimal
    average_price: Decimal
    opened_at: int
    planned_stop: Decimal | None = None
    planned_target: Decimal | None = None
    entry_stop: Decimal | None = None


class SignalRow(msgspec.Struct, frozen=True, gc=False):
    """A strategy wanted something, whether it was carried out or not."""

    batch_id: str
    slot: int
    symbol: str
    at: int
    action: dict[str, Any]
    outcome: str  # sent, shadow, in_flight, refused:<rule>
    client_order_id: str | None = None


class PickRow(msgspec.Struct, frozen=True):
    """A scanner chose a symbol."""

    batch_id: str
    symbol: str
    scanner: str
    strategy: str
    at: int


class OperatorAction(msgspec.Struct, frozen=True):
    """What an operator asked of a running session, and the answer; `action_id` is unique.

    `asked_by` is the user of the machine whose program asked, as the system names him, `through` what that program says it is.
    """

    action_id: str
    batch_id: str
    at: int  # market time
    asked_by: str
    through: str
    action: str  # the request's name
    arguments: dict[str, Any]
    done: bool
    answer: str


class EventLag(msgspec.Struct, frozen=True):
    """Market data that a process took since its row before, and its newest lags.

    `stale` events were too old to act on, `dropped` ones were left out before the process because it was behind.
    """

    batch_id: str
    at: int  # market time
    process: str
    events: int
    stale: int
    dropped: int
    lag_p50_ms: float
    lag_ms: float  # the greatest


class FilledTrade(msgspec.Struct, frozen=True):
    """One stored execution, read back for books, summaries and analysis. `because` is what `why_sent` says of its order."""

    algo_run_id: int
    strategy: str
    symbol: str
    operation: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at: int
    stop: Decimal | None
    execution_id: str
    target: Decimal | None = None
    because: str = ""


def why_sent(order_type: str, began: Mapping[str, Any]) -> str:
    """Return why an order was sent: `stop` or `target` of a bracket, `liquidation`, …, or the reason that its strategy gave.

    Empty for a strategy's own without one. `began` has the details of the order's first event.
    """
    if "parent" in began:
        return "target" if order_type == "limit" else "stop"
    return str(began.get("because") or "")


class GainLossRow(msgspec.Struct, frozen=True):
    """The result of one strategy slot in one symbol over a batch: what was closed, and what is still open.

    `open_quantity` is signed, `open_price` its average, None where nothing is open.
    """

    symbol: str
    algo_run_id: int
    gain_percentage: Decimal
    gain_value: Decimal
    open_quantity: Decimal = ZERO
    open_price: Decimal | None = None


class TradeAnalysisRow(msgspec.Struct, frozen=True):
    """One round trip; `r_units` is the gain per share over the risk per share taken at entry.

    `side` is +1 long, -1 short, `quantity` the shares entered, prices are averages, `stop` and `target` as planned at entry.
    """

    symbol: str
    algo_run_id: int
    started_at: int
    ended_at: int
    gain_percentage: Decimal
    gain: Decimal
    r_units: Decimal | None
    side: int
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    fees: Decimal
    stop: Decimal | None
    target: Decimal | None
    exit_reason: str


class ResultFigures(msgspec.Struct, frozen=True):
    """What a batch came to, as lists show it. Fractions; dollars, fees paid; None where not defined or not known."""

    first_day: str  # ISO dates, New York
    last_day: str
    sessions: int
    symbols: int  # that were traded
    trips: int
    win_rate: float | None
    gain: Decimal
    fees: Decimal
    total_return: float | None = None  # of the account
    sharpe_ratio: float | None = None
    max_drawdown: float | None = None


class BatchResult(msgspec.Struct, frozen=True):
    """One batch in a list of results. `asked` is the backtest's command line, empty for a session.

    `started_at` is market time, `recorded_at` when it was written down.
    """

    batch_id: str
    environment: str
    session_date: str
    started_at: int
    end_reason: str | None  # None: it goes on, or was killed
    parameters: dict[str, dict[str, Any]]  # by strategy, in the order of the plan
    build_number: str
    asked: dict[str, Any]
    figures: ResultFigures | None
    recorded_at: int = 0


class OptimizerSession(msgspec.Struct, frozen=True):
    """One search for parameters. `configuration` is what was asked for, `result` what it came to."""

    optimizer_session_id: str
    started_at: int
    configuration: dict[str, Any]  # without secrets
    end_reason: str | None = None  # None: it goes on, or was killed
    result: dict[str, Any] | None = None


class OptimizerRow(msgspec.Struct, frozen=True):
    """One combination of a search, played over one span of it. `failure` says why it has no objective, or what it lacks."""

    optimizer_session_id: str
    number: int  # of the combination, from 0
    batch_id: str
    point: dict[str, Any]  # value by parameter
    objective: float | None
    figures: dict[str, float | None]
    equity: tuple[float, ...]  # dollars, before the first session and at the close of each
    seconds: float  # of machine time
    failure: str = ""
    fold: int = 0  # 0: the whole time; else the window of the walk forward
    out_of_sample: bool = False
    played_by: str = "events"  # the engine; or arrays, one compiled loop over array signals

    @property
    def parameters(self) -> str:
        """The values as the original stores them: the text of a tuple."""
        return str(tuple(self.point.values()))


class PortfolioAccount(msgspec.Struct, frozen=True):
    """The cash account of a portfolio, US dollars: it may go down to `credit` below zero."""

    account_id: int
    balance: Decimal
    credit: Decimal = Decimal(0)
    external_account_id: str | None = None  # of a sub-account at the broker


class TradePlanRow(msgspec.Struct, frozen=True):
    """A strategy that the table `trade_plan` wants to run. `ran_as` is its name in its newest batch, empty before that."""

    trade_plan_id: str
    portfolio_id: str
    strategy_name: str
    parameters: dict[str, Any]  # the strategy's table, with `name` (its class) and `filename`
    ran_as: str = ""


class EquityRow(msgspec.Struct, frozen=True):
    """The account's value over one session of a batch, US dollars: at `opened_at` and at each step (ns) after it.

    None where it was not known; the last one is known, and is the session's end once the session is over.
    """

    batch_id: str
    session_date: str  # ISO date, New York
    opened_at: int
    step: int
    amounts: tuple[float | None, ...]


class HonestyCheck(msgspec.Struct, frozen=True):
    """What one check of a backtest's honesty found, as the report's honesty panel shows it.

    A command stores it with the batch that it played (`Store.save_check`), the newest of each `name` (`lookahead`,
    `warmup`) in place of the one before. `Store.honesty_checks` also returns those of other batches of the same plan:
    both have the same text under `plan` in their `configuration`, as `arming.hash_of` makes it of tradeplan and files.
    `findings` are sentences for a person, with strategy, symbol and time; `verdict` is `passed`, `failed`, or
    `unknown` if too little was traded to say.
    """

    name: str
    ran_at: int
    verdict: str
    findings: tuple[str, ...] = ()
