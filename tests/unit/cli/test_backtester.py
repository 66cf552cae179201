"""`backtester from`: each option has an effect, and what cannot be meant is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liualgotrader.cli import backtester, liu
from liualgotrader.cli.common import guarded
from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import OutsideError
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.data.market_store import MarketStore
from liualgotrader.supervisor.backtest_bars import BarsWanted
from liualgotrader.supervisor.backtesting import Backtesting, BacktestRequest
from tests.fakes.supervisor import RecordingScreen

STRATEGY = """
from liualgotrader.strategies.base import Strategy, StrategyType

class {name}(Strategy):
    strategy_type = StrategyType.SWING

    def on_bar(self, ctx, bar):
        if len(ctx.bars.close) % 10 == 5:
            ctx.close() if ctx.position else ctx.buy(10)
"""
PLAN = '[strategies.Steps]\nfilename = "steps.py"\n[strategies.Twice]\nfilename = "twice.py"\n'
DAYS = ("from", "2024-03-12", "--to", "2024-03-13", "--scale", "minute", "--no-database")

Program = Callable[..., tuple[int, str, str]]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Return a function that runs `backtester` in a folder with a tradeplan: (exit status, output, errors)."""
    for name in ("Steps", "Twice"):
        (tmp_path / f"{name.lower()}.py").write_text(STRATEGY.format(name=name))
    (tmp_path / "tradeplan.toml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    for variable in ("TRADEPLAN_DIR", "DSN", "LIU_SEED"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: str, body: Any = backtester.run) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            guarded("backtester", body, arguments)
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


def figures(told: tuple[int, str, str]) -> dict[str, Any]:
    code, out, _ = told
    assert code == 0, told
    found: dict[str, Any] = json.loads(out)
    return found


def test_the_summary_is_shown_as_tables_and_as_a_document(program: Program) -> None:
    code, out, errors = program(*DAYS, "--generated", "2")
    assert (code, errors) == (0, "")
    assert out.startswith("tradeplan.toml: Steps, Twice\n\n2024-03-12 to 2024-03-13: 2 sessions, 1,560 bars\n")
    assert [line for line in out.splitlines() if line.startswith("By ")] == ["By strategy", "By symbol"]
    found = figures(program(*DAYS, "--generated", "2", "--json"))
    summary = found["summary"]
    assert [s["name"] for s in summary["strategies"]] == ["Steps", "Twice"]
    assert f"{summary['account']['last']:,.2f}" in out
    assert (summary["first_day"], summary["bars"], found["ended"], found["failures"]) == ("2024-03-12", 1560, None, [])
    assert isinstance(summary["total"]["gain"], float)


def test_the_program_is_also_a_word_of_liu(program: Program) -> None:
    found = figures(program("backtest", *DAYS, "--generated", "1", "--json", body=liu.run))
    assert found["summary"]["sessions"] == 2


@pytest.mark.parity(47)
@pytest.mark.parametrize(
    ("options", "look"),
    [
        (["--strats", "Twice"], lambda s: [g["name"] for g in s["strategies"]] == ["Twice"]),
        (["--to", "2024-03-12"], lambda s: s["sessions"] == 1),
        (["--scale", "day"], lambda s: s["bars"] == 4),
        (["--cash", "25000.50"], lambda s: s["account"]["first"] == 25000.5),
        (["--fee-per-share", "0.01"], lambda s: s["total"]["fees"] > 0),
        (["--buy-fee-percentage", "1"], lambda s: s["total"]["fees"] > 0),
        (["--sell-fee-percentage", "0.5"], lambda s: s["total"]["fees"] > 0),
        (["--fees", "regulatory"], lambda s: s["total"]["fees"] > 0),
        ([], lambda s: s["total"]["fees"] == 0),
    ],
)
def test_each_option_has_an_effect(program: Program, options: list[str], look: Callable[[Any], bool]) -> None:
    found = figures(program(*DAYS, "--generated", "2", "--json", *options))
    assert look(found["summary"]), found


def test_fresh_daily_makes_the_strategy_for_each_session(program: Program, tmp_path: Path) -> None:
    text = STRATEGY.format(name="Steps").replace(
        "    def on_bar",
        "    async def create(self):\n        print('made')\n        return await super().create()\n\n    def on_bar",
    )
    (tmp_path / "steps.py").write_text(text)
    for more, times in (((), 1), (("--fresh-daily",), 2)):
        code, out, _ = program(*DAYS, "--generated", "2", "--strats", "Steps", *more)
        assert (code, out.count("made\n")) == (0, times)


def test_an_instance_that_cannot_be_made_on_the_way_costs_no_results(program: Program, tmp_path: Path) -> None:
    create = "    days = []\n    async def create(self):\n        self.days.append(1)\n        return 1 // (2 - len(self.days))\n\n"
    text = STRATEGY.format(name="Steps").replace("    def on_bar", f"{create}    def on_bar")
    (tmp_path / "steps.py").write_text(text)
    code, out, errors = program(*DAYS, "--generated", "2", "--strats", "Steps", "--fresh-daily")
    assert (code, "By strategy" in out) == (4, True)
    assert "[strategies.Steps] raised in create: ZeroDivisionError" in errors
    assert "before the session of 2024-03-13" in errors


@pytest.mark.slow
def test_symbols_benchmark_and_seed_choose_the_market(program: Program) -> None:
    every = figures(program(*DAYS, "--generated", "3", "--json"))["summary"]
    names = [s["name"] for s in every["symbols"]]
    one = figures(program(*DAYS, "--generated", "3", "--json", "--symbols", names[1].lower()))["summary"]
    assert [s["name"] for s in one["symbols"]] == [one["benchmark_symbol"]] == [names[1]]
    other = figures(program(*DAYS, "--generated", "3", "--json", "--benchmark", names[2], "--seed", "9"))["summary"]
    assert (other["benchmark_symbol"], every["benchmark_symbol"]) == (names[2], names[0])
    assert other["account"]["last"] != every["account"]["last"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("form", "2020-01-01"), "unknown command 'form'; did you mean `from`?"),
        (("from",), "the following arguments are required: DAY"),
        (("from", "someday", "--generated"), "'someday' is not a day: write one like 2020-10-18, or words such as"),
        (("from", "2024-03-13", "--to", "2024-03-12", "--generated"), "would begin on 2024-03-13, after its last day"),
        (("from", "3", "months", "ago", "--to", "4 months ago", "--generated"), "after its last day"),
        (("from", "2024-03-12", "--scale", "mniute"), "--scale cannot be 'mniute'; did you mean `minute`?"),
        (("from", "2024-03-12", "--sclae", "day"), "unknown option --sclae; did you mean `--scale`?"),
        (("from", "2024-03-12", "--strats", "Stepps", "--generated"), "no strategy 'Stepps'; did you mean `Steps`?"),
        (("from", "2024-03-12", "--scanners", "Gaps", "--generated"), "the tradeplan has no scanner 'Gaps'"),
        (("from", "2024-03-12", "--buy-fee-percentage", "101"), "'101' is not a number from 0 to 100"),
        (("from", "2024-03-12", "--sell-fee-percentage", "-1"), "'-1' is not a number from 0 to 100"),
        (("from", "2024-03-12", "--cash", "nan"), "'nan' is not a number from 0.01"),
        (("from", "2024-03-12", "--symbols", "A,$"), "'$' is not a symbol"),
        (("from", "2024-03-12", "--data", "x", "--generated"), "--data and --generated exclude each other"),
        (("from", "2024-03-12", "--data", "x"), "The data folder x does not exist"),
        (("from", "2024-03-12", "--generated", "0"), "has 1 to 900 symbols, not 0"),
        (("from", "2024-03-12"), "holds no day bars yet: name a folder with --data"),
        (("from", "2024-03-12", "--tradeplan", "no.toml", "--generated"), "there is no tradeplan no.toml"),
    ],
)
def test_what_cannot_be_meant_ends_with_2_and_one_sentence(
    program: Program, arguments: tuple[str, ...], sentence: str
) -> None:
    code, out, errors = program(*arguments, *(["--no-database"] if "from" in arguments else []))
    assert (code, out) == (2, "")
    assert sentence in errors
    assert "Traceback" not in errors


