"""Cash, positions, margin, fees and the turn of the day, worked by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec
import pytest

from liualgotrader.common.borrow import BorrowRow, borrow_fees
from liualgotrader.common.clock import as_datetime
from liualgotrader.common.orders import Side
from liualgotrader.exchange.fees import (
    FeeModel,
    NoFees,
    PercentageFees,
    PerShareCommission,
    RegulatoryFees,
    SumOfFees,
    section_31_rate,
    taf_rate,
)
from liualgotrader.exchange.rules import ExchangeSession, Rules
from tests.fakes.exchange import OPEN, SECOND, SESSION, Floor

D = Decimal


def test_a_long_round_trip_at_average_cost() -> None:
    floor = Floor()
    floor.quote(9.99, 1000, 10.00, 1000)
    floor.send("buy", "100")
    floor.quote(10.99, 1000, 11.00, 1000)
    floor.send("buy", "300")
    position = floor.exchange.position("me", "X")
    assert (position.quantity, position.average_entry_price, position.cost_basis) == (400, D("10.75"), D("4300"))
    floor.quote(12.00, 1000, 12.02, 1000)
    floor.send("sell", "100")
    account = floor.exchange.account("me")
    assert (account.cash, account.realized_pl) == (D("96900"), D("125"))  # 100000 - 4300 + 1200; (12.00 - 10.75) x 100
    position = floor.exchange.position("me", "X")
    assert (position.average_entry_price, position.unrealized_pl) == (D("10.75"), D("378"))  # middle 12.01


def test_a_short_round_trip() -> None:
    floor = Floor()
    floor.quote(10.00, 1000, 10.02, 1000)
    floor.send("sell", "100")
    account = floor.exchange.account("me")
    # middle 10.01: cash 101000, short -1001, equity 99999; Reg T power 2 x equity - gross
    assert (account.cash, account.short_market_value, account.equity) == (D(101000), D(-1001), D(99999))
    assert account.buying_power == D(2 * 99999 - 1001)
    assert account.initial_margin == D("500.50")
    assert account.maintenance_margin == D(500)  # above 5 dollars: the larger of 5 dollars a share and 30 %
    floor.quote(8.98, 1000, 9.00, 1000)
    floor.send("buy", "100")
    account = floor.exchange.account("me")
    assert (account.cash, account.realized_pl, account.equity) == (D(100100), D(100), D(100100))


def test_orders_by_notional_buy_fractions_down_to_a_billionth() -> None:
    floor = Floor()
    floor.quote(2.99, 1000, 3.00, 1000)
    view = floor.send("buy", None, notional="100", client_order_id="a")
    assert (view.quantity, view.notional) == (None, 100)
    order = floor.order("a")
    assert (order.status, order.filled_quantity) == ("filled", D("33.333333333"))
    assert floor.exchange.account("me").cash == D("99900.000000001")


def test_a_sale_by_notional_never_sells_more_than_there_is() -> None:
    floor = Floor(Rules(latency_ns=500_000_000))
    floor.quote(9.99, 1000, 10.00, 1000)
    floor.submit("buy", "10")
    floor.wait()
    floor.submit("sell", None, notional="99.90", client_order_id="s")
    floor.seconds -= 0.9
    floor.quote(4.99, 1000, 5.00, 1000)  # 99.90 dollars would now be 20 shares
    floor.wait()
    assert floor.exchange.positions("me") == []
    assert (floor.order("s").status, floor.order("s").filled_quantity) == ("canceled", 10)


FEES: list[tuple[str, FeeModel, Side, str, str, str]] = [
    ("nothing by default", NoFees(), Side.SELL, "100", "1000", "0"),
    # 10,000 x 20.60 / 1,000,000 = 0.206 -> 0.21; 1,000 x 0.000195 = 0.195 -> 0.20
    ("regulatory fees of a sale", RegulatoryFees(), Side.SELL, "1000", "10000", "0.41"),
    ("no regulatory fees of a purchase", RegulatoryFees(), Side.BUY, "1000", "10000", "0"),
    # 1 x 20.60 / 1,000,000 -> 0.01; 1,000,000 x 0.000195 = 195, at most 9.79
    ("the activity fee has a maximum", RegulatoryFees(), Side.SELL, "1000000", "1", "9.80"),
    ("commission by the share", PerShareCommission(), Side.BUY, "1000", "10000", "5.00"),
    ("at least a dollar", PerShareCommission(), Side.SELL, "100", "1000", "1.00"),
    ("at most one per cent", PerShareCommission(), Side.BUY, "10", "20", "0.20"),
    ("a quarter of a per cent of purchases", PercentageFees(D("0.25"), D(1)), Side.BUY, "100", "1000", "2.50"),
    ("one per cent of sales", PercentageFees(D("0.25"), D(1)), Side.SELL, "100", "999.91", "10.00"),
    ("both", SumOfFees((RegulatoryFees(), PerShareCommission())), Side.SELL, "1000", "10000", "5.41"),
]


@pytest.mark.parametrize(("model", "side", "quantity", "value", "fee"), [f[1:] for f in FEES], ids=[f[0] for f in FEES])
def test_fees(model: FeeModel, side: Side, quantity: str, value: str, fee: str) -> None:
    assert model.total(side, D(quantity), D(value), date(2026, 6, 1)) == D(fee)


# Dollars per million of the SEC's advisories; dollars a share and at most a sale of FINRA's schedule A.
@pytest.mark.parametrize(
    ("day", "per_million", "per_share", "maximum"),
    [
        ("2010-06-01", "22.40", "0.000075", "3.75"),  # the first rate known is assumed
        ("2013-10-07", "17.40", "0.000119", "5.95"),
        ("2014-03-17", "17.40", "0.000119", "5.95"),
        ("2014-03-18", "22.10", "0.000119", "5.95"),
        ("2021-02-24", "22.10", "0.000119", "5.95"),
        ("2021-02-25", "5.10", "0.000119", "5.95"),
        ("2025-05-13", "27.80", "0.000166", "8.30"),
        ("2025-06-23", "0.00", "0.000166", "8.30"),
        ("2026-04-03", "0.00", "0.000195", "9.79"),
        ("2026-04-04", "20.60", "0.000195", "9.79"),
        ("2030-01-02", "20.60", "0.000195", "9.79"),  # the last rate known is assumed
    ],
)
def test_regulatory_fees_are_those_of_the_day(day: str, per_million: str, per_share: str, maximum: str) -> None:
    on = date.fromisoformat(day)
    assert section_31_rate(on) == D(per_million)
    assert taf_rate(on) == (D(per_share), D(maximum))


def test_a_sale_costs_what_its_sessions_day_costs() -> None:
    floor = Floor(Rules(latency_ns=0, fees=RegulatoryFees()))  # 2025-06-23: no section 31 fee, 0.000166 $ a share
    floor.quote(9.99, 1000, 10.00, 1000)
    floor.send("buy", "1000")
    floor.send("sell", "1000")
    assert floor.exchange.account("me").fees_paid == D("0.17")


class FallenRate:
    """Five cents at first; nothing once more of the order trades, as after the day on which a rate went to zero."""

    def total(self, side: Side, quantity: Decimal, value: Decimal, day: date) -> Decimal:
        return D("0.05") if quantity < 6 else D(0)


def test_a_rate_that_has_fallen_since_an_order_began_is_not_paid_back() -> None:
    floor = Floor(Rules(latency_ns=0, fees=FallenRate()))
    floor.quote(9.99, 1000, 10.00, 4)
    floor.send("buy", "12")
    floor.quote(9.99, 1000, 10.00, 8)
    assert [u.execution.fee for u in floor.updates if u.execution] == [D("0.05"), 0]


def test_fees_are_rounded_up_once_an_order_and_taken_from_cash() -> None:
    floor = Floor(Rules(latency_ns=0, fees=PerShareCommission(per_share=D("0.001"), minimum=D(0))))
    floor.quote(9.99, 1000, 10.00, 4)
    floor.send("buy", "12", client_order_id="a")
    floor.quote(9.99, 1000, 10.00, 5)
    floor.quote(9.99, 1000, 10.00, 6)
    fees = [u.execution.fee for u in floor.updates if u.execution]
    assert fees == [D("0.01"), D(0), D("0.01")]  # 0.004, 0.009 and 0.012 dollars, each up to a cent, less what was paid
    account = floor.exchange.account("me")
    assert (account.cash, account.fees_paid) == (D("99879.98"), D("0.02"))


def test_fills_are_activities_with_pages_by_id() -> None:
    floor = Floor()
    floor.quote(9.99, 1000, 10.00, 30)
    floor.send("buy", "100")
    floor.quote(9.99, 1000, 10.00, 70)
    first, last = floor.exchange.activities("me")
    assert (first.type, first.quantity, first.leaves_quantity) == ("partial_fill", 30, 70)
    assert (last.type, last.cumulative_quantity, last.order_status) == ("fill", 100, "filled")
    assert first.id.startswith("20250623133001") or first.id.startswith("20250623133002")
    assert floor.exchange.activities("me", after=first.at) == [last]


def next_day(**more: object) -> ExchangeSession:
    opens_at = OPEN + 24 * 3600 * SECOND
    return ExchangeSession(opens_at=opens_at, closes_at=opens_at + 23_400 * SECOND, **more)  # type: ignore[arg-type]


def test_the_new_day_starts_from_the_last_closes() -> None:
    floor = Floor()
    floor.quote(9.99, 1000, 10.00, 1000)
    floor.send("buy", "100")
    floor.exchange.begin_session(next_day(previous_closes={"X": D("11.00")}))
    account, position = floor.exchange.account("me"), floor.exchange.position("me", "X")
    assert account.last_equity == D(100100)
    assert position.lastday_price == D(11)
    floor.seconds = 24 * 3600
    floor.trade(12.00)
    position = floor.exchange.position("me", "X")
    assert (position.unrealized_pl, position.unrealized_intraday_pl) == (D(200), D(100))
    assert position.change_today == D("0.0909090909")


def test_a_split_multiplies_shares_and_divides_the_prices_of_open_gtc_orders() -> None:
    floor = Floor()
    floor.quote(99.99, 1000, 100.00, 1000)
    floor.trade(100.00)
    floor.send("buy", "30")
    floor.send("sell", "30", "limit", limit_price="120.01", time_in_force="gtc", client_order_id="g")
    floor.exchange.begin_session(next_day(splits={"X": D(3)}, previous_closes={"X": D("33.40")}))
    position, order = floor.exchange.position("me", "X"), floor.order("g")
    assert (position.quantity, position.cost_basis, position.market_value) == (90, D(3000), D(3006))
    assert position.lastday_price == D("33.40")
    assert (order.quantity, order.limit_price) == (90, D("40.00"))  # 120.01 / 3 = 40.0033, cut to the cent
    assert floor.exchange.account("me").equity == D(100006)


def test_an_order_of_which_a_reverse_split_leaves_no_whole_share_is_cancelled() -> None:
    floor = Floor()
    floor.quote(9.99, 1000, 10.00, 1000)
    floor.send("buy", "9", "limit", limit_price="8.00", time_in_force="gtc", client_order_id="g")
    floor.exchange.begin_session(next_day(splits={"X": D("0.1")}))
    assert (floor.order("g").status, floor.exchange.account("me").reserved) == ("canceled", 0)


def test_a_dividend_is_paid_to_holders_and_lowers_gtc_buy_limits() -> None:
    floor = Floor()
    floor.quote(9.99, 1000, 10.00, 1000)
    floor.send("buy", "100")
    floor.send("buy", "10", "limit", limit_price="9.00", time_in_force="gtc", client_order_id="g")
    floor.exchange.begin_session(next_day(dividends={"X": D("0.25")}))
    assert floor.exchange.account("me").cash == D("99025")
    assert floor.order("g").limit_price == D("8.75")
    [paid] = floor.exchange.cash_activities("me")
    assert (paid.activity_type, paid.symbol, paid.amount) == ("DIV", "X", 25)
    assert f"{as_datetime(paid.at):%Y-%m-%d}" == "2025-06-24"  # the day it takes effect, a day after OPEN


def test_a_close_that_nobody_knows_is_not_the_price_of_now() -> None:
    floor = Floor()
    floor.quote(9.99, 1000, 10.00, 1000)
    floor.send("buy", "100")
    assert floor.exchange.position("me", "X").lastday_price is None


def test_accounts_do_not_see_each_other() -> None:
    floor = Floor()
    floor.exchange.open_account("you", D(50))
    floor.quote(9.99, 1000, 10.00, 1000)
    floor.send("buy", "5", account="you")
    assert floor.exchange.positions("me") == []
    assert floor.exchange.account("you").cash == 0
    with pytest.raises(ValueError, match="already"):
        floor.exchange.open_account("you", D(50))


def test_orders_are_found_by_status_time_symbol_and_side() -> None:
    floor = Floor()
    floor.quote(9.99, 1000, 10.00, 1000)
    floor.quote(9.99, 1000, 10.00, 1000, symbol="Y")
    for name, symbol in (("a", "X"), ("b", "Y"), ("c", "X")):
        floor.send("buy", "1", "limit", limit_price="9", client_order_id=name, symbol=symbol)
    floor.cancel("a")
    ask = floor.exchange.orders

    def names(**query: object) -> list[str]:
        return [o.client_order_id for o in ask("me", **query)]  # type: ignore[arg-type]

    assert names() == ["c", "b"]
    assert names(status="closed") == ["a"]
    assert names(status="all", direction="asc", limit=2) == ["a", "b"]
    assert names(status="all", symbols=("X",)) == ["c", "a"]
    assert names(status="all", after=floor.order("a").submitted_at, direction="asc") == ["b", "c"]
    assert names(status="all", until=floor.order("b").submitted_at) == ["a"]
    assert names(side="sell") == []


def test_a_state_saved_in_units_of_a_hundredth_of_a_cent_is_taken_up() -> None:
    floor = Floor(cash="10000")
    floor.quote(9.99, 300, 10.01, 100)
    floor.send("buy", "150", client_order_id="a")
    floor.send("buy", "10", "limit", limit_price="9.50", client_order_id="b")
    old = msgspec.json.decode(floor.exchange.snapshot_state())
    assert old["version"] == 2
    old["version"] = 1
    finer = {
        "orders": ("limit", "stop", "trail", "hwm", "collar", "check_price", "filled_value", "notional", "fee"),
        "ledgers": ("cash", "last_equity", "last_maintenance", "realized", "fees"),
    }
    for part, names in finer.items():
        for one in old[part]:
            one |= {name: one[name] // 100 for name in names if one.get(name)}
    for holding in old["ledgers"][0]["holdings"].values():
        holding |= {name: holding[name] // 100 for name in ("cost", "day_cost", "realized")}
    for market in old["watched"].values():
        market["touch"] = [price // 100 for price in market["touch"]]
    again = Floor(cash="1")
    again.exchange.restore_state(msgspec.json.encode(old))
    assert again.exchange.account("me") == floor.exchange.account("me")
    assert again.exchange.orders("me", status="all") == floor.exchange.orders("me", status="all")
    again.seconds = floor.seconds
    for one in (floor, again):
        one.quote(9.40, 300, 9.45, 500)
    assert again.fills() == floor.fills()[1:] == ["a 50 @ 9.45", "b 10 @ 9.45"]


def test_a_night_short_costs_a_part_of_a_year_for_whole_lots() -> None:
    floor = Floor()
    floor.quote(9.99, 500, 10.01, 500)
    floor.send("sell", "150")
    floor.trade(10.00)
    floor.send("buy", "10", symbol="Y", type_="limit", limit_price="5")
    cash = floor.exchange.account("me").cash
    rows = (
        BorrowRow("X", date(2025, 1, 2), "hard", Decimal(36)),
        BorrowRow("Y", date(2025, 1, 2), "hard", Decimal(36)),
    )
    nights = borrow_fees(rows, date(2025, 6, 23), date(2025, 6, 25))
    assert nights == {"X": Decimal("0.002"), "Y": Decimal("0.002")}  # two of 360 days
    day = 2 * 86_400 * SECOND
    next_session = msgspec.structs.replace(
        SESSION, opens_at=SESSION.opens_at + day, closes_at=SESSION.closes_at + day, borrow_fees=nights
    )
    floor.exchange.begin_session(next_session)
    [paid] = floor.exchange.cash_activities("me")
    assert (paid.activity_type, paid.symbol, paid.amount) == ("FEE", "X", Decimal("-4.00"))  # 200 shares at 10.00
    assert floor.exchange.account("me").cash == cash - 4
