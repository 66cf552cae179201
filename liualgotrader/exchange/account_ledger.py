"""An account's money: cash, holdings at average cost, realised gains, what open orders reserve. Units as in units.py."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Mapping
from decimal import Decimal

import msgspec

from liualgotrader.exchange.exchange_values import AccountSettings, Activity, CashActivity
from liualgotrader.exchange.units import DOLLAR, VALUE_UNITS, divided, value_units

Marks = Mapping[str, int]  # the price each held symbol is valued at, 1e-6 dollars
LOW_LONG = 5 * DOLLAR // 2
LOW_SHORT = 5 * DOLLAR


class Holding(msgspec.Struct):
    """What is held of one symbol; quantity and costs are signed, costs are value units."""

    quantity: int = 0
    cost: int = 0
    day_cost: int = 0  # the same, with what was held when the session began valued at the last close
    realized: int = 0
    bought_in: int = 0  # number of the session in which it was last opened or added to


class AccountLedger(msgspec.Struct, kw_only=True):
    """One account. `cash` and all sums are value units."""

    account_id: str
    cash: int
    created_at: int
    last_equity: int
    last_maintenance: int = 0
    settings: AccountSettings = AccountSettings()
    holdings: dict[str, Holding] = {}
    realized: int = 0
    fees: int = 0
    sequence: int = 0  # updates so far
    generated: int = 0  # client order ids that the exchange chose
    client_ids: dict[str, str] = {}  # client order id: order id, for ever
    activities: list[Activity] = []
    cash_activities: list[CashActivity] = []
    day_trades: list[int] = []  # session numbers of recent day trades

    def quantity(self, symbol: str) -> int:
        """Return the signed position."""
        holding = self.holdings.get(symbol)
        return holding.quantity if holding else 0

    def book(self, symbol: str, signed_quantity: int, price: int, fee: int, session: int) -> int:
        """Book an execution and return the position after it."""
        holding = self.holdings.get(symbol)
        if holding is None:
            holding = self.holdings[symbol] = Holding()
        value = signed_quantity * price
        self.cash -= value + fee
        self.fees += fee
        if holding.quantity * signed_quantity < 0:
            held, closed = abs(holding.quantity), abs(signed_quantity)
            assert closed <= held, "an execution would turn the position round; acceptance must prevent that"
            removed = divided(holding.cost * closed, held)
            holding.cost -= removed
            holding.day_cost -= divided(holding.day_cost * closed, held)
            holding.realized -= value + removed
            self.realized -= value + removed
            if holding.bought_in == session:
                self.day_trades.append(session)
        else:
            holding.cost += value
            holding.day_cost += value
            holding.bought_in = session
        holding.quantity += signed_quantity
        return holding.quantity

    def held(self) -> dict[str, Holding]:
        """Return what is not zero by symbol, in no order that means anything."""
        return {symbol: holding for symbol, holding in self.holdings.items() if holding.quantity}

    # --- overnight

    def begin_session(self, marks: Marks) -> None:
        """Remember the day that ends: equity, margin, and the closes as the basis of today's gains."""
        figures = valuation_of(self, marks)
        self.last_equity = figures.equity
        self.last_maintenance = figures.maintenance
        for symbol, holding in self.held().items():
            holding.day_cost = holding.quantity * marks[symbol]

    def split(self, symbol: str, ratio: Decimal) -> None:
        """Multiply a holding by new shares per old; its cost stays."""
        if holding := self.holdings.get(symbol):
            holding.quantity = round(holding.quantity * ratio)

    def move_cash(self, activity: CashActivity) -> None:
        """Book cash that moved without an execution."""
        self.cash += value_units(activity.amount)
        self.cash_activities.append(activity)


class Valuation(msgspec.Struct, frozen=True, gc=False):
    """The account's figures at the marks, value units."""

    equity: int
    long: int
    short: int  # <= 0
    initial: int
    maintenance: int
    gross: int
    unmarginable: int  # the part of `gross` that is not marginable

    def weighted(self, multiplier: int) -> int:
        """Return the gross value, what is not marginable counted `multiplier` times."""
        return self.gross + self.unmarginable * (multiplier - 1)