MOMENTUM = """
[scanners.momentum]
min_last_dv = 1
min_share_price = 1.0
max_share_price = 10000.0
min_volume = 1
from_market_open = 15
today_change_percent = 90.0
"""


def test_a_scanner_of_the_day_so_far_says_at_the_start_that_it_needs_minutes(program: Program, tmp_path: Path) -> None:
    (tmp_path / "tradeplan.toml").write_text(PLAN + MOMENTUM)
    code, out, errors = program("from", "2024-03-12", "--to", "2024-03-13", "--generated", "2", "--no-database")
    assert (code, out) == (2, "")
    assert "momentum picks by the day so far" in errors
    assert "add --scale minute" in errors


def test_scanners_that_pick_nothing_end_with_5(program: Program, tmp_path: Path) -> None:
    (tmp_path / "tradeplan.toml").write_text(PLAN + MOMENTUM)
    code, _, errors = program(*DAYS, "--generated", "2")
    assert code == 5
    assert "the scanners picked no symbol, so no strategy was called" in errors


def store_file(home: Path) -> Path:
    """Return the file of a store with two symbols' bars of the days, the second without the 13th."""
    store, days = MarketStore(home / "market"), sessions(date(2024, 3, 12), date(2024, 3, 13))
    for symbol, count in (("AA", 2), ("BB", 1)):
        opened = np.concatenate([np.arange(d.opens_at, d.closes_at, MINUTE, dtype=np.int64) for d in days[:count]])
        price = np.full(len(opened), 10.0)
        bars = BarColumns(symbol, opened, opened + MINUTE, price, price, price, price, price * 1e4, price, price)
        store.write(symbol, MINUTE, bars, [(int(opened[0]), int(opened[-1]) + MINUTE)], "test")
    return home / "market" / "bars" / "minute" / "AA.arrow"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_actions(path: Path) -> None:
    actions = path.parents[2] / "actions" / "AA.json"
    actions.parent.mkdir()
    actions.write_text('{"known":')


