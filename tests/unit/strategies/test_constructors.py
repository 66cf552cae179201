"""What a constructor need not say: the page's way to take parameters of one's own (docs/strategies.md)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from liualgotrader.common.errors import ConfigError
from liualgotrader.scanners.base import make_scanner
from liualgotrader.strategies.base import StrategyType, make_strategy

PAGE = Path(__file__).parents[3] / "docs" / "strategies.md"
SCHEDULE = [{"start": 15, "duration": 30}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    [source] = [b for b in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "class Breakout" in b]
    head = "from liualgotrader.strategies.base import Strategy\nfrom liualgotrader.scanners.base import Scanner\n"
    scanner = (
        "class Few(Scanner):\n    def __init__(self, count=3, **base):\n        super().__init__(**base)\n"
        "        self.count = count\n    async def run(self, back_time=None):\n        return []\n"
    )
    (tmp_path / "mine.py").write_text(head + source + "    def on_bar(self, ctx, bar): ...\n" + scanner)
    return tmp_path


def test_the_pages_constructor_takes_its_own_key_and_leaves_the_rest_to_the_platform(folder: Path) -> None:
    table = {"filename": "mine.py", "lookback": 5, "schedule": SCHEDULE, "portfolio_id": "p", "events": ["minute"]}
    made = make_strategy("batch", "Breakout", table, folder)
    assert (made.name, made.type, made.batch_id, made.schedule) == (
        "Breakout",
        StrategyType.DAY_TRADE,
        "batch",
        SCHEDULE,
    )
    assert vars(made)["lookback"] == 5


def test_a_key_that_nobody_takes_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match="lokback"):
        make_strategy("batch", "Breakout", {"filename": "mine.py", "lokback": 5}, folder)


def test_a_scanner_leaves_the_rest_to_the_platform_too(folder: Path) -> None:
    loader = object()
    made = make_scanner(loader, "Few", {"filename": "mine.py", "count": 7, "target_strategy_name": "Breakout"}, folder)
    assert (made.name, made.data_loader, made.recurrence, made.target_strategy_name) == (
        "Few",
        loader,
        None,
        "Breakout",
    )
    assert vars(made)["count"] == 7
