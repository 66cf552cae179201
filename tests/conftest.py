"""Two profiles for tests that draw examples: all of them, and a tenth for `make fast`. No example has a deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("all", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=10)
settings.load_profile("all")
