"""What a session leaves behind is enough to look at it and to play it again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from liualgotrader.analytics.equity import curve_of
from liualgotrader.analytics.records import recorded
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.rows import EquityRow
from liualgotrader.data.market_store import MarketStore
from liualgotrader.data.recorded_series import MARKET, records_of
from liualgotrader.store.store_factory import open_store
from liualgotrader.tapes.generated import GeneratedTape
from liualgotrader.tapes.generated_profile import tickers
from tests.session.running import DAY, TraderRun, bare_environment, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

FIRST, SECOND = tickers(8)[:2]
FILES = f"""
from liualgotrader.scanners.base import Scanner
from liualgotrader.strategies.base import Strategy


class Two(Scanner):
    async def run(self, back_time=None):
        return ["{FIRST}", "{SECOND}"]


class Mean(Strategy):
    def on_bar(self, ctx, bar):
        ctx.record("close", bar.close)
        ctx.record("mean", ctx.bars.close[-30:].mean())
        if len(ctx.bars) % 8 == 0 and not ctx.open_orders:
            ctx.close() if ctx.position else ctx.buy(2)

    async def run(self, symbol, shortable, position, now, minute_history, **more):
        self.record(symbol, "rows", len(minute_history))
        return False, {{}}
"""
PLAN = """
consumers = 2
events = ["minute"]

[scanners.Two]
filename = "mine.py"

[strategies.Mean]
filename = "mine.py"
"""


def written(run: TraderRun) -> str:
    """Return the plan's file in the run's folder."""
    (run.home / "mine.py").write_text(FILES)
    (run.home / "tradeplan.toml").write_text(PLAN)
    return str(run.home / "tradeplan.toml")


def played_again(run: TraderRun, batch_id: str) -> dict[str, Any]:
    """Return the document of `backtester batch`."""
    program = [
        sys.executable,
        "-c",
        "from liualgotrader.cli.backtester import main; main()",
        "batch",
        batch_id,
        "--json",
    ]
    environment = bare_environment() | {"LIU_HOME": str(run.home), "TRADEPLAN_DIR": str(run.home)}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def equity_of(dsn: str, batch_id: str) -> Sequence[EquityRow]:
    async def read() -> Sequence[EquityRow]:
        store = await open_store(dsn)
        try:
            return await store.equity([batch_id])
        finally:
            await store.close()

    return asyncio.run(read())


def test_a_simulated_session_is_played_again_from_what_it_left_and_records_the_same() -> None:
    with trader("--from", "09:30", "--to", "10:10", "--symbols", "8", "--seed", "3") as run:
        run.arguments += ["--tradeplan", written(run)]
        assert run.start().ended() == 0, run.output
        (batch_id,) = (path.name for path in (run.home / "records").iterdir())
        market = MarketStore(records_of(run.home, batch_id) / MARKET)
        tape = GeneratedTape(DAY, 3, 8)
        assert [market.series_of(path) for path in market.files()] == [
            (s, "bars", MINUTE) for s in sorted((FIRST, SECOND))
        ]
        for symbol in (FIRST, SECOND):
            kept = market.read(symbol, MINUTE, 0, 2**62)
            true = {bar.opened_at: bar for bar in tape.history_with_the_day(symbol).minutes}
            of_the_day = kept.opened_at >= tape.session.opens_at
            assert of_the_day.sum() >= 40  # a session goes on for some minutes after its close
            assert (~of_the_day).sum() > 300  # the history that the strategies began with
            for name in ("open", "high", "low", "close", "volume"):
                assert getattr(kept, name).tolist() == [getattr(true[at], name) for at in kept.opened_at.tolist()]
        with run.database() as dsn:
            (row,) = equity_of(dsn, batch_id)
            curve = curve_of([row])
            assert (len(row.amounts), row.amounts[0]) == (41, 100_000.0)
            assert len(curve.amount) > 30
            assert len(set(curve.amount.tolist())) > 5
        told = played_again(run, batch_id)
        assert told["summary"]["bars"] == 2 * 40
        one, other = (recorded(of, home=run.home).reset_index() for of in (batch_id, told["batch_id"]))
        keys = ["at", "symbol", "name"]
        both = one.merge(other, "outer", on=keys, suffixes=("", "_again"))
        bars = both[both["name"] != "rows"]
        assert len(bars) == 2 * 2 * 40
        assert bars["value"].tolist() == bars["value_again"].tolist()
        rows = both[both["name"] == "rows"].dropna()  # `run` is not called while an order is on its way
        assert len(rows) > 40
        assert rows["value"].tolist() == rows["value_again"].tolist()
