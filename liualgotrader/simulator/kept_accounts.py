"""Accounts that outlive the process: the file that `--state` names.

The first line is the day (ISO), the rest is the exchange's own snapshot.
"""

from __future__ import annotations

from datetime import date
from math import prod
from pathlib import Path

import msgspec

from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.files import replace_file
from liualgotrader.common.money import exact
from liualgotrader.common.ports import Tape
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.rules import ExchangeSession
from liualgotrader.tapes.base import ColumnTape


def restore(exchange: Exchange, spec: MarketSpec, session: ExchangeSession, tape: Tape) -> bool:
    """Take the accounts from the state file, into a new day if it is an older one's; False if there is no file.

    Shares and open orders are split as the tape says, for every split since that day.

    Raises:
        ConfigError: if the file is not one of ours, or lies ahead of the day that is to be played.
    """
    path = Path(spec.state) if spec.state else None
    if path is None or not path.exists():
        return False
    day, _, state = path.read_bytes().partition(b"\n")
    try:
        exchange.restore_state(state)
    except ValueError as e:
        raise ConfigError(f"{path} is not a market's state; name another file or delete it.") from e
    if day.decode() > spec.day:
        raise ConfigError(f"{path} holds accounts as of {day.decode()}, which is after {spec.day}; choose a later day.")
    if day.decode() < spec.day:
        since, ratios = date.fromisoformat(day.decode()), {}
        if isinstance(tape, ColumnTape):
            for symbol in tape.symbols():
                ratio = prod(split.ratio for split in tape.splits(symbol) if since < split.day <= tape.day)
                if ratio != 1:
                    ratios[symbol] = exact(round(ratio, 9))
        exchange.begin_session(msgspec.structs.replace(session, splits=ratios))
    return True


def keep(exchange: Exchange, spec: MarketSpec) -> None:
    """Write the accounts into the state file, whole or not at all; nothing without such a file.

    Raises:
        OutsideError: if the disk is full, or the file cannot be written for another reason.
    """
    if not spec.state:
        return
    path = Path(spec.state)
    try:
        replace_file(path, spec.day.encode() + b"\n" + exchange.snapshot_state())
    except OSError as e:
        raise OutsideError(
            f"the market's accounts cannot be written to {path}: {e.strerror}; free some space there"
        ) from e
