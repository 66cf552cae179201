"""What `liu quickstart` asks, and what it does not write."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from liualgotrader.cli import liu
from liualgotrader.common.errors import ConfigError


def answers(monkeypatch: pytest.MonkeyPatch, folder: Path, *lines: str) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_nothing_is_written_before_all_is_answered_and_a_wrong_answer_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, tmp_path, "", "lower case", "Signal", "Mine", "none", "51")
    with pytest.raises(ConfigError, match="nobody answers on the standard input: `liu quickstart --yes` takes every"):
        liu.run(["quickstart"])
    said = capsys.readouterr().out
    assert "'lower case' is not a class name" in said
    assert "signal.py would hide Python's own module" in said
    assert said.count("is not a whole number from 1 to 50") == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_and_in_no_tradeplan_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("MINE = 1\n")
    answers(monkeypatch, tmp_path, ".", "Mine", "")
    with pytest.raises(
        ConfigError, match=r"mine\.py is there already, but no tradeplan in \. names it: choose another"
    ):
        liu.run(["quickstart"])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"mine.py": "MINE = 1\n"}
