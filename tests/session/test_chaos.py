"""Sessions that are dealt blows at random: a few seeds each time, more of them and a disk that fills with `make chaos`."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.session.audit import audit, read_record
from tests.session.chaos import play, scenario
from tests.session.running import TraderRun, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

ALWAYS, SEEDS = 3, 20


@pytest.mark.parametrize(
    "seed", [seed if seed <= ALWAYS else pytest.param(seed, marks=pytest.mark.chaos) for seed in range(1, SEEDS + 1)]
)
def test_whatever_fails_when_the_day_is_booked_and_flat(seed: int) -> None:
    play(scenario(seed), seed)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 900 MB, in memory."""
    folder = Path(tempfile.mkdtemp(prefix="liu-d-"))
    folder.chmod(0o755)
    mount = ["mount", "-t", "tmpfs", "-o", "size=900m,mode=755", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("a disk that fills needs the right to mount one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def fill(folder: Path, leave: int) -> None:
    """Fill the disk up to so many bytes, which the session may take meanwhile."""
    with (folder / "ballast").open("ab", buffering=0) as file, suppress(OSError):
        while (free := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize - leave) > 0:
            file.write(bytes(min(free, 1 << 24)))


@pytest.mark.chaos
def test_below_500_mb_no_entries_are_made_and_the_day_ends_flat(small_disk: Path) -> None:
    with trader("--from", "09:30", "--to", "09:50", "--speed", "40", home=small_disk / "home") as run:
        run.start().wait_for_market("09:36:00")
        fill(small_disk, 300_000_000)
        assert run.ended() == 0, run.output
        assert run.output.count("MB are free for the journal, 500 are needed: make room") == 1, run.output
        assert "Traceback" not in run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    refused = [row for row in record.rows("orders") if row["state"] == "refused"]
    assert refused
    assert record.rows("new_trades")


@pytest.mark.chaos
def test_a_disk_without_a_byte_left_for_some_minutes_loses_nothing(small_disk: Path) -> None:
    with trader("--from", "09:30", "--to", "09:50", "--speed", "40", home=small_disk / "home") as run:
        run.start().wait_for_market("09:36:00")
        fill(small_disk, 0)
        run.wait_for_market("09:43:00")
        (small_disk / "ballast").unlink()
        assert run.ended() == 0, run.output
        assert "Traceback" not in run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    assert len(record.rows("new_trades")) >= 20


@pytest.mark.chaos
def test_rows_that_found_no_room_end_the_session_with_3_and_what_to_do(small_disk: Path) -> None:
    with trader("--from", "09:30", "--to", "09:45", "--speed", "40", home=small_disk / "home") as run:
        run.start().wait_for_market("09:36:00")
        fill(small_disk, 0)
        assert run.ended() == 3, run.output
        assert "could not be written and wait in the journal: see that PostgreSQL runs and has room" in run.output
        assert "Traceback" not in run.output
        first = _batch(run)
        (small_disk / "ballast").unlink()
        assert run.start().ended() == 0, run.output
        assert "Traceback" not in run.output
        told = run.output
        with run.database() as dsn:
            record = read_record(dsn)
    runs = [row for row in record.rows("algo_run") if row["batch_id"] == first]
    assert {row["end_reason"] for row in runs} == {"market close"}
    assert f"of batch {first} of" in told
    of_first = {row["algo_run_id"] for row in runs}
    trades = [row for row in record.rows("new_trades") if row["algo_run_id"] in of_first]
    assert len(trades) >= 10, told
    of_strategies = {row["client_order_id"] for row in trades if "-0-d" not in row["client_order_id"]}
    sent = {row["client_order_id"] for row in record.rows("signals") if row["outcome"] == "sent"}
    assert of_strategies <= sent, of_strategies - sent


def _batch(run: TraderRun) -> str:
    return next(line.split()[1] for line in run.output.splitlines() if line.startswith("batch "))
