"""Backtests: bars of many sessions in; decisions, fills and rows of the same engine, order desk and exchange out.

`from liualgotrader.backtest import run_backtest` is for notebooks and scripts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liualgotrader.supervisor.run_backtest import Result, run_backtest

__all__ = ["Result", "run_backtest"]


def __getattr__(name: str) -> Any:
    """Return what stands higher up in the house: users look for it here."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from liualgotrader.supervisor import run_backtest as module

    return getattr(module, name)
