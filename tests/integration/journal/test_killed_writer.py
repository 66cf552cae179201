"""A journal whose writer is killed keeps every record."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from liualgotrader.journal import JournalWriter, read_journal


def test_a_killed_writer_loses_nothing_that_it_had_appended(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from liualgotrader.journal import JournalWriter\n"
        "w = JournalWriter(Path(sys.argv[1]), reserve=65536)\n"
        "for n in range(100): w.append(str(n).encode())\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    died = subprocess.run([sys.executable, "-c", program, str(tmp_path / "j")], timeout=60, check=False)
    assert died.returncode == -9
    assert list(read_journal(tmp_path / "j")) == [str(n).encode() for n in range(100)]
    assert JournalWriter(tmp_path / "j").records == 100
