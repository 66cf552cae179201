"""The settings and the tradeplan that a command line, the environment and a file come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liualgotrader.common.config import OPTIONS, Settings
from liualgotrader.common.tradeplan import TradePlan, parse_tradeplan, read_tradeplan, shown


def configured(stated: Mapping[str, Any]) -> tuple[Settings, TradePlan]:
    """Return the settings and the tradeplan that they name.

    Raises:
        ConfigError: naming what cannot be meant.
    """
    settings, tradeplan, _ = _configured(stated)
    return settings, tradeplan


def configuration_rows(stated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (name, value, source) of every setting and of every key of the tradeplan, each once, secrets as `***`.

    Raises:
        ConfigError: naming what cannot be meant.
    """
    settings, tradeplan, table = _configured(stated)
    settings_too = {option.plan_key for option in OPTIONS.values()}
    return settings.shown() + [row for row in shown(tradeplan, table) if row[0] not in settings_too]


def _configured(stated: Mapping[str, Any]) -> tuple[Settings, TradePlan, Mapping[str, Any]]:
    path = Settings.resolve(stated).tradeplan_path
    table = read_tradeplan(path)
    tradeplan = parse_tradeplan(table, path)
    return Settings.resolve(stated, tradeplan=table), tradeplan, table
