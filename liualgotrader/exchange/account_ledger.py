"""An account's money: cash, holdings at average cost, realised gains. Exact integers, see units.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from liualgotrader.exchange.exchange_values import AccountSettings, Activity, CashActivity
from liualgotrader.exchange.units import DOLLAR, VALUE_UNITS, divided, value_units

Mark = Callable[[str], int]  # the price a symbol is valued at, 1e-4 dollars
LOW_LONG = 25_000  # 2.50 dollars
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
            self._reduce(holding, signed_quantity, value, session)
        else:
            holding.cost += value
            holding.day_cost += value
            holding.bought_in = session
        holding.quantity += signed_quantity
        return holding.quantity

    def _reduce(self, holding: Holding, signed_quantity: int, value: int, session: int) -> None:
        held, closed = abs(holding.quantity), abs(signed_quantity)
        assert closed <= held, "an execution would turn the position round; acceptance must prevent that"
        removed = divided(holding.cost * closed, held)
        holding.cost -= removed
        holding.day_cost -= divided(holding.day_cost * closed, held)
        gain = -value - removed
        holding.realized += gain
        self.realized += gain
        if holding.bought_in == session:
            self.day_trades.append(session)

    def held(self) -> Iterable[tuple[str, Holding]]:
        """Return what is not zero, in no order that means anything."""
        return ((s, h) for s, h in self.holdings.items() if h.quantity)

    # --- overnight

    def begin_session(self, mark: Mark) -> None:
        """Remember the day that ends: equity, margin, and the closes as the basis of today's gains."""
        figures = value(self, mark, multiplier=1, is_marginable=lambda _: True)
        self.last_equity = figures.equity
        self.last_maintenance = figures.maintenance
        for symbol, holding in self.held():
            holding.day_cost = holding.quantity * mark(symbol)

    def split(self, symbol: str, ratio: Decimal) -> None:
        """Multiply a holding by new shares per old; its cost stays."""
        if holding := self.holdings.get(symbol):
            holding.quantity = int(holding.quantity * ratio)

    def move_cash(self, activity: CashActivity) -> None:
        """Book cash that moved without an execution."""
        self.cash += value_units(activity.amount)
        self.cash_activities.append(activity)


class Valuation(msgspec.Struct, frozen=True):
    """The account's figures at the marks, value units."""

    equity: int
    long: int
    short: int  # <= 0
    initial: int
    maintenance: int
    weighted: int  # gross, what is not marginable counted `multiplier` times


def value(ledger: AccountLedger, mark: Mark, *, multiplier: int, is_marginable: Callable[[str], bool]) -> Valuation:
    """Return the account's figures; `multiplier` is the margin that the account has.

    Source: Alpaca's margin page (Reg T initial 50 %, maintenance 30 % with the low-price rules).
    """
    long = short = initial = maintenance = weighted = 0
    for symbol, holding in ledger.held():
        price = mark(symbol)
        worth = holding.quantity * price
        size = abs(worth)
        if worth > 0:
            long += worth
        else:
            short += worth
        marginable = is_marginable(symbol)
        initial += size // 2 if marginable else size
        weighted += size if marginable else size * multiplier
        maintenance += size if not marginable else _maintenance(holding.quantity, price)
    return Valuation(ledger.cash + long + short, long, short, initial, maintenance, weighted)


def _maintenance(quantity: int, price: int) -> int:
    size = abs(quantity) * price
    if quantity > 0:
        return size if price < LOW_LONG else size * 3 // 10
    if price < LOW_SHORT:
        return max(abs(quantity) * LOW_LONG, size)
    return max(abs(quantity) * LOW_SHORT, size * 3 // 10)


def is_above(equity: int, dollars: Decimal) -> bool:
    """Whether an equity reaches an amount of dollars."""
    return equity >= int(dollars * VALUE_UNITS)
