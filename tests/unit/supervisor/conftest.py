"""What several tests of the supervisor need."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_NOBODY = 65534


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder of an ordinary user's, who runs the test: root may do whatever the permissions say."""
    folder = Path(tempfile.mkdtemp(prefix="liu-o-"))
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, _NOBODY, -1)
        os.seteuid(_NOBODY)
    yield folder
    if is_root:
        os.seteuid(0)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder)
