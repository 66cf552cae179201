"""Round trips: from the first share of a position until it is flat again, out of executions in time order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from liualgotrader.common.money import ZERO
from liualgotrader.common.position import after_execution
from liualgotrader.common.rows import BUYS, CarriedPosition, FilledTrade

_STEP = Decimal("0.01")

Key = tuple[int, str]  # algo_run_id, symbol


class RoundTrip(msgspec.Struct, frozen=True):
    """A position from flat to flat, long (`side` +1) or short (-1). Money in US dollars, instants ns UTC."""

    algo_run_id: int
    strategy: str
    symbol: str
    side: int
    quantity: Decimal  # shares bought in a long trip, sold in a short one
    entry_price: Decimal  # averages per share
    exit_price: Decimal
    started_at: int
    ended_at: int
    gross: Decimal
    fees: Decimal
    stop: Decimal | None  # planned at entry
    target: Decimal | None = None
    because: str = ""  # of the order that ended it, see `why_sent`

    @property
    def exit_reason(self) -> str:
        """What ended it: `stop`, `target`, `liquidation`, its strategy's own words, or else whether that was past a plan."""
        if self.because:
            return self.because
        if self.stop is not None and (self.exit_price - self.stop) * self.side <= 0:
            return "strategy, past its stop"
        if self.target is not None and (self.exit_price - self.target) * self.side >= 0:
            return "strategy, past its target"
        return "strategy"

    @property
    def gain(self) -> Decimal:
        """The cash it brought, fees paid."""
        return self.gross - self.fees

    @property
    def entry_value(self) -> Decimal:
        """What percentages are of: all that was entered, at its price."""
        return self.quantity * self.entry_price

    @property
    def gain_percentage(self) -> Decimal:
        """The gain in percent of the value entered."""
        return percentage(self.gain, self.entry_value)

    @property
    def r_units(self) -> Decimal | None:
        """Gain per share over the risk per share taken at entry; None without a stop on the losing side.

        (exit - entry) / (entry - stop), which has the right sign for shorts as well. Fees play no part.
        """
        if self.stop is None:
            return None
        risk = (self.entry_price - self.stop) * self.side
        if risk <= 0:
            return None
        return ((self.exit_price - self.entry_price) * self.side / risk).quantize(_STEP)


class OpenPosition(msgspec.Struct, frozen=True):
    """The position of one strategy slot in one symbol; `quantity` is signed."""

    algo_run_id: int
    strategy: str
    symbol: str
    quantity: Decimal
    average_price: Decimal
    entered: Decimal  # shares, unsigned: what is left and what was closed again
    opened_at: int
    realised: Decimal  # of what was already closed again, before fees
    fees: Decimal
    stop: Decimal | None
    target: Decimal | None = None

    @property
    def entry_value(self) -> Decimal:
        """All that was entered, at its average price."""
        return self.entered * self.average_price


class Trips(msgspec.Struct, frozen=True):
    """All closed round trips by their end, and the open positions."""

    closed: tuple[RoundTrip, ...]
    open: tuple[OpenPosition, ...]


def percentage(part: Decimal, whole: Decimal) -> Decimal:
    """Return `part` in percent of `whole`, to 0.01; 0 of nothing is 0."""
    return (100 * part / whole).quantize(_STEP) if whole else ZERO


def sign_of(trade: FilledTrade) -> int:
    """Return +1 for a purchase, -1 for a sale."""
    return 1 if trade.operation in BUYS else -1


def in_order(trades: Iterable[FilledTrade]) -> list[FilledTrade]:
    """Return the executions that traded something, by time; equal times stay in the order given."""
    return sorted((t for t in trades if t.quantity), key=lambda t: t.at)