def raise_at_bar_5(path: Path) -> None:
    text = STRATEGY.format(name="Steps").replace("if len(ctx.bars.close) % 10", "ctx.bars.close[5]\n        if 0 +")
    Path("steps.py").write_text(text.replace("0 + == 5", "1"))


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        ("[strategies.Steps]\nfilename = 'steps.py'\nwide = 3\n", "takes no argument `wide`"),
        ("[strategies.Stops]\nfilename = 'steps.py'\n", "steps.py has no class Stops"),
        ("[scanners.momentum]\nmin_last_dv = 1\n[strategies.Steps]\nfilename = 'steps.py'\n", "needs"),
    ],
)
def test_a_tradeplan_that_cannot_be_played_is_said_before_any_data_is_read(
    program: Program, tmp_path: Path, plan: str, sentence: str
) -> None:
    (tmp_path / "steps.py").write_text(
        "from liualgotrader.strategies.base import Strategy\n"
        "class Steps(Strategy):\n    def __init__(self, batch_id):\n        super().__init__(batch_id=batch_id)\n"
        "    def on_bar(self, ctx, bar):\n        pass\n"
    )
    (tmp_path / "tradeplan.toml").write_text(plan)
    code, out, errors = program("from", "2024-03-12", "--no-database", "--data", str(tmp_path))
    assert (code, out) == (2, "")
    assert sentence in errors
    assert "holds neither" not in errors


@pytest.mark.parametrize(
    ("damage", "arguments", "code", "sentences"),
    [
        (cut, (), 3, ["AA: ", "AA.arrow is damaged (Not an Arrow file): delete it, and import or fetch AA again"]),
        (change, (), 3, ["AA: ", "AA.arrow is damaged (its bytes have changed since they were written): delete it"]),
        (cut_actions, (), 3, ["AA: ", "AA.json is damaged (Input data was truncated): delete it"]),
        (cut, ("--symbols", "BB", "--to", "2024-03-12"), 0, []),  # what is not played may be damaged
        (None, ("--symbols", "CC"), 2, ["holds no minute bars of CC from 2024-03-12 to 2024-03-13"]),
        (
            None,
            ("--to", "2024-03-14"),
            2,
            ["holds no minute bars for 2024-03-14; it has 2024-03-12, 2024-03-13: choose those"],
        ),
        (None, (), 0, ["BB: no bars in 1 of the 2 sessions, the first 2024-03-13"]),
        (
            raise_at_bar_5,
            (),
            4,
            ["raised in on_bar for AA: IndexError", "(steps.py:8), on 2024-03-12 at 09:31 New York"],
        ),
    ],
)
def test_data_that_is_missing_or_damaged_is_named_with_symbol_and_day(
    program: Program,
    tmp_path: Path,
    damage: Callable[[Path], None] | None,
    arguments: tuple[str, ...],
    code: int,
    sentences: list[str],
) -> None:
    path = store_file(tmp_path / "home")
    if damage is not None:
        damage(path)
    ended, out, errors = program(*DAYS, *arguments, "--strats", "Steps")
    assert ended == code, (out, errors)
    for sentence in sentences:
        assert sentence in out + errors
    assert ("By strategy" in out) == (code in (0, 4))  # what was played is shown
    assert "Traceback" not in errors


