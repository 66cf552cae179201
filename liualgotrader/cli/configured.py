"""The settings and the tradeplan that a command line, the environment and a file come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liualgotrader.common.config import Settings
from liualgotrader.common.tradeplan import TradePlan, load_tradeplan


def configured(stated: Mapping[str, Any]) -> tuple[Settings, TradePlan]:
    """Return the settings and the tradeplan that they name.

    Raises:
        ConfigError: naming what cannot be meant.
    """
    tradeplan = load_tradeplan(Settings.resolve(stated).tradeplan_path)
    return Settings.resolve(stated, tradeplan=said_by(tradeplan)), tradeplan


def said_by(tradeplan: TradePlan) -> dict[str, Any]:
    """Return those settings that the tradeplan states, that is, that differ from its defaults."""
    default = TradePlan()
    said = {
        k: getattr(tradeplan, k) for k in ("consumers", "seed", "link") if getattr(tradeplan, k) != getattr(default, k)
    }
    if tradeplan.limits.max_symbols != default.limits.max_symbols:
        said["limits.max_symbols"] = tradeplan.limits.max_symbols
    return said
