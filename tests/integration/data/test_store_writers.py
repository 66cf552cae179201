"""Two processes that fill the market-data store at once, and one that is killed while it writes."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from liualgotrader.common.clock import MINUTE, NEVER
from liualgotrader.data.market_store import MarketStore

pytestmark = pytest.mark.integration

WRITER = """
import sys
from pathlib import Path
import numpy as np
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.data.market_store import MarketStore

store, first, step, rows, end = MarketStore(Path(sys.argv[1])), *map(int, sys.argv[2:])
for number in range(first, end, step):
    at = (number * rows + np.arange(rows, dtype=np.int64)) * MINUTE
    price = np.full(rows, number + 1.0)
    bars = BarColumns("ABC", at, at + MINUTE, price, price, price, price, price, price, price)
    store.write("ABC", MINUTE, bars, [(int(at[0]), int(at[-1]) + MINUTE)], "test")
    print(number, flush=True)
"""


def writer(folder: Path, first: int, step: int, rows: int, end: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), *map(str, (first, step, rows, end))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    both = [writer(tmp_path, first, 2, 10, 40) for first in (0, 1)]
    assert [process.communicate() and process.returncode for process in both] == [0, 0]
    store = MarketStore(tmp_path)
    assert store.missing("ABC", "bars", MINUTE, 0, 400 * MINUTE) == []
    assert store.read("ABC", MINUTE, 0, NEVER).close.tolist() == np.repeat(np.arange(40) + 1.0, 10).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_a_writer_that_is_killed_leaves_the_file_of_its_last_write_and_the_next_goes_on(
    tmp_path: Path, seed: int
) -> None:
    rows, end, store = 20_000, 18, MarketStore(tmp_path)
    with writer(tmp_path, 0, 1, rows, end) as process:
        assert process.stdout is not None
        for _ in range(random.Random(seed).randint(1, 12)):
            last = int(process.stdout.readline())
        process.kill()
    [path] = store.files()
    found = store.open(path)
    assert found.is_as_written
    written = len(found.columns.open) // rows
    assert written in (last + 1, last + 2, last + 3)  # what it wrote before the signal came
    assert found.known == [(0, written * rows * MINUTE, "test")]
    writer(tmp_path, written, 1, rows, end).communicate()
    assert store.missing("ABC", "bars", MINUTE, 0, end * rows * MINUTE) == []
    assert [p.name for p in path.parent.iterdir()] == ["ABC.arrow"]
