"""The page of defaults says every key there is."""

from pathlib import Path

import msgspec
import pytest

from liualgotrader.common import defaults
from liualgotrader.common.session_plan import Limits, Timings
from liualgotrader.common.tradeplan import TradePlan

NOT_ON_THE_PAGE = {"scanners", "strategies", "optimizer", "timings", "limits", "gcp_monitor_measure_prefix"}


@pytest.mark.parametrize(
    ("kind", "whys"), [(Timings, defaults.TIMINGS), (Limits, defaults.LIMITS), (TradePlan, defaults.PLAN)]
)
def test_every_key_has_its_unit_and_reason(kind, whys):
    assert list(whys) == [f.name for f in msgspec.structs.fields(kind) if f.name not in NOT_ON_THE_PAGE]
    assert all(why.reason for why in whys.values())


def test_durations_name_their_clock():
    assert all(why.clock in ("market", "machine") for why in defaults.TIMINGS.values() if why.unit != "sessions")


def test_the_page_shows_values_as_the_tradeplan_writes_them():
    page = defaults.defaults_page()
    assert "| `order_dollars` | 25000 | US dollars |" in page
    assert "| `skip_existing` | false |" in page
    assert "| `events` | second, minute, trade, quote |" in page


def test_the_page_in_the_design_folder_is_the_generated_one():
    page = Path(__file__).parents[3] / "design" / "defaults.md"
    assert page.read_text(encoding="utf-8") == defaults.defaults_page()
