"""The page of defaults says every key there is."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liualgotrader.common.config import OPTIONS
from liualgotrader.common.tradeplan import Limits, Simulation, Timings, TradePlan
from liualgotrader.scanners.momentum import Momentum
from tools import reference_pages

NOT_ON_THE_PAGE = {
    "scanners",
    "strategies",
    "optimizer",
    "timings",
    "limits",
    "simulation",
    "gcp_monitor_measure_prefix",
}


@pytest.mark.parametrize(
    ("kind", "whys"),
    [
        (Timings, reference_pages.TIMINGS),
        (Limits, reference_pages.LIMITS),
        (Simulation, reference_pages.SIMULATION),
        (TradePlan, reference_pages.PLAN),
    ],
)
def test_every_key_has_its_unit_and_reason(kind: Any, whys: Any) -> None:
    assert list(whys) == [f.name for f in msgspec.structs.fields(kind) if f.name not in NOT_ON_THE_PAGE]
    assert all(why.reason for why in whys.values())


def test_durations_name_their_clock() -> None:
    assert all(why.clock in ("market", "machine") for why in reference_pages.TIMINGS.values() if why.unit != "sessions")


def test_the_page_shows_values_as_the_tradeplan_writes_them() -> None:
    page = reference_pages.defaults_page()
    assert "| `order_dollars` | 25000 | US dollars |" in page
    assert "| `skip_existing` | false |" in page
    assert "| `events` | second, minute, trade, quote |" in page


@pytest.mark.parametrize("name", reference_pages.PAGES)
def test_the_generated_pages_are_what_the_code_says(name: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / name).read_text(encoding="utf-8")
    assert page == reference_pages.PAGES[name](), "write them anew: python -m tools.reference_pages"


def test_the_page_of_commands_has_every_program_command_and_option() -> None:
    page = reference_pages.commands_page()
    for told in (
        "## `backtester`",
        "### `liu db`",
        "#### `liu db backup`",
        "### `liu positions`",
        "| `account_size` |",
    ):
        assert told in page
    assert (
        "| `--speed N\\|max` | so many market seconds in a real one at most (default max; `liu simulate`: 1) |" in page
    )
    assert "| `-c N`, `--jobs N`, `--concurrency N` | processes (default: all cores) |" in page


@pytest.mark.parametrize(
    ("kind", "meanings"),
    [
        (TradePlan, reference_pages.MEANINGS),
        (Timings, reference_pages.TIMING_MEANINGS),
        (Limits, reference_pages.LIMIT_MEANINGS),
        (Simulation, reference_pages.SIMULATION_MEANINGS),
    ],
)
def test_every_key_of_the_tradeplan_has_its_meaning(kind: Any, meanings: Any) -> None:
    assert set(meanings) == {f.name for f in msgspec.structs.fields(kind)}


def test_every_key_of_the_built_in_scanner_has_its_meaning() -> None:
    taken = set(inspect.signature(Momentum).parameters) - {"data_loader", "data_source", "trading_api", "min_gap"}
    assert set(reference_pages.MOMENTUM) == taken


def test_every_variable_of_the_environment_is_on_the_page_and_no_secret() -> None:
    page = reference_pages.tradeplan_page()
    for option in OPTIONS.values():
        assert not option.variable or f"| `{option.variable}` |" in page
    assert "***" not in page


def test_the_readme_names_both_pages() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert "docs/tradeplan.md" in readme
    assert "docs/defaults.md" in readme
