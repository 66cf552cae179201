"""`liu new`: what it writes loads, and its test is a test."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from liualgotrader.cli.new import new
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.tradeplan import load_tradeplan
from liualgotrader.scanners.base import make_scanner


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    new("strategy", "Mine", str(tmp_path))
    before = {p: p.read_text() for p in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r"mine.py already exists"):
        new("strategy", "Mine", str(tmp_path))
    assert {p: p.read_text() for p in tmp_path.iterdir()} == before


def test_a_second_strategy_gets_a_tradeplan_of_its_own(tmp_path: Path) -> None:
    new("strategy", "One", str(tmp_path))
    new("strategy", "Two", str(tmp_path))
    assert list(load_tradeplan(tmp_path / "two.toml").strategies) == ["Two"]


@pytest.mark.parametrize("name", ["lower", "With Space", "../Up", "1st", "True"])
def test_a_name_that_no_class_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a class name"):
        new("strategy", name, str(tmp_path))


@pytest.mark.parametrize("name", ["Signal", "Queue", "Types"])
def test_a_file_that_would_hide_a_module_of_pythons_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name.lower()}.py would hide Python's own module"):
        new("strategy", name, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_looked_into_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(File name too long\); choose another --folder"):
        new("strategy", "Mine", str(tmp_path / ("x" * 300)))


def test_where_nothing_can_be_written_one_sentence_says_so_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written \(.*irectory.*\); choose another --folder"):
        new("strategy", "Mine", str(tmp_path / "file" / "inside"))
    (tmp_path / "test_mine.py").symlink_to(tmp_path / "nowhere" / "else")  # the third file fails
    with pytest.raises(ConfigError, match=r"test_mine.py cannot be written"):
        new("strategy", "Mine", str(tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "test_mine.py"]


def test_it_says_how_the_strategy_is_tested_and_backtested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "with space"
    new("strategy", "Another", str(folder))
    new("strategy", "Mine", str(folder))
    said = dict(line.partition(": ")[::2] for line in capsys.readouterr().out.splitlines())
    assert f"python '{folder}/test_mine.py'" in said["test it"]
    assert said["backtest it"].endswith(f" --tradeplan '{folder}/mine.toml'")  # not the other strategy's tradeplan.toml


async def test_a_new_scanner_loads_and_picks_what_traded_the_most_dollars(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new("scanner", "MostTraded", str(tmp_path)) == 0
    plan = load_tradeplan(tmp_path / "most_traded.toml")
    assert (plan.test_scanners, list(plan.scanners), sorted(p.name for p in tmp_path.iterdir())) == (
        True,
        ["MostTraded"],
        ["most_traded.py", "most_traded.toml"],
    )
    assert "trader --simulate --tradeplan" in capsys.readouterr().out
    scanner = make_scanner(None, "MostTraded", plan.scanners["MostTraded"])
    figures = {"A": (10.0, 100.0), "B": (20.0, 60.0), "C": (4.99, 10_000.0), "D": (30.0, None)}
    scanner.join_session(data_api=cast(Any, Vendor(figures)), now=lambda: 0, opens_at=0)
    assert await scanner.run() == ["B", "A"]
    assert scanner.recurrence == timedelta(minutes=5)


class Vendor:
    """Snapshots from last price and today's volume by symbol; None: not traded today."""

    def __init__(self, figures: dict[str, tuple[float, float | None]]) -> None:
        self.figures = figures

    async def tradable_symbols(self) -> Iterable[str]:
        return self.figures

    async def snapshots(self, symbols: Iterable[str]) -> dict[str, SimpleNamespace]:
        return {
            symbol: SimpleNamespace(
                symbol=symbol,
                last_price=price,
                daily_bar=None if volume is None else SimpleNamespace(volume=volume),
            )
            for symbol in symbols
            for price, volume in [self.figures[symbol]]
        }
