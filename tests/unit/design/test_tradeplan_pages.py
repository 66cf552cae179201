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
from tools import design_pages

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
        (Timings, design_pages.TIMINGS),
        (Limits, design_pages.LIMITS),
        (Simulation, design_pages.SIMULATION),
        (TradePlan, design_pages.PLAN),
    ],
)
def test_every_key_has_its_unit_and_reason(kind: Any, whys: Any) -> None:
    assert list(whys) == [f.name for f in msgspec.structs.fields(kind) if f.name not in NOT_ON_THE_PAGE]
    assert all(why.reason for why in whys.values())


def test_durations_name_their_clock() -> None:
    assert all(why.clock in ("market", "machine") for why in design_pages.TIMINGS.values() if why.unit != "sessions")


def test_the_page_shows_values_as_the_tradeplan_writes_them() -> None:
    page = design_pages.defaults_page()
    assert "| `order_dollars` | 25000 | US dollars |" in page
    assert "| `skip_existing` | false |" in page
    assert "| `events` | second, minute, trade, quote |" in page


@pytest.mark.parametrize(
    ("name", "made"), [("defaults.md", design_pages.defaults_page), ("tradeplan.md", design_pages.tradeplan_page)]
)
def test_the_pages_in_the_design_folder_are_the_generated_ones(name: str, made: Any) -> None:
    assert (Path(__file__).parents[3] / "design" / name).read_text(encoding="utf-8") == made()


@pytest.mark.parametrize(
    ("kind", "meanings"),
    [
        (TradePlan, design_pages.MEANINGS),
        (Timings, design_pages.TIMING_MEANINGS),
        (Limits, design_pages.LIMIT_MEANINGS),
        (Simulation, design_pages.SIMULATION_MEANINGS),
    ],
)
def test_every_key_of_the_tradeplan_has_its_meaning(kind: Any, meanings: Any) -> None:
    assert set(meanings) == {f.name for f in msgspec.structs.fields(kind)}


def test_every_key_of_the_built_in_scanner_has_its_meaning() -> None:
    taken = set(inspect.signature(Momentum).parameters) - {"data_loader", "data_source", "trading_api", "min_gap"}
    assert set(design_pages.MOMENTUM) == taken


def test_every_variable_of_the_environment_is_on_the_page_and_no_secret() -> None:
    page = design_pages.tradeplan_page()
    for option in OPTIONS.values():
        assert not option.variable or f"| `{option.variable}` |" in page
    assert "***" not in page


def test_the_readme_names_both_pages() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert "design/tradeplan.md" in readme
    assert "design/defaults.md" in readme
