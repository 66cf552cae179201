"""How many examples a property is tested with."""

from __future__ import annotations

from typing import Any

from hypothesis import settings


def examples(number: int, **more: Any) -> settings:
    """Return settings that draw `number` examples; in the profile `fast` a tenth of them."""
    return settings(max_examples=max(1, number * settings.default.max_examples // 100), **more)
