"""Keeps secrets out of what is stored and shown, whether we hold them ourselves or find them in a user's settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class Secret:
    """Text that must not be seen: `repr`, `str` and `format` give `***`, and it cannot be pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself; hand it only to the library that needs it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("secret", self._text))

    def __repr__(self) -> str:
        return "***" if self._text else "''"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not written anywhere; pass it through the environment of a child process")


NO_SECRET = Secret()

HIDDEN = "***"
_ANYWHERE = r"passw|passphrase|credential|secret(?!ar)|(?:api|private)[_\- ]?key|tokens?(?!(?-i:[a-z])|_per)"
_AS_A_WORD = r"(?:^|[_\-. ])(?:dsn|pwd|key_id)(?:$|[_\-. ])"
_SECRET_KEY = re.compile(f"{_ANYWHERE}|{_AS_A_WORD}", re.IGNORECASE)
# Up to the last @ before a blank or another address: a password may hold @ and / (asyncpg takes such an address).
_USER_IN_ADDRESS = re.compile(r"(\w[\w+.\-]{0,30}://)(?:[^/@\s]*:(?:(?!://)\S)*|[^/\s]*)@")


def without_secrets(value: Any) -> Any:
    """Return `value` with the values of secret-sounding keys, and passwords inside addresses, replaced by `***`.

    >>> without_secrets({"DSN": "postgresql://me:pw@host/db", "size": 3, "url": "see http://me:pw@host/x"})
    {'DSN': '***', 'size': 3, 'url': 'see http://***@host/x'}
    """
    if isinstance(value, Mapping):
        return {key: HIDDEN if _is_secret(key, item) else without_secrets(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item) for item in value]
    if isinstance(value, str):
        return _USER_IN_ADDRESS.sub(rf"\1{HIDDEN}@", value)
    return value


def _is_secret(key: object, value: object) -> bool:
    """Tell whether the value may be one; truth values and what counts tokens (`token_count = 3`) are shown."""
    if value is None or value == "" or isinstance(value, bool):
        return False
    counts = isinstance(value, (int, float)) and "token" in str(key).lower()
    return not counts and bool(_SECRET_KEY.search(str(key)))
