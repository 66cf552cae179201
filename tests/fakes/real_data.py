"""Where the recorded market data lies: outside the project, so tests that need it may find none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def recorded_path(*parts: str) -> Path:
    """Return where a path in the recorded data would lie: in LIU_REAL_DATA, else beside the checkout."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    return Path(os.environ.get("LIU_REAL_DATA") or beside).joinpath(*parts)


def real_data(*parts: str) -> Path:
    """Return a path in the recorded data; skip the test without it."""
    path = recorded_path(*parts)
    if not path.exists():
        pytest.skip(f"no recorded market data at {path}; LIU_REAL_DATA names its folder")
    return path
