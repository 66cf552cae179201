"""User code is loaded in a throw-away process; whatever it does there is one sentence here."""

import pytest

from liualgotrader.common.errors import ConfigError
from liualgotrader.common.tradeplan import load_tradeplan
from liualgotrader.supervisor.inspection import inspect_tradeplan

HEAD = "from liualgotrader.strategies.base import Strategy, StrategyType\n"
INIT = """
    def __init__(self, batch_id, schedule=None, ref_run_id=None, data_loader=None, lookback=1):
        super().__init__("X", StrategyType.{type}, batch_id, schedule or [], ref_run_id, data_loader)
"""
RUN = "    async def run(self, symbol, shortable, position, now, minute_history, **_):\n        return False, {}\n"
RUN_ALL = "    async def run_all(self, symbols_position, data_loader, now, **_):\n        return {}\n"


def strategy(body, kind="DAY_TRADE"):
    return HEAD + "class X(Strategy):" + INIT.replace("{type}", kind) + body


@pytest.fixture
def inspect(tmp_path):
    def inspect(text, more="", seconds=30.0):
        (tmp_path / "x.py").write_text(text)
        (tmp_path / "tradeplan.toml").write_text(f'[strategies.X]\nfilename = "x.py"\n{more}')
        return inspect_tradeplan(load_tradeplan(tmp_path / "tradeplan.toml"), seconds=seconds)

    return inspect


def test_a_strategy_per_symbol_is_recognised_with_its_type(inspect):
    (facts,) = inspect(strategy(RUN))
    assert (facts.name, facts.run_all, facts.day_trade) == ("X", False, True)
    (swing,) = inspect(strategy(RUN, "SWING"))
    assert swing.day_trade is False


def test_a_strategy_that_says_should_run_all_is_recognised(inspect):
    (facts,) = inspect(strategy(RUN_ALL + "    async def should_run_all(self):\n        return True\n"))
    assert facts.run_all


def test_where_no_instance_can_be_made_the_methods_tell(inspect):
    broken = strategy(RUN_ALL).replace("        super()", "        data_loader.get()\n        super()")
    (facts,) = inspect(broken)
    assert (facts.run_all, facts.day_trade) == (True, None)


def test_reading_a_clock_is_noted(inspect):
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
        (strategy(RUN), '[scanners.W]\nfilename = "x.py"', r"\[scanners.W\] x.py has no class W"),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence_with_its_place(inspect, text, more, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        inspect(text, more)
    assert "\n" not in str(error.value)


def test_an_import_that_never_ends_is_given_up(inspect):
    with pytest.raises(ConfigError, match=r"\[strategies.X\]: loading it did not end within 3 s"):
        inspect("while True: pass", seconds=3.0)
