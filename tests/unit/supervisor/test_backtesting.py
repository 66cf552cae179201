"""A backtest from what was asked for to what it came to, on an invented market and without a database."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import as_datetime
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.rows import AlgoRunRow, BatchRow, OptimizerRow, OptimizerSession, ResultFigures
from liualgotrader.common.tradeplan import TradePlan, parse_tradeplan
from liualgotrader.store.session_tables import signal_columns
from liualgotrader.supervisor.backtest_bars import BarsWanted
from liualgotrader.supervisor.backtest_outcome import BacktestOutcome
from liualgotrader.supervisor.backtesting import Backtesting, BacktestRequest, other_ratios
from tests.fakes.store import MemoryStore
from tests.fakes.supervisor import RecordingScreen

HEAD = """
from liualgotrader.strategies.base import Strategy, StrategyType

class {name}(Strategy):
    strategy_type = StrategyType.SWING
"""
FLIPS = """
    def on_bar(self, ctx, bar):
        turn = len(ctx.bars.close) % 20
        if turn == 5 and not ctx.position:
            ctx.buy(10, stop_price=bar.close * 0.9)
        elif turn == 15 and ctx.position:
            ctx.close()
"""
DAYS = BarsWanted(first=date(2024, 3, 12), last=date(2024, 3, 14), generated=2, seed=5)

Run = Callable[..., BacktestOutcome]


def plan_of(folder: Path, **strategies: str) -> TradePlan:
    """Return a plan with strategies of these bodies; their files are written into the folder."""
    for name, body in strategies.items():
        (folder / f"{name.lower()}.py").write_text(HEAD.format(name=name) + body)
    tables = {name: {"filename": f"{name.lower()}.py"} for name in strategies}
    return parse_tradeplan({"strategies": tables}, folder / "tradeplan.toml")


@pytest.fixture
def screen() -> RecordingScreen:
    return RecordingScreen()


@pytest.fixture
def run(tmp_path: Path, screen: RecordingScreen) -> Run:
    def played(plan: TradePlan, progress: Any = lambda session, bars: None, **more: Any) -> BacktestOutcome:
        request = msgspec.structs.replace(BacktestRequest(bars=DAYS, database=False), **more)
        with Backtesting(request, Settings(home=str(tmp_path)), plan, screen) as backtesting:
            return backtesting.play(progress)

    return played


def test_a_run_is_summed_up_as_it_was_played(run: Run, tmp_path: Path) -> None:
    seen: list[tuple[date, int]] = []

    def progress(session: TradingSession, bars: int) -> None:
        seen.append((session.day, bars))

    outcome = run(plan_of(tmp_path, Flips=FLIPS), progress, fee_per_share=D("0.01"))
    summary = outcome.summary
    assert seen == [(date(2024, 3, day), 780 * n) for n, day in enumerate((12, 13, 14), 1)]
    assert (summary.sessions, summary.bars, outcome.exit_code, outcome.sentence) == (3, 2340, 0, "")
    assert summary.total.trips > 50
    assert summary.total.average_r is not None
    assert summary.total.fees == sum(t.quantity for t in outcome.executions) / 100
    assert summary.total.open_gain is not None
    gained = summary.total.gain + summary.total.open_gain
    first, last = summary.account.first, summary.account.last
    assert first is not None and last is not None
    assert last - first == pytest.approx(float(gained), abs=0.02)
    assert [s.name for s in summary.symbols] == sorted({t.symbol for t in outcome.executions})
    assert summary.benchmark_symbol == summary.symbols[0].name


def test_the_same_backtest_twice_trades_the_same(run: Run, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, Flips=FLIPS)
    first, again = ([(t.symbol, t.at, t.price, t.quantity) for t in run(plan).executions] for _ in range(2))
    assert first == again


@pytest.mark.parity(50)
def test_fees_are_charged_in_percent_of_each_side(run: Run, tmp_path: Path) -> None:
    found = run(plan_of(tmp_path, Flips=FLIPS), buy_fee_percentage=D("0.5"), sell_fee_percentage=D(1)).executions
    for trade in found:
        percent = D("0.5") if trade.operation == "buy" else D(1)
        assert trade.fee == pytest.approx(trade.quantity * trade.price * percent / 100, abs=D("0.01"))


def test_what_a_strategy_raises_is_told_with_symbol_and_time_and_what_was_traded_is_kept(
    run: Run, tmp_path: Path
) -> None:
    body = FLIPS + "        if len(ctx.bars.close) == 1000:\n            raise RuntimeError('bar 1000')\n"
    outcome = run(plan_of(tmp_path, Flips=FLIPS, Breaks=body))
    first = outcome.summary.benchmark_symbol
    # History has 780 bars, so bar 1000 is that of the session's minute 220.
    told = f"strategy Breaks raised in on_bar for {first}: RuntimeError: bar 1000 (breaks.py:14), on 2024-03-12 at 13:10 New York"
    assert (outcome.exit_code, outcome.sentence) == (4, f"{told} (and 1 more): what was played stands above")
    assert {t.strategy for t in outcome.executions} == {"Flips", "Breaks"}


def test_a_run_that_is_interrupted_keeps_the_sessions_that_were_played(run: Run, tmp_path: Path) -> None:
    outcome = run(plan_of(tmp_path, Flips=FLIPS), lambda session, bars: session.day < date(2024, 3, 13))
    assert (outcome.exit_code, outcome.summary.last_day) == (130, date(2024, 3, 13))
    assert outcome.sentence.startswith("interrupted after the session of 2024-03-13")


def test_a_run_in_which_every_order_was_refused_says_so(run: Run, tmp_path: Path) -> None:
    outcome = run(plan_of(tmp_path, Large="    def on_bar(self, ctx, bar):\n        ctx.buy(100_000)\n"))
    assert outcome.exit_code == 5
    assert "every order was refused: " in outcome.sentence
    assert "order_value" in outcome.sentence
    assert {row["outcome"] for row in signal_columns(outcome.run.signals)} == {"refused:order_value"}


def test_what_the_exchange_rejects_is_said_with_its_reason(run: Run, tmp_path: Path) -> None:
    late = "        if len(ctx.bars.close) in (800, 801):\n            ctx.buy(1, stop=round(bar.close * 0.9, 2))\n"
    reason = "stop price must be greater than current price"
    outcome = run(plan_of(tmp_path, Flips=FLIPS + late))
    assert (outcome.exit_code, outcome.run.warnings[0]) == (0, f"4 orders were rejected: {reason}")
    outcome = run(plan_of(tmp_path, Late="    def on_bar(self, ctx, bar):\n" + late))
    assert outcome.exit_code == 5
    assert outcome.sentence == f"every order was refused: 4 were rejected: {reason}"


def test_hours_are_those_of_the_session_that_is_played(run: Run, tmp_path: Path) -> None:
    body = """
    def on_bar(self, ctx, bar):
        from liualgotrader.common import config
        from liualgotrader.common.clock import instant
        minute = (bar.closed_at - self.opens_at) // 60_000_000_000
        assert self.closes_at - self.opens_at == 390 * 60_000_000_000
        assert instant(config.market_open) == self.opens_at
        assert self.in_window(bar.closed_at) is (30 < minute < 60), minute
        if minute == 31:
            ctx.buy(1)
