"""What comes over a socket from whoever it is: bounded in size and depth before anything looks into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

MOST_BYTES = 1 << 20  # of a request or a message to the simulated market
MOST_LINE_BYTES = 16 << 10  # of an operator's request
LONGEST_NUMBER = 64  # characters of a number as text, a count or a place
_DEEPEST = 16  # lists and objects in one another

Decode = Callable[[bytes], Any]


def read_message(
    data: bytes, decode: Decode = msgspec.json.decode, *, most: int = MOST_BYTES, deepest: int = _DEEPEST
) -> Any:
    """Return what a message says.

    Raises:
        ValueError: in one sentence, if it is too long, is not in its language, or is nested too deep.

    >>> read_message(b'{"a": [1]}')
    {'a': [1]}
    """
    if len(data) > most:
        raise ValueError(f"a message may have {most} bytes, and this one has more")
    try:
        found = decode(data)
    except RecursionError:
        found = None
    except ValueError as error:
        raise ValueError(f"the message cannot be read: {error}") from None
    else:
        if not _is_deeper(found, deepest):
            return found
    raise ValueError(f"lists and objects may stand in one another {deepest} deep, and here they are deeper")


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects stand in one another deeper than that; a list of numbers is one level."""
    nested = [value]
    for _ in range(levels + 1):
        nested = [one for one in nested if isinstance(one, dict | list | tuple)]
        if not nested:
            return False
        nested = [part for one in nested for part in (one.values() if isinstance(one, dict) else one)]
    return True
