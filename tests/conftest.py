"""Two profiles for tests that draw examples: all of them, and a tenth for `make fast`. No example has a deadline."""

from __future__ import annotations

import gc

from hypothesis import settings

settings.register_profile("all", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=10)
settings.load_profile("all")


def pytest_collection_finish() -> None:
    """Spare the collector the tests themselves, which live to the end: it took a tenth of the time of unit tests."""
    gc.freeze()