"""
    plan = plan_of(tmp_path, Windows=body)
    plan.strategies["Windows"]["schedule"] = [{"start": 30, "duration": 30}]
    outcome = run(plan)
    assert (outcome.sentence, len(outcome.executions)) == ("", 6)


def test_a_strategy_that_does_not_want_to_run_is_left_out(run: Run, screen: RecordingScreen, tmp_path: Path) -> None:
    refuses = "    async def create(self):\n        return False\n" + FLIPS
    outcome = run(plan_of(tmp_path, Refuses=refuses, Flips=FLIPS))
    assert "Refuses does not want to run: its create() said no" in " ".join(screen.warnings)
    assert [(s.name, s.trips > 0) for s in outcome.summary.strategies] == [("Refuses", False), ("Flips", True)]
    with pytest.raises(ConfigError, match="no strategy wanted to run"):
        run(plan_of(tmp_path, Refuses=refuses))


def test_a_strategy_of_a_portfolio_spends_the_cash_of_the_run(run: Run, tmp_path: Path) -> None:
    body = """
    async def run(self, symbol, shortable, position, now, minute_history, **_):
        price = float(minute_history.close.iloc[-1])
        shares = await self.calc_qty(price, 0.0)
        assert shares * price <= 20_000 < (shares + 1) * price or self.bought, (shares, price)
        if self.bought or shares < 10:
            return False, {}
        self.bought = True
        return True, {"side": "buy", "qty": "5", "type": "market"}

    bought = False
