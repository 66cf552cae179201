"""User code is loaded in a throw-away process; whatever it does there is one sentence here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.errors import ConfigError
from liualgotrader.common.tradeplan import load_tradeplan
from liualgotrader.supervisor.plan_inspection import StrategyFacts, inspect_tradeplan

HEAD = "from liualgotrader.strategies.base import Strategy, StrategyType\n"
INIT = """
    def __init__(self, batch_id, schedule=None, ref_run_id=None, data_loader=None, lookback=1):
        super().__init__("X", StrategyType.{type}, batch_id, schedule or [], ref_run_id, data_loader)
"""
RUN = "    async def run(self, symbol, shortable, position, now, minute_history, **_):\n        return False, {}\n"
RUN_ALL = "    async def run_all(self, symbols_position, data_loader, now, **_):\n        return {}\n"


def strategy(body: str, kind: str = "DAY_TRADE") -> str:
    return HEAD + "class X(Strategy):" + INIT.replace("{type}", kind) + body


@pytest.fixture
def inspect(tmp_path: Path) -> Any:
    def inspect(text: str, more: str = "", seconds: float = 30.0) -> Any:
        (tmp_path / "x.py").write_text(text)
        (tmp_path / "tradeplan.toml").write_text(f'[strategies.X]\nfilename = "x.py"\n{more}')
        return inspect_tradeplan(load_tradeplan(tmp_path / "tradeplan.toml"), seconds=seconds).strategies

    return inspect


def test_a_strategy_per_symbol_is_recognised_with_its_type(inspect: Callable[..., Sequence[StrategyFacts]]) -> None:
    (facts,) = inspect(strategy(RUN))
    assert (facts.name, facts.run_all, facts.day_trade) == ("X", False, True)
    (swing,) = inspect(strategy(RUN, "SWING"))
    assert swing.day_trade is False


def test_a_strategy_that_says_should_run_all_is_recognised(inspect: Callable[..., Sequence[StrategyFacts]]) -> None:
    (facts,) = inspect(strategy(RUN_ALL + "    async def should_run_all(self):\n        return True\n"))
    assert facts.run_all


def test_where_no_instance_can_be_made_the_methods_tell(inspect: Callable[..., Sequence[StrategyFacts]]) -> None:
    broken = strategy(RUN_ALL).replace("        super()", "        data_loader['SPY'].close[-1]\n        super()")
    (facts,) = inspect(broken)
    assert (facts.run_all, facts.day_trade, facts.broken) == (True, None, "")


def test_a_constructor_that_raises_is_told_with_its_line(inspect: Callable[..., Sequence[StrategyFacts]]) -> None:
    (facts,) = inspect(strategy(RUN_ALL).replace("        super()", "        open('/no/model')\n        super()"))
    assert re.fullmatch(r"\[strategies.X\] X could not be made: FileNotFoundError: .* \(x.py:4\)", facts.broken)
    assert facts.run_all


def test_a_constructor_sees_what_it_sees_in_a_session(inspect: Callable[..., Sequence[StrategyFacts]]) -> None:
    body = """
    def __init__(self, batch_id, schedule=None, ref_run_id=None, data_loader=None):
        import asyncio
        from liualgotrader.common import config
        asyncio.get_running_loop()
        assert config.market_close > config.market_open and config.batch_id == batch_id and ref_run_id
        assert data_loader["spy"].symbol == "SPY"
        super().__init__("X", StrategyType.SWING, batch_id, schedule or [], ref_run_id, data_loader)
"""
    (facts,) = inspect(HEAD + "class X(Strategy):" + body + RUN)
    assert (facts.day_trade, facts.broken) == (False, "")


def test_a_value_of_another_kind_than_the_default_is_doubted(inspect: Callable[..., Sequence[StrategyFacts]]) -> None:
    (facts,) = inspect(strategy(RUN), 'lookback = "abc"')
    assert facts.doubts == ("[strategies.X] `lookback` is 'abc', but the constructor's default is a whole number, 1",)


SCANNER = """
from liualgotrader.scanners.base import Scanner
class W(Scanner):
    def __init__(self, data_loader, recurrence=None, target_strategy_name=None, depth=1):
        super().__init__("w", data_loader, recurrence, target_strategy_name or "Nobody")
        assert depth > 0, "no depth"
    async def run(self, back_time=None):
        return []
"""
MOMENTUM = """
[scanners.momentum]
min_gap = 1
min_last_dv = 1
min_share_price = 1
max_share_price = 2
min_volume = 1
from_market_open = 1
"""
TABLE = '[scanners.W]\nfilename = "x.py"\n'


def test_a_scanner_is_made_and_says_for_whom_it_picks(
    tmp_path: Path, inspect: Callable[..., Sequence[StrategyFacts]]
) -> None:
    inspect(strategy(RUN) + SCANNER, TABLE)
    found = inspect_tradeplan(load_tradeplan(tmp_path / "tradeplan.toml"))
    assert [(s.name, s.target) for s in found.scanners] == [("W", "Nobody")]


def test_reading_a_clock_is_noted(inspect: Callable[..., Sequence[StrategyFacts]]) -> None:
    (facts,) = inspect("from datetime import datetime\n" + strategy(RUN + "    def f(self):\n        datetime.now()\n"))
    assert "x.py:" in facts.notes[0]


@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        ("import nowhere_to_be_found", "", r"\[strategies.X\] x.py cannot be imported: ModuleNotFoundError.*x.py:1"),
        ("raise RuntimeError('at import')", "", r"\[strategies.X\] x.py cannot be imported: RuntimeError: at import"),
        ("def broken(:", "", r"\[strategies.X\] x.py:1 is not valid Python"),
        ("class X: pass", "", r"\[strategies.X\] class X of x.py must extend"),
        ("Y = 1", "", r"\[strategies.X\] x.py has no class X"),
        (strategy(RUN), "lookbak = 3", r"\[strategies.X\] class X of x.py takes no argument `lookbak`"),
        ("import os; os._exit(7)", "", r"\[strategies.X\]: loading it ended with exit status 7"),
        ("import os; os.kill(os.getpid(), 9)", "", r"\[strategies.X\]: loading it was killed by SIGKILL"),
        (strategy(RUN), TABLE, r"\[scanners.W\] x.py has no class W"),
        (strategy(RUN) + SCANNER, TABLE + "recurence = 5", r"no argument `recurence`; did you mean `recurrence`\?"),
        (strategy(RUN) + SCANNER, TABLE + "depth = 0", r"\[scanners.W\] W could not be made: AssertionError: no depth"),
        (strategy(RUN), MOMENTUM + "recurence = 5", r"\[scanners.momentum\] .*no argument `recurence`; did you mean"),
        (strategy("    async def on_bar(self, ctx, bar):\n        pass\n"), "", r"on_bar must be a plain `def`"),
        (strategy("    pass\n"), "", r"\[strategies.X\] .*defines none of run"),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence_with_its_place(
    inspect: Callable[..., Sequence[StrategyFacts]], text: Any, more: Any, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as error:
        inspect(text, more)
    assert "\n" not in str(error.value)


def test_an_import_that_never_ends_is_given_up(inspect: Callable[..., Sequence[StrategyFacts]]) -> None:
    with pytest.raises(ConfigError, match=r"\[strategies.X\]: loading it did not end within 3 s"):
        inspect("while True: pass", seconds=3.0)
