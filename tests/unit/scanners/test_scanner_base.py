"""How a scanner is made from its table."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.errors import ConfigError
from liualgotrader.scanners.base import Scanner, make_scanner
from liualgotrader.scanners.momentum import Momentum

ORIGINAL = """
from datetime import datetime, timedelta
from typing import List, Optional
from liualgotrader.common.data_loader import DataLoader
from liualgotrader.scanners.base import Scanner


class Fixed(Scanner):
    def __init__(self, recurrence: Optional[timedelta] = None, target_strategy_name: Optional[str] = None,
                 data_loader: DataLoader = None, data_source: object = None, words: int = 1):
        self.words = words
        super().__init__(name=type(self).__name__, recurrence=recurrence, target_strategy_name=target_strategy_name,
                         data_source=data_source, data_loader=data_loader)

    async def run(self, back_time: datetime = None) -> List[str]:
        return ["AAPL"] * self.words
"""
MOMENTUM = {
    "min_last_dv": 1, "min_share_price": 2.0, "max_share_price": 20.0, "min_volume": 3, "from_market_open": 15,
    "min_gap": 3.5, "recurrence": 5, "target_strategy_name": "X", "max_symbols": 9,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fixed.py").write_text(ORIGINAL)
    return tmp_path


@pytest.mark.parity(18)
async def test_a_scanner_of_the_original_loads_from_its_file(folder: Path) -> None:
    details = {"filename": "fixed.py", "recurrence": 60, "target_strategy_name": "Alpha", "words": 2}
    loader = object()
    scanner = make_scanner(loader, "Fixed", details, folder)
    assert (scanner.name, scanner.recurrence, scanner.target_strategy_name) == ("Fixed", timedelta(hours=1), "Alpha")
    assert scanner.data_loader is loader
    assert repr(scanner) == "Fixed"
    assert await scanner.run() == ["AAPL", "AAPL"]
    assert "filename" in details, "the table can be used again"


async def test_get_scanner_is_the_originals_way_to_the_same(folder: Path) -> None:
    table = {"filename": str(folder / "fixed.py")}
    scanner = await Scanner.get_scanner(None, "Fixed", table)
    assert scanner.recurrence is None
    assert Scanner.get_supported_scanners() == ["momentum"]


def test_the_built_in_scanner_needs_no_file() -> None:
    scanner = make_scanner(None, "momentum", MOMENTUM)
    assert isinstance(scanner, Momentum)
    assert (scanner.recurrence, scanner.target_strategy_name) == (timedelta(minutes=5), "X")


@pytest.mark.parametrize(
    ("name", "details", "words"),
    [
        ("Fixed", {}, "needs `filename`"),
        ("Fixed", {"filename": "nowhere.py"}, "there is no file"),
        ("Other", {"filename": "fixed.py"}, "has no class Other"),
        ("Fixed", {"filename": "fixed.py", "wrods": 1}, "takes no argument `wrods`"),
        ("momentum", {"min_volume": 3}, r"\[scanners.momentum\].*needs `min_last_dv`"),
    ],
)
def test_a_table_that_does_not_fit_is_one_sentence(
    folder: Path, name: str, details: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_scanner(None, name, details, folder)


def test_inside_a_session_a_scanner_knows_time_and_data(folder: Path) -> None:
    scanner = make_scanner(None, "Fixed", {"filename": "fixed.py"}, folder)
    for outside in (lambda: scanner.data_api, scanner.minutes_from_open):
        with pytest.raises(RuntimeError, match="only inside a session"):
            outside()
    data = object()
    scanner.join_session(data_api=data, now=lambda: 100 * MINUTE, opens_at=85 * MINUTE)  # type: ignore[arg-type]
    assert (scanner.data_api, scanner.minutes_from_open()) == (data, 15.0)