def test_a_full_disk_is_said_before_anything_is_played(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liualgotrader.supervisor.session_database.LEAST_FREE", 10**18)
    code, out, errors = program(*DAYS[:-1], "--generated", "2")
    assert (code, "By strategy" in out, errors.count("\n")) == (3, False, 1)
    assert "MB are free in " in errors


@pytest.mark.parametrize("option", ["--report", "--save"])
def test_a_file_that_cannot_be_written_is_said_before_anything_is_played(program: Program, option: str) -> None:
    code, out, errors = program(*DAYS, "--generated", "2", option, "steps.py/x.html")
    assert (code, "By strategy" in out, errors.count("\n")) == (2, False, 1)
    assert "steps.py" in errors


def test_what_goes_wrong_first_is_said_when_cleaning_up_fails_as_well() -> None:
    """A full disk fails the rows, and then the users file of the server."""

    def cannot() -> None:
        raise OutsideError("the users file cannot be written")

    days = BarsWanted(first=date(2024, 3, 12), last=date(2024, 3, 12), generated=1)
    plan = TradePlan(strategies={"Steps": {}})
    for raised in (OutsideError("the batch is not stored"), None):
        made = Backtesting(BacktestRequest(bars=days), Settings(), plan, RecordingScreen())
        with pytest.raises(OutsideError, match="not stored" if raised else "users file"), made as backtesting:
            backtesting._cleanup.callback(cannot)
            if raised:
                raise raised


@pytest.mark.parity(47)
def test_help_names_every_option_and_the_exit_codes(program: Program) -> None:
    code, out, _ = program("from", "--help")
    assert code == 0
    for option in ("--to", "--scale", "--scanners", "--strats", "--asset", "--generated", "--fee-per-share", "--json"):
        assert option in out
    assert "exit codes:" in out
    assert program() == program("--help")


LEAK = """
import numpy as np
from liualgotrader.strategies.base import Strategy

class Leak(Strategy):
    def signals(self, bars):
        up = np.r_[bars.close[1:] > bars.close[:-1], False]
        return {"entry": up.astype(int), "exit": ~up, "size": np.full(len(up), 10.0)}
"""


@pytest.mark.slow
def test_checks_of_honesty_are_words_with_a_status_and_a_document_of_their_own(
    program: Program, tmp_path: Path
) -> None:
    """Status 6: something was found."""
    days = (*DAYS[1:], "--generated", "1")
    code, out, _ = program("lookahead", *days, "--strats", "Steps")
    assert (code, out.splitlines()) == (0, ["lookahead: passed: nothing that was decided hangs on what came later"])
    (tmp_path / "leak.py").write_text(LEAK)
    (tmp_path / "leak.toml").write_text('[strategies.Leak]\nfilename = "leak.py"\n')
    code, out, _ = program("lookahead", *days, "--tradeplan", "leak.toml", "--json")
    found = json.loads(out)
    assert (code, found["check"]["verdict"], found["check"]["name"]) == (6, "failed", "lookahead")
    [difference] = found["differences"]
    assert (difference["strategy"], difference["base"]) == ("Leak", "entry +1 size 10")
    code, out, _ = program("warmup", *days, "--tradeplan", "leak.toml")
    assert (code, out.splitlines()[0]) == (0, "warmup: passed: more history changes nothing")
