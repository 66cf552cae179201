"""The pool that classes of the original use when none is given: `liualgotrader.common.config.db_conn_pool`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from liualgotrader.common.errors import ConfigError

if TYPE_CHECKING:
    from asyncpg import Pool

_current: list[Pool] = []  # at most one; a program has one record


def set_pool(pool: Any) -> None:
    """Name the pool for code that was written for the original; None takes it away."""
    _current[:] = [] if pool is None else [pool]


def current_pool(pool: Any = None) -> Any:
    """Return `pool`, or the program's pool if it is None.

    Raises:
        ConfigError: if there is none.
    """
    if pool is not None:
        return pool
    if not _current:
        raise ConfigError("No database is open: call this inside a session, or hand over an asyncpg pool.")
    return _current[0]
