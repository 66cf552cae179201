"""The page for market-data files: its example can be played as it stands, and its columns and limits are those of the reader."""

from __future__ import annotations

import re
import shlex
import subprocess
from datetime import date
from pathlib import Path

import pytest

from liualgotrader.cli.trader_arguments import parse
from liualgotrader.common.clock import as_datetime
from liualgotrader.common.events import TradeTick
from liualgotrader.tapes.plain_files import FIELDS
from liualgotrader.tapes.tables import MOST_PRICE, MOST_SHARES
from liualgotrader.tapes.tape_factory import require_day, tape_from

PAGE = (Path(__file__).parents[3] / "docs" / "market_data_files.md").read_text()


def test_the_example_is_played_as_it_stands_on_the_page(tmp_path: Path) -> None:
    example = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]
    subprocess.run(
        ["bash", "-euc", f"liu() {{ :; }}; trader() {{ printf '%q ' \"$@\" > said; }}\n{example}"],
        cwd=tmp_path,
        check=True,
    )
    options = parse(shlex.split((tmp_path / "said").read_text()))
    assert (options.simulate, options.window_to) == (True, "09:35")
    day = date.fromisoformat(options.day)
    require_day(tmp_path / options.data, day)
    tape = tape_from("recorded", day=day, folder=tmp_path / options.data)
    tape.load()
    trades = [e for e in tape.events(tape.opens_at, tape.closes_at) if isinstance(e, TradeTick)]
    told = [(f"{as_datetime(t.at):%H:%M:%S}", t.price, t.size) for t in trades]
    assert told == [("09:30:00", 10.0, 300), ("09:31:10", 10.04, 200), ("09:32:30", 10.02, 500)]
    assert [bar.close for bar in tape.daily_bars("ABC", date(2024, 3, 1), day)] == [9.6, 9.85]
    assert tape.notes() == ["ABC: the files hold no quotes; they are the last trade plus and minus half a tick."]
    assert (tape.doubts(), tape.skipped()) == ([], [])


@pytest.mark.parametrize("kind", FIELDS)
def test_every_column_stands_on_the_page_in_brackets_if_it_may_be_missing(kind: str) -> None:
    [cell] = re.findall(rf"^\| `{kind}` \| ([^|]*) \|$", PAGE, re.MULTILINE)
    needed, _, rest = cell.partition("[")
    optional, _, _ = rest.partition("]")
    assert re.findall(r"`(\w+)`", needed) == [f.name for f in FIELDS[kind] if f.default is None]
    assert re.findall(r"`(\w+)`", optional) == [f.name for f in FIELDS[kind] if f.default is not None]
    for field in FIELDS[kind]:
        assert re.search(rf"^\| [^|]*`{field.name}`[^|]*\|", PAGE, re.MULTILINE), field.name


def test_the_limits_stand_on_the_page() -> None:
    assert f"at most {MOST_PRICE:,.0f} |" in PAGE
    assert f"0 to {MOST_SHARES:,.0f} |" in PAGE
    assert "up to 20 letters and digits, with single `.`, `-` or `/` between them" in PAGE