def valuation_of(ledger: AccountLedger, marks: Marks, unmarginable: Container[str] = ()) -> Valuation:
    """Return the account's figures; `unmarginable` are the symbols that must be paid in full.

    Source: Alpaca's margin page (Reg T initial 50 %, maintenance 30 % with the low-price rules).
    """
    long = short = initial = maintenance = paid_in_full = 0
    for symbol, price in marks.items():
        quantity = ledger.holdings[symbol].quantity
        size = abs(quantity) * price
        if quantity > 0:
            long += size
        else:
            short -= size
        if symbol in unmarginable:
            paid_in_full += size
            initial += size
            maintenance += size
            continue
        initial += size // 2
        if quantity > 0:
            maintenance += size if price < LOW_LONG else size * 3 // 10
        elif price < LOW_SHORT:
            maintenance += max(-quantity * LOW_LONG, size)
        else:
            maintenance += max(-quantity * LOW_SHORT, size * 3 // 10)
    return Valuation(ledger.cash + long + short, long, short, initial, maintenance, long - short, paid_in_full)


def is_above(equity: int, dollars: Decimal) -> bool:
    """Whether an equity reaches an amount of dollars."""
    return equity >= int(dollars * VALUE_UNITS)


class Reservation(msgspec.Struct, frozen=True, gc=False):
    """What one open order reserves."""

    symbol: str
    sign: int  # +1 buys, -1 sells
    marginable: bool
    shares: int  # of a position, that it closes
    value: int  # buying power, that it opens with
    opens: bool
    reach: int | None  # the worst price it would take; None: it cannot wash with another


class Reservations:
    """What one account's open orders reserve, and the sums, so that admission costs the same however many are open."""

    def __init__(self) -> None:
        self._of: dict[str, Reservation] = {}
        self._shares: dict[str, int] = {}
        self._value = {True: 0, False: 0}  # by whether the symbol is marginable
        self._opening: dict[tuple[str, int], int] = {}
        self._reaches: dict[tuple[str, int], list[int]] = {}  # ascending

    def put(self, order_id: str, reservation: Reservation | None) -> None:
        """Replace what an order reserves; None for nothing."""
        before = self._of.pop(order_id, None)
        if before is not None:
            self._add(before, -1)
        if reservation is not None:
            self._of[order_id] = reservation
            self._add(reservation, 1)

    def _add(self, reservation: Reservation, times: int) -> None:
        side = reservation.symbol, reservation.sign
        if reservation.opens:
            self._value[reservation.marginable] += times * reservation.value
            self._opening[side] = self._opening.get(side, 0) + times
        else:
            self._shares[reservation.symbol] = self._shares.get(reservation.symbol, 0) + times * reservation.shares
        if reservation.reach is not None:
            reaches = self._reaches.setdefault(side, [])
            if times > 0:
                insort(reaches, reservation.reach)
            else:
                del reaches[bisect_left(reaches, reservation.reach)]

    def shares(self, symbol: str) -> int:
        """Return the shares of a position that closing orders reserve."""
        return self._shares.get(symbol, 0)

    def shares_of(self, order_id: str | None) -> int:
        """Return the shares that one order reserves, 0 if it is not open."""
        reservation = self._of.get(order_id or "")
        return reservation.shares if reservation is not None else 0

    def value(self, multiplier: int) -> int:
        """Return the buying power that opening orders reserve; what is not marginable counts `multiplier` times."""
        return self._value[True] + self._value[False] * multiplier

    def opens(self, symbol: str, sign: int) -> bool:
        """Whether an order of that side would open a position in the symbol."""
        return self._opening.get((symbol, sign), 0) > 0

    def best_reach(self, symbol: str, sign: int) -> int | None:
        """Return the worst price that any order of this side would take, None without such an order."""
        reaches = self._reaches.get((symbol, sign))
        return None if not reaches else reaches[-1] if sign > 0 else reaches[0]
