from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.events import Counts
from liualgotrader.tapes.conditions import counts_of

RANGE = Counts.HIGH_LOW | Counts.VOLUME

# Consolidated processing rules of the CTA and UTP plans (sale condition tables of their specifications).
RULES = [
    (0x1, Counts.ALL, "regular"),
    (0x20, Counts.ALL, "intermarket sweep"),
    (0x20000020, Counts.ALL, "sweep, exempt from rule 611"),
    (0x40, Counts.ALL, "opening print"),
    (0x80, Counts.ALL, "closing print"),
    (0x100, Counts.ALL, "re-opening print"),
    (0x200000, Counts.ALL, "cross"),
    (0x200, RANGE, "derivatively priced"),
    (0x800, RANGE, "sold last"),
    (0x4000, RANGE, "sold out of sequence"),
    (0x4800, RANGE, "sold, out of sequence"),
    (0x2000000, RANGE, "prior reference price"),
    (0x2, Counts.VOLUME, "cash"),
    (0x4, Counts.VOLUME, "next day"),
    (0x8, Counts.VOLUME, "seller"),
    (0x100000, Counts.VOLUME, "average price"),
    (0x20100200, Counts.VOLUME, "average price and derivatively priced"),
    (0x400000, Counts.VOLUME, "price variation"),
    (0x40000, Counts.VOLUME, "contingent"),
    (0x2000, Counts.VOLUME, "extended hours, reported in regular hours"),
    (0x400, Counts.VOLUME, "form T in regular hours"),
    (0x80000000, Counts.VOLUME, "odd lot"),
    (0x40000000, Counts.VOLUME, "a bit nobody describes"),
    (0x1000000, Counts.NOTHING, "official close"),
    (0x4000000, Counts.NOTHING, "official open"),
]


@pytest.mark.parametrize(("mask", "counts", "what"), RULES, ids=[r[2] for r in RULES])
def test_a_condition_moves_in_regular_hours_what_the_tape_plans_say(mask: int, counts: Counts, what: str) -> None:
    assert counts_of(mask, regular_hours=True) == counts


@pytest.mark.parametrize("mask", [0x2000, 0x20002020, 0x20002000, 0x400])
def test_outside_regular_hours_an_extended_hours_print_counts_fully(mask: int) -> None:
    assert counts_of(mask, regular_hours=False) == Counts.ALL


@pytest.mark.parametrize("mask", [0x102000, 0x6004, 0x2004, 0x6000, 0x42000])
def test_outside_regular_hours_odd_conditions_still_count_for_volume_only(mask: int) -> None:
    assert counts_of(mask, regular_hours=False) == Counts.VOLUME


@given(st.integers(1, 2**32 - 1), st.integers(0, 31))
def test_a_further_condition_never_makes_a_print_count_for_more_in_regular_hours(mask: int, bit: int) -> None:
    more = counts_of(mask | 1 << bit, regular_hours=True)
    assert more & counts_of(mask, regular_hours=True) == more
