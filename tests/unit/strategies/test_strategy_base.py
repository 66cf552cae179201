"""The base class: windows, quantities, the key-store, and the loader."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.clock import MINUTE, as_datetime, instant
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.plugins import load_class, outside_reads
from liualgotrader.common.session_plan import Hours
from liualgotrader.strategies.base import SessionServices, Strategy, StrategyType, make_strategy

OPEN = instant(datetime.fromisoformat("2024-03-08T09:30:00-05:00"))


class DictKeys:
    def __init__(self, **values: str) -> None:
        self.values = values

    async def load(self, key: str) -> str | None:
        return self.values.get(key)

    async def save(self, key: str, value: str) -> None:
        self.values[key] = value


def a_strategy(
    *, schedule: list[dict[str, Any]], bypass: bool = False, fractional: bool = False, balance: float = 1000.0
) -> Strategy:
    strategy = Strategy("S", StrategyType.DAY_TRADE, "b", schedule, fractional=fractional)
    hours = Hours("2024-03-08", OPEN, OPEN + 390 * MINUTE, OPEN + 375 * MINUTE, OPEN + 395 * MINUTE, bypass=bypass)

    async def balance_of(account_id: int) -> float:
        return balance

    strategy.join_session(SessionServices(hours, DictKeys(), balance_of), 7, None)
    return strategy


def at(minutes: float) -> datetime:
    return as_datetime(OPEN) + timedelta(minutes=minutes)


WINDOWS = [{"start": 15, "duration": 60}, {"start": 120, "duration": 30}]


@pytest.mark.parity(26)
@pytest.mark.parametrize(
    "minutes, buys, sells",
    [
        (0, False, False),
        (15, False, True),
        (15.1, True, True),
        (74.9, True, True),
        (75, False, True),
        (130, True, True),
        (374.9, False, True),
        (375, False, False),
    ],
)
async def test_windows_are_open_strictly_inside_and_sales_until_a_quarter_before_the_close(
    minutes: float, buys: bool, sells: bool
) -> None:
    strategy = a_strategy(schedule=WINDOWS)
    assert await strategy.is_buy_time(at(minutes)) is buys
    assert strategy.in_window(OPEN + round(minutes * MINUTE)) is buys
    assert await strategy.is_sell_time(at(minutes)) is sells


async def test_with_the_schedule_bypassed_windows_are_always_open() -> None:
    strategy = a_strategy(schedule=WINDOWS, bypass=True)
    assert await strategy.is_buy_time(at(1000)) and await strategy.is_sell_time(at(1000))


@pytest.mark.parity(26)
async def test_without_windows_buying_is_always_allowed() -> None:
    assert await a_strategy(schedule=[]).is_buy_time(at(0))


@pytest.mark.parity(29)
@pytest.mark.parametrize("fractional, expected", [(False, 9.0), (True, 1000 / (101 * 1.005))])
async def test_calc_qty_is_what_the_balance_pays_with_fee(fractional: bool, expected: float) -> None:
    strategy = a_strategy(schedule=[], fractional=fractional)
    with pytest.raises(AssertionError, match="no portfolio account"):
        await strategy.calc_qty(101.0, 0.5)
    strategy.account_id = 3
    assert await strategy.calc_qty(101.0, 0.5) == pytest.approx(expected)


@pytest.mark.parity(29)
async def test_parts_of_a_share_that_calc_qty_returns_can_be_ordered() -> None:
    strategy = a_strategy(schedule=[], fractional=True)
    strategy.account_id = 3
    shares = Decimal(repr(await strategy.calc_qty(10.318, 0.0)))  # 1000 / 10.318 = 96.9180073657685...
    assert shares == Decimal("96.918007365")


@pytest.mark.parametrize("balance", [0.0, -803.25])
@pytest.mark.parametrize("fractional", [False, True])
async def test_an_overdrawn_account_pays_no_shares(balance: float, fractional: bool) -> None:
    strategy = a_strategy(schedule=[], fractional=fractional, balance=balance)
    strategy.account_id = 3
    assert await strategy.calc_qty(10.0, 0.0) == 0.0


@pytest.mark.parity(28)
async def test_global_variables_are_kept_per_strategy_and_context() -> None:
    strategy = a_strategy(schedule=[])
    keys = strategy._keys
    await strategy.set_global_var("k", "mine")
    await strategy.set_global_var("k", "other", "2024")
    await strategy.set_global_var("shared", "all", context="global")
    assert keys.values == {"S/k": "mine", "S/2024/k": "other", "shared": "all"}  # type: ignore[attr-defined]
    assert await strategy.get_global_var("k") == "mine"
    assert await strategy.get_global_var("k", "2024") == "other"
    assert await strategy.get_global_var("shared") == "all"
    assert await strategy.get_global_var("absent") is None
    with pytest.raises(ValueError, match="must be a str"):
        await strategy.set_global_var("k", 1)  # type: ignore[arg-type]


async def test_base_calls_do_nothing() -> None:
    strategy = a_strategy(schedule=[])
    assert await strategy.create() is True
    assert await strategy.should_run_all() is False
    assert await strategy.run("A", True, 0.0, at(1), None) == (False, {})
    assert await strategy.run_all({}, None, at(1)) == {}
    assert strategy.algo_run.run_id == 7


GOOD = """
from liualgotrader.strategies.base import Strategy, StrategyType

