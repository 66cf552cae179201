"""What a person is told to type can be typed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from liualgotrader.common.config import program_call


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "my env" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "liu"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


def test_a_program_that_the_shell_finds_is_called_by_its_name(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{installed}:/usr/bin")
    assert program_call("liu") == "liu"


def test_another_is_called_by_its_path_in_quotes(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    assert shlex.split(program_call("liu")) == [str(installed / "liu")]


def test_one_that_is_not_installed_keeps_its_name(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    assert program_call("trader") == "trader"