def round_trips(trades: Iterable[FilledTrade], opening: Mapping[Key, CarriedPosition] | None = None) -> Trips:
    """Return the round trips in `trades`, per strategy slot and symbol.

    An execution that turns a position over ends one trip and begins the next; its fee is shared by
    quantity. `opening` is what was carried in: its trip began earlier, at its average cost and with the stop
    planned then, and belongs to the slot that ends it. Fees paid before are not counted again. Shares that came or went at
    price 0 did so by a split, over which a trip goes on.
    """
    carried = dict(opening or {})
    running: dict[Key, _RunningTrip] = {}
    closed: list[RoundTrip] = []
    for trade in in_order(trades):
        key = trade.algo_run_id, trade.symbol
        if (held := carried.pop(key, None)) is not None:
            running[key] = _RunningTrip.carried(trade, held)
        quantity = running[key].quantity if key in running else ZERO
        if quantity and not trade.price:
            running[key].split((quantity + sign_of(trade) * trade.quantity) / quantity)
            continue
        _, _, exited = after_execution(quantity, ZERO, sign_of(trade) * trade.quantity, trade.price)
        if exited:
            running[key].exit(trade, abs(exited))
            if exited == quantity:
                closed.append(running.pop(key).ended(trade))
        if entered := trade.quantity - abs(exited):
            running.setdefault(key, _RunningTrip(trade, sign_of(trade), trade.at)).enter(trade, entered)
    return Trips(tuple(closed), tuple(trip.still_open() for trip in running.values()))


@dataclass(slots=True)
class _RunningTrip:
    first: FilledTrade
    side: int
    started_at: int
    entered: Decimal = ZERO  # shares, unsigned
    entry_value: Decimal = ZERO
    exited: Decimal = ZERO
    exit_value: Decimal = ZERO
    fees: Decimal = ZERO
    stop: Decimal | None = None
    target: Decimal | None = None

    @classmethod
    def carried(cls, first: FilledTrade, held: CarriedPosition) -> _RunningTrip:
        """Return the trip of a position from before, met again by its first execution since."""
        entered = abs(held.quantity)
        side = 1 if held.quantity > 0 else -1
        return cls(
            first,
            side,
            held.opened_at,
            entered,
            entered * held.average_price,
            stop=held.entry_stop,
            target=held.planned_target,
        )

    @property
    def quantity(self) -> Decimal:
        return (self.entered - self.exited) * self.side

    def enter(self, trade: FilledTrade, quantity: Decimal) -> None:
        self.entered += quantity
        self.entry_value += quantity * trade.price
        self.fees += trade.fee * quantity / trade.quantity
        self.stop = trade.stop if self.stop is None else self.stop
        self.target = trade.target if self.target is None else self.target

    def exit(self, trade: FilledTrade, quantity: Decimal) -> None:
        self.exited += quantity
        self.exit_value += quantity * trade.price
        self.fees += trade.fee * quantity / trade.quantity

    def split(self, ratio: Decimal) -> None:
        """Go on in the terms after a split: `ratio` new shares per old one."""
        self.entered, self.exited = self.entered * ratio, self.exited * ratio
        self.stop = None if self.stop is None else self.stop / ratio
        self.target = None if self.target is None else self.target / ratio

    def ended(self, last: FilledTrade) -> RoundTrip:
        return RoundTrip(
            side=self.side,
            quantity=self.entered,
            entry_price=self.entry_value / self.entered,
            exit_price=self.exit_value / self.exited,
            started_at=self.started_at,
            ended_at=last.at,
            gross=(self.exit_value - self.entry_value) * self.side,
            because=last.because,
            **self._same_of_both(),
        )

    def still_open(self) -> OpenPosition:
        average = self.entry_value / self.entered
        return OpenPosition(
            quantity=self.quantity,
            average_price=average,
            entered=self.entered,
            opened_at=self.started_at,
            realised=(self.exit_value - average * self.exited) * self.side,
            **self._same_of_both(),
        )

    def _same_of_both(self) -> dict[str, Any]:
        same = {name: getattr(self.first, name) for name in ("algo_run_id", "strategy", "symbol")}
        return same | {"fees": self.fees, "stop": self.stop, "target": self.target}