class Mine(Strategy):
    def __init__(self, batch_id, schedule, lookback=5, ref_run_id=None, data_loader=None):
        super().__init__(type(self).__name__, StrategyType.SWING, batch_id, schedule, ref_run_id, data_loader)
        self.lookback = lookback

class Plain(Strategy):
    def on_bar(self, ctx, bar): ...
"""


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parity(20)
def test_a_strategy_is_made_from_its_table_which_stays_as_it_was(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    details = {"filename": "mine.py", "schedule": WINDOWS, "lookback": 9}
    made = make_strategy("b", "Mine", details, tmp_path, data_loader="loader", ref_run_id=4)
    assert (made.lookback, made.data_loader, made.ref_run_id) == (9, "loader", 4)  # type: ignore[attr-defined]
    assert made.type is StrategyType.SWING
    assert details == {"filename": "mine.py", "schedule": WINDOWS, "lookback": 9}


def test_a_class_without_a_constructor_gets_what_it_needs(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    made = make_strategy("b", "Plain", {"filename": "mine.py"}, tmp_path)
    assert (made.name, made.type, made.schedule) == ("Plain", StrategyType.DAY_TRADE, [])


def test_keys_that_the_platform_reads_need_not_be_declared(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    details = {"filename": "mine.py", "schedule": [], "portfolio_id": "p", "events": ["trade"]}
    assert make_strategy("b", "Mine", details, tmp_path).name == "Mine"


@pytest.mark.parity(20)
async def test_get_strategy_keeps_the_originals_signature(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    made = await Strategy.get_strategy("b", "Mine", {"filename": str(path), "schedule": []}, None, 3)
    assert made is not None and made.ref_run_id == 3


@pytest.mark.parity(21)
@pytest.mark.parametrize(("said", "runs"), [("None", True), ("True", True), ("0", True), ("False", False)])
async def test_only_false_from_create_means_no_since_the_originals_own_skeleton_returns_nothing(
    tmp_path: Path, said: str, runs: bool
) -> None:
    create = f"    async def create(self):\n        await super().create()\n        return {said}\n"
    path = write(tmp_path, GOOD.replace("class Plain", f"{create}\nclass Plain"))
    made = await Strategy.get_strategy("b", "Mine", {"filename": str(path), "schedule": []})
    assert (made is not None) is runs


@pytest.mark.parametrize(
    "name, text, details, words",
    [
        ("Mine", None, {"filename": "absent.py"}, "there is no file"),
        ("Mine", None, {}, "needs `filename`"),
        ("Mine", "class Mine(:\n", {}, "mine.py:1 is not valid Python"),
        ("Mine", "x = 1\nimport no_such_module_at_all\n", {}, "ModuleNotFoundError.*mine.py:2"),
        ("Mine", "x = 1\ny = 1 / 0\n", {}, "ZeroDivisionError.*mine.py:2"),
        ("Other", GOOD, {}, "has no class Other"),
        ("Mine", "class Mine: ...\n", {}, "must extend liualgotrader.strategies.base.Strategy"),
        ("Mine", GOOD, {"schedule": [], "lokback": 1}, "takes no argument `lokback`"),
        ("Mine", GOOD, {}, "needs `schedule`"),
        (
            "Mine",
            GOOD.replace("self.lookback = lookback", "raise KeyError('x')"),
            {"schedule": []},
            "could not be made",
        ),
    ],
)
def test_whatever_is_wrong_with_a_file_is_one_sentence(
    tmp_path: Path, name: str, text: str | None, details: dict[str, Any], words: str
) -> None:
    if text is not None:
        write(tmp_path, text)
        details = {"filename": "mine.py", **details}
    with pytest.raises(ConfigError, match=words) as caught:
        make_strategy("b", name, details, tmp_path)
    assert "\n" not in str(caught.value) and f"[strategies.{name}]" in str(caught.value)


def test_missing_abstract_methods_are_named(tmp_path: Path) -> None:
    text = GOOD + (
        "\nfrom abc import ABC, abstractmethod\nclass Half(Strategy, ABC):\n    @abstractmethod\n    def on_x(self): ...\n"
    )
    write(tmp_path, text)
    with pytest.raises(ConfigError, match="does not define on_x"):
        load_class(Strategy, "Half", "mine.py", tmp_path, table="strategies.Half")


def test_a_file_may_import_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "VALUE = 5\n", "a_neighbour_of_mine.py")
    write(tmp_path, "import a_neighbour_of_mine\n" + GOOD)
    assert load_class(Strategy, "Mine", "mine.py", tmp_path, table="t").__name__ == "Mine"


def test_reads_past_the_engines_doors_are_listed_with_their_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "import random\nimport requests as r\nfrom datetime import datetime\nimport time\n"
        "a = datetime.now()\nb = time.time()\nimport numpy as np\nc = np.random.rand()\nnow = 3\n",
    )
    found = outside_reads(path)
    assert [line.split()[0] for line in found] == [f"mine.py:{n}" for n in (2, 5, 6, 8)]
    assert "ctx.rng" in found[-1]
