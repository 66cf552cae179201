"""What is left overnight in an account that goes on: taken up the next morning, or left alone."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest

from liualgotrader.analytics.report import report_of
from liualgotrader.backtest import run_backtest
from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import MINUTE, NEVER, instant
from liualgotrader.common.config import Settings
from liualgotrader.common.rows import OrderRow
from liualgotrader.data.market_store import MarketStore
from liualgotrader.data.recorded_series import MARKET, records_of
from liualgotrader.supervisor.reporting import source_of_record
from tests.session.audit import market_books
from tests.session.plans.overnight import FIRST, FIRST_DAY_CLOSES, SECOND, THIRD
from tests.session.running import PLANS, TraderRun, start_kept, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]


def rows(dsn: str, query: str) -> list[Mapping[str, Any]]:
    async def ask() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    return asyncio.run(ask())


def at(moment: datetime) -> int:
    """Return the instant of a column, whose times are UTC."""
    return instant(moment.replace(tzinfo=UTC))


def first_calls(run: TraderRun) -> dict[tuple[str, str], list[str]]:
    """Return what each strategy knew when it was called first for a symbol, in the newest session."""
    logs = max((run.home / "logs").glob("2024-*"), key=lambda path: path.stat().st_mtime)
    found = {}
    for log in logs.glob("consumer-*.log"):
        for line in log.read_text().splitlines():
            if said := re.search(r" first (\w+) (\w+) (.*)$", line):
                found[said[1], said[2]] = said[3].split()
    return found


@pytest.mark.parity(7)
def test_positions_of_yesterday_are_taken_up_without_a_pick_and_day_trades_closed() -> None:
    with trader() as run:
        start_kept(run, "overnight_buy.toml", "2024-06-03", until="16:00")
        run.wait_for_market("09:34:00")
        run.process.send_signal(signal.SIGINT)
        assert run.ended() == 130, run.output
        held = market_books(run.state).positions
        assert sorted(held.values()) == [6, 6], "each of two strategies holds three of each symbol"

        start_kept(run, "overnight_none.toml", "2024-06-04", until="09:40")
        assert run.ended() == 0, run.output
        assert first_calls(run) == {}
        assert market_books(run.state).positions == held, "with skip_existing it is nobody's"

        start_kept(run, "overnight_sell.toml", "2024-06-05", until="09:40")
        assert run.ended() == 0, run.output
        with run.database() as dsn:
            batches = [row["batch_id"] for row in rows(dsn, "select batch_id from batch order by recorded_at")]
            foreign = rows(dsn, "select batch_id, symbol, quantity from foreign_positions order by symbol")
            trades = rows(dsn, "select * from new_trades join algo_run using (algo_run_id) order by trade_id")
        assert [(r["batch_id"], r["symbol"], r["quantity"]) for r in foreign] == [
            (batches[1], symbol, 6) for symbol in sorted(held)
        ]
        bought = {(t["algo_name"], t["symbol"]): t for t in trades if t["operation"] == "buy"}
        sold = [t for t in trades if t["operation"] == "sell"]
        assert {t["batch_id"] for t in sold} == {batches[2]}
        assert {(t["algo_name"], t["symbol"], t["qty"]) for t in sold} == {(n, s, 3) for n, s in bought}
        assert {t["algo_name"] for t in sold if "liquidation" in (t["indicators"] or "")} == {"Leftover"}
        assert market_books(run.state).positions == {}
        known = first_calls(run)
        assert known.keys() == bought.keys()
        for key, (position, stop, target, cost) in known.items():
            assert (position, stop) == ("3.0", "0.25"), key
            assert float(target) == float(bought[key]["target_price"])
            assert float(cost) == pytest.approx(float(bought[key]["price"]))


def test_two_days_and_a_backtest_of_them_with_fresh_daily_give_the_same_orders_and_fills() -> None:
    """The second day is a half day. What may differ stands in docs/parity.md."""
    days, window = ("2024-07-02", "2024-07-03"), ("--quantum", "5", "--symbols", "3")
    with trader("--date", days[0], "--to", days[1], *window, plan="parity.toml") as run:
        run.arguments += ["--state", str(run.home / "kept")]
        assert run.start().ended() == 0, run.output
        said = run.output
        with run.database() as dsn:
            batches = [row["batch_id"] for row in rows(dsn, "select batch_id from batch order by recorded_at")]
            orders = rows(dsn, "select * from orders join algo_run using (algo_run_id)")
            trades = rows(dsn, "select * from new_trades join algo_run using (algo_run_id)")
            report = report_of(asyncio.run(source_of_record(Settings(home=str(run.home)), batches[1][:8])))
        assert report.source.notes == ["The prices were invented: gains on them say nothing about a strategy."]
        traded = {t["symbol"] for t in trades if t["batch_id"] == batches[1]}
        assert report.source.bars.keys() == traded == {chart["symbol"] for chart in report.charts["symbols"]}
        assert report.account is not None and report.account.first == report.source.cash
        saw = MarketStore(records_of(run.home, batches[1]) / MARKET)  # its history has the day before
        bars = {symbol: saw.read(symbol, MINUTE, 0, NEVER) for symbol in (FIRST, SECOND, THIRD)}
        result = run_backtest(PLANS / "parity.toml", *days, data=bars, fresh_daily=True, home=run.home)
    played = result.outcome
    assert (played.exit_code, played.run.failures) == (0, [])

    names = {slot.algo_run_id: slot.strategy for slot in played.run.slots}
    mine = {row.client_order_id: msgspec.structs.asdict(row) for row in played.run.rows if isinstance(row, OrderRow)}
    told = {"decided_at", "symbol", "side", "quantity", "type", "time_in_force", "limit_price", "stop_price", "state"}
    told |= {"filled_quantity", "planned_stop", "planned_target"}

    def plain(row: Mapping[str, Any], strategy: str, decided_at: int) -> list[str]:
        found = {**{name: row[name] for name in told}, "strategy": strategy, "decided_at": decided_at}
        # Of an entry that is taken back when a session ends, the broker's word comes with the next one.
        found["state"] = str(found["state"]).replace("pending_cancel", "canceled")
        numbers = (v.normalize() if isinstance(v, Decimal) else v for _, v in sorted(found.items()))
        return [str(value) for value in numbers]

    in_session = [plain(row, row["algo_name"], at(row["decided_at"])) for row in orders]
    in_backtest = [plain(row, names[row["algo_run_id"]], row["decided_at"]) for row in mine.values()]
    assert sorted(in_session) == sorted(in_backtest)
    states = Counter((names[row["algo_run_id"]], str(row["state"])) for row in mine.values())
    assert states["Rounder", "filled"] == 8, "two entries, an exit and the liquidation on both days"
    assert min(states["Keeper", state] for state in ("filled", "acknowledged", "canceled")) > 0

    # What was ordered on the first day's last bar: an exit waits for the next session, an entry is taken back.
    late = {str(row["side"]): row for row in orders if at(row["decided_at"]) == FIRST_DAY_CLOSES}
    assert (late["sell"]["state"], late["buy"]["state"]) == ("filled", "canceled")
    (sold,) = [row for row in trades if row["client_order_id"] == late["sell"]["client_order_id"]]
    assert at(sold["tstamp"]) == new_york(date(2024, 7, 3), time(9, 30))

    # The session's orders trade at quotes, a millisecond later or within the minute; the backtest's in the bars.
    ours = sorted((t["algo_name"], t["symbol"], t["operation"], at(t["tstamp"]), t["qty"], t["price"]) for t in trades)
    theirs = sorted((t.strategy, t.symbol, t.operation, t.at, t.quantity, t.price) for t in played.executions)
    assert [(*t[:3], t[4]) for t in ours] == [(*t[:3], t[4]) for t in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert abs(one[3] - other[3]) <= MINUTE, (one, other)
        assert float(one[5]) == pytest.approx(float(other[5]), rel=0.005), (one, other)

    # All days together, for a person: what the account has gained is what its equity says.
    lines = [line.split() for line in said[said.index("Sessions\n") :].splitlines()[2:5]]
    counts = Counter(row["batch_id"] for row in trades)
    assert [(day, int(fills)) for day, _, fills, *_ in lines] == [
        *((day, counts[batch]) for day, batch in zip(days, batches, strict=True)),
        ("total", len(trades)),
    ]
    gains, equity = ([Decimal(line[at].replace(",", "")) for line in lines] for at in (4, 5))
    assert gains[0] + gains[1] == gains[2] == equity[2] - 100_000 != 0
    assert equity[1] == equity[2]
