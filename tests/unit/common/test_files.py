"""Replacing a file as a whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from liualgotrader.common.files import replace_file


@pytest.mark.parametrize("durable", [False, True])
def test_a_replaced_file_holds_the_new_contents_alone_and_is_its_owners_only(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "state.json"
    replace_file(path, b"a long first version", durable=durable)
    replace_file(path, b"new", durable=durable)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["state.json"]


def test_whoever_has_the_old_file_open_reads_the_old_contents(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, b"old")
    with path.open("rb") as reader:
        replace_file(path, b"a longer new version")
        assert reader.read() == b"old"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, b"old")
    path.with_suffix(".new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