"""
    plan = plan_of(tmp_path, Saves=body)
    plan.strategies["Saves"]["portfolio_id"] = "3f6a6e34-0000-4000-8000-000000000000"
    outcome = run(plan, cash=D(20_000))
    assert (outcome.sentence, len(outcome.executions) > 0) == ("", True)


def test_only_the_strategies_that_are_named_run(run: Run, tmp_path: Path) -> None:
    outcome = run(plan_of(tmp_path, Flips=FLIPS, Other=FLIPS), strategies=("Other",))
    assert {t.strategy for t in outcome.executions} == {"Other"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"strategies": ("Flip",)}, "the tradeplan has no strategy 'Flip'; did you mean `Flips`?"),
        ({"scanners": ("Gaps",)}, "the tradeplan has no scanner 'Gaps'"),
        ({"benchmark": "SPY"}, "the benchmark SPY is none of the symbols that are played"),
        ({"bars": msgspec.structs.replace(DAYS, generated=0)}, "has 1 to 900 symbols, not 0"),
    ],
)
def test_what_cannot_be_played_is_one_sentence(run: Run, tmp_path: Path, more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        run(plan_of(tmp_path, Flips=FLIPS), **more)
    assert sentence in str(raised.value)


def test_what_is_wrong_with_a_strategy_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    body = "    async def create(self):\n        return 1 / 0\n" + FLIPS
    with pytest.raises(ConfigError, match=r"\[strategies.Fails\] raised in create: ZeroDivisionError.*fails.py:7"):
        run(plan_of(tmp_path, Fails=body))


SCANNER = """
from liualgotrader.scanners.base import Scanner

class {name}(Scanner):
    async def run(self, back_time=None):
        {body}
"""


def with_scanners(plan: TradePlan, folder: Path, **bodies: str) -> TradePlan:
    for name, body in bodies.items():
        (folder / f"{name.lower()}.py").write_text(SCANNER.format(name=name, body=body))
        plan.scanners[name] = {"filename": str(folder / f"{name.lower()}.py"), "recurrence": 30}
    return plan


def test_a_tradeplans_scanners_choose_what_is_traded(run: Run, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, Flips=FLIPS)
    every = sorted({t.symbol for t in run(plan).executions})
    only = f"return ['{every[1]}'] if back_time.hour >= 12 else []"
    outcome = run(with_scanners(plan, tmp_path, Noon=only, Fails="return 1 / 0"))
    assert {t.symbol for t in outcome.executions} == {every[1]}
    assert as_datetime(min(t.at for t in outcome.executions)).hour >= 12
    assert (outcome.exit_code, len(outcome.run.warnings)) == (0, 1)
    assert outcome.run.warnings[0].startswith(
        "scanner Fails failed 39 times, first on 2024-03-12 at 09:30 New York: Zero"
    )


def test_a_run_whose_scanners_always_fail_ends_with_5_and_the_cause(run: Run, tmp_path: Path) -> None:
    outcome = run(with_scanners(plan_of(tmp_path, Flips=FLIPS), tmp_path, Fails="return 1 / 0"))
    assert (outcome.exit_code, outcome.executions) == (5, [])
    assert outcome.sentence.startswith("every run of the scanners failed: scanner Fails failed 39 times, first on")
    assert "ZeroDivisionError: division by zero (fails.py:6)" in outcome.sentence


def test_a_scanner_that_cannot_be_made_is_one_sentence(run: Run, tmp_path: Path) -> None:
    plan = with_scanners(plan_of(tmp_path, Flips=FLIPS), tmp_path, Noon="return []")
    plan.scanners["Noon"]["count"] = 3
    with pytest.raises(ConfigError, match=r"\[scanners.Noon\] class Noon of noon.py takes no argument `count`"):
        run(plan)


async def test_all_other_tries_of_the_same_strategies_count_but_not_those_of_others_or_windows() -> None:
    store = MemoryStore()

    async def played(batch_id: str, ratio: float | None, *strategies: str) -> None:
        await store.begin_batch(BatchRow(batch_id, "2024-03-12", "BACKTEST", 1, {}, {}, {}, 0))
        for slot, name in enumerate(strategies, 1):
            await store.begin_algo_run(AlgoRunRow(batch_id, slot, name, "BACKTEST", "", {}, 1))
        figures = ResultFigures("2024-03-12", "2024-03-14", 3, 1, 9, 0.5, D(1), D(0), sharpe_ratio=ratio)
        await store.save_figures(batch_id, figures)

    for batch_id, ratio in (("mine", 9.0), ("first", 1.5), ("second", None)):
        await played(batch_id, ratio, "Flips")
    await played("another", 7.0, "Turns")
    await played("both", 7.0, "Flips", "Turns")
    for name in ("Flips", "Turns"):
        await store.begin_optimizer(OptimizerSession(name, 1, {"tradeplan": {"strategies": {name: {}}}}))
    rows = [OptimizerRow("Flips", n, "", {}, 0.0, {"sharpe_ratio": 2.0 + n}, (), 0.0) for n in range(2)]
    rows += [msgspec.structs.replace(rows[0], fold=1), msgspec.structs.replace(rows[0], number=2, failure="no trade")]
    rows.append(msgspec.structs.replace(rows[0], optimizer_session_id="Turns"))
    await store.save_optimizer_rows(rows)
    found = await other_ratios(store, "mine", {"Flips"})
    assert sorted(ratio for ratio in found if not math.isnan(ratio)) == [1.5, 2.0, 3.0]
    assert len(found) == 4
