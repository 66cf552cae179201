"""Programs whose output is closed or full: one sentence at most, a documented status, and nothing printed into a stranger."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = "from liualgotrader.cli.trader import main; main()"


def outcome(tmp_path: Path, redirections: str, *arguments: str) -> tuple[int, str, str]:
    call = " ".join([sys.executable, "-c", f"'{PROGRAM}'", *arguments, redirections])
    environment = {"LIU_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        ["bash", "-c", call], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("redirections", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("word", ["status", "--show-config"])
def test_a_closed_output_changes_no_status(tmp_path: Path, redirections: str, word: str) -> None:
    (tmp_path / "tradeplan.toml").write_text("risk = 0.01\n[strategies]\n")
    open_code, shown, _ = outcome(tmp_path, "", word)
    assert shown
    assert outcome(tmp_path, redirections, word)[:2] == (open_code, "")


def test_a_full_device_is_said_in_one_sentence(tmp_path: Path) -> None:
    said = outcome(tmp_path, "> /dev/full", "status")
    assert said == (3, "", "trader: the output cannot be written (No space left on device)\n")


def test_what_was_closed_is_no_files_number_afterwards(tmp_path: Path) -> None:
    script = (
        "from liualgotrader.cli.common import open_standard_streams; open_standard_streams();"
        "file = open('book', 'w'); print('stray', flush=True); import os; os.write(2, b'stray'); file.close()"
    )
    call = f'{sys.executable} -c "{script}" >&- 2>&-'
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    assert subprocess.run(["bash", "-c", call], cwd=tmp_path, env=environment, check=False, timeout=60).returncode == 0
    assert (tmp_path / "book").read_text() == ""


SESSION = """
import sys
from liualgotrader.cli.common import complain, flush_output, guarded
from liualgotrader.cli.operate import say_status
from liualgotrader.cli.screen import screen_for

def body(_):
    screen = screen_for(terminal=sys.argv[1] == "terminal")
    screen.line("the session ends")
    screen.warn("a position is open")
    screen.table("Session summary", ("strategy",), [("Breakout",)])
    screen.close()
    complain("trader: interrupted by Ctrl-C")
    flush_output()
    return 130

guarded("trader", body)
"""


def closed_terminal() -> int:
    ours, theirs = pty.openpty()
    os.close(ours)
    return theirs


def closed_pipe() -> int:
    theirs, ours = os.pipe()
    os.close(theirs)
    return ours


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize(
    ("kind", "output"),
    [("terminal", closed_terminal), ("plain", closed_terminal), ("plain", closed_pipe), ("plain", full_disk)],
)
def test_a_session_ends_with_its_own_status_although_nobody_can_read_what_it_says(
    kind: str, output: Callable[[], int]
) -> None:
    nowhere = output()
    command = [sys.executable, "-c", SESSION, kind]
    done = subprocess.run(command, stdout=nowhere, stderr=nowhere, timeout=60, check=False)
    os.close(nowhere)
    assert done.returncode == 130


def test_a_session_ends_with_its_own_status_although_its_output_was_closed() -> None:
    call = ["bash", "-c", f'exec {sys.executable} -c "$0" plain >&- 2>&-', SESSION]
    assert subprocess.run(call, timeout=60, check=False).returncode == 130
