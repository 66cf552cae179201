"""`liu verify`: play a saved result again, and say whether it comes out the same."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.cli.backtest_run import progress_bar
from liualgotrader.cli.trader_arguments import configured
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError
from liualgotrader.supervisor.run_backtest import QuietScreen
from liualgotrader.supervisor.saved_result import PACKAGE, SavedResult, broken_seals, read_result
from liualgotrader.supervisor.verifying import (
    Difference,
    local_differences,
    package_hash,
    play_again,
    request_of,
    unpacked,
    versions,
)

DIFFERS = 6  # the exit status, that of checks that have found something


def verify(options: argparse.Namespace) -> int:
    """Say whether a saved result comes out the same, and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    saved = read_result(Path(options.result).expanduser())
    found = [Difference("file", sentence) for sentence in broken_seals(saved)]
    mine = None
    if not found:
        mine, found = _played(saved, options)
    notes = _notes(saved) if mine is not None else ["nothing was played"]
    if options.json:
        told: dict[str, Any] = {
            "equal": not found,
            "fingerprint": saved.fingerprint,
            "fingerprint_here": mine and mine.fingerprint,
            "differences": found,
            "figures": saved.statement.figures,
            "notes": notes,
        }
        print(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        for line in _lines(saved, found, notes, played=mine is not None):
            print(line)
    return DIFFERS if found else 0


def _played(saved: SavedResult, options: argparse.Namespace) -> tuple[SavedResult | None, list[Difference]]:
    """Play a result by files of this machine that are the same, or by its own if they may run."""
    stated = {"tradeplan": options.tradeplan, "home": options.home}
    settings, own = Settings.resolve(stated), [n for n in saved.statement.code if not n.startswith(PACKAGE)]
    request = request_of(saved, options.data)
    with progress_bar(len(request.bars.sessions())) as progress:
        if options.run_its_code or not own:
            with tempfile.TemporaryDirectory(prefix="liu-verify-") as name:
                folder = Path(name).resolve()
                beside = folder / saved.statement.folder / "tradeplan.toml"
                settings = Settings.resolve({"tradeplan": str(beside), "home": options.home}, environment={})
                plan = unpacked(saved, folder)
                return play_again(saved, request, settings, plan, QuietScreen(), progress)
        if not settings.tradeplan_path.is_file():
            raise ConfigError(
                f"there is no tradeplan here to compare it with, and {options.result} carries code of whoever made it"
                f" ({', '.join(own[:3])}{', …' if own[3:] else ''}): read it with `unzip -p {options.result} 'code/*'`, then"
                " add --run-its-code; or name your own tradeplan with --tradeplan"
            )
        settings, plan = configured(stated)
        if found := local_differences(saved, settings, plan):
            return None, found
        return play_again(saved, request, settings, plan, QuietScreen(), progress)


def _notes(saved: SavedResult) -> list[str]:
    """Return in what the programs differ that played it then and now."""
    here, run = versions(), saved.run
    names = sorted(here.keys() | run.versions)
    said = [(name, run.versions.get(name, "not there"), here.get(name, "not there")) for name in names]
    notes = [f"{name}: {was} then, {now} here" for name, was, now in said if was != now]
    if run.package != package_hash():
        notes.insert(0, "liualgotrader: other files then than here")
    return [ascii(note)[1:-1] for note in notes]


def _lines(saved: SavedResult, found: Sequence[Difference], notes: Sequence[str], *, played: bool) -> Sequence[str]:
    stated = saved.statement
    if found:
        lines = [f"differs: {found[0].part}: {found[0].what}"]
        lines += [f"also: {one.part}: {one.what}" for one in found[1:]]
        parts = {one.part for one in found}
        if played and not parts & {"orders", "fills", "equity", "figures"}:
            lines.append("orders, fills and figures come out the same all the same")
        return [*lines, *notes]
    told = stated.figures
    days, trips = f"{told.get('first_day')} to {told.get('last_day')}", told.get("trips")
    names = (
        ("return", "total_return", "+.2%"),
        ("Sharpe ratio", "sharpe_ratio", ".2f"),
        ("max drawdown", "max_drawdown", ".2%"),
    )
    known = [f"{text} {format(told[name], form)}" for text, name, form in names if isinstance(told.get(name), float)]
    fills = saved.members["fills.csv"].count(b"\n") - 1
    return [
        f"equal: {days}, {len(stated.data):,} symbols, {fills:,} fills, {trips:,} trades; {', '.join(known)}",
        f"fingerprint {saved.fingerprint}",
        *notes,
    ]
