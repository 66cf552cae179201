"""A damaged file of the market-data store is named, moved aside and loaded again from where it came from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from liualgotrader.cli import liu
from liualgotrader.common.clock import DAY, MINUTE, NEVER
from liualgotrader.data.market_store import MarketStore
from tests.fakes.lean import MS_0930, LeanFolder
from tools.store_repair import run


@pytest.fixture
def lean(tmp_path: Path) -> Path:
    """A folder with every kind of data of ABC, which is in the store below `tmp_path`."""
    folder = LeanFolder(tmp_path / "lean")
    minute = [f"{MS_0930},100000,104000,98000,102000,300", f"{MS_0930 + 60_000},102000,102000,102000,102000,7"]
    folder.intraday("minute", "abc", "20131007", "trade", minute)
    folder.intraday("tick", "abc", "20131007", "trade", [f"{MS_0930},100000,100,P,1,0"])
    folder.intraday("tick", "abc", "20131007", "quote", [f"{MS_0930},99900,100,100100,200,P,1,0"])
    folder.daily(
        "abc", ["20131003 00:00,1400000,1400000,1400000,1400000,1", "20131004 00:00,100000,104000,98000,102000,307"]
    )
    factors = folder.root / "factor_files/abc.csv"
    factors.parent.mkdir()
    factors.write_text("20130701,0.99,0.0714286,50\n20131003,1,0.0714286,140\n20501231,1,1,0\n")
    assert liu.run(["data", "import", str(folder.root), "--home", str(tmp_path)]) == 0
    return folder.root


def flip(path: Path) -> None:
    """Change one byte of the columns of a file."""
    content = bytearray(path.read_bytes())
    content[
        content.index(b"\x00\x00\x00\x00\x00\x00Y@" if b"\x00\x00\x00\x00\x00\x00Y@" in content else b"$@") + 1
    ] ^= 1
    path.write_bytes(content)


def contents(store: MarketStore) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in [*store.files(), *(store.folder / "actions").glob("*.json")]}


@pytest.mark.usefixtures("lean")
def test_what_is_damaged_is_named_and_loaded_again_from_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, home = MarketStore(tmp_path / "market"), ["--home", str(tmp_path)]
    before = contents(store)
    assert run(home) == 0
    minute, trades = store.folder / "bars/minute/ABC.arrow", store.folder / "trades/ABC/2013-10-07.arrow"
    actions = store.folder / "actions/ABC.json"
    flip(minute)
    flip(trades)
    actions.write_bytes(actions.read_bytes()[:-3])
    capsys.readouterr()
    assert run(home) == 3
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said[:-1]] == [str(path) for path in (minute, trades, actions)]
    assert said[-1] == "3 damaged, 3 left"
    assert run([*home, "--fix"]) == 0
    assert capsys.readouterr().out.splitlines()[1::2] == ["  loaded again"] * 3
    assert contents(store) == before
    assert {path.name for path in store.folder.rglob("*.damaged")} == {
        f"{p.name}.damaged" for p in (minute, trades, actions)
    }
    assert run(home) == 0


def test_what_cannot_be_loaded_again_is_moved_aside_and_said(
    lean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, home = MarketStore(tmp_path / "market"), ["--home", str(tmp_path)]
    day, minute = store.folder / "bars/day/ABC.arrow", store.folder / "bars/minute/ABC.arrow"
    day.write_bytes(day.read_bytes()[:-40])  # it does not even say what it held
    flip(minute)
    shutil.rmtree(lean)
    capsys.readouterr()
    assert run([*home, "--fix"]) == 3
    said = capsys.readouterr().out
    assert "what it held is not known: import or fetch ABC again" in said
    assert f"The data folder {lean} does not exist" in said
    assert [len(store.read("ABC", period, 0, NEVER).open) for period in (DAY, MINUTE)] == [0, 0]
    assert run(home) == 0, "what is aside is no part of the store"
