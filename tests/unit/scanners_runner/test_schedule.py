"""When scanners run, and whose picks leave first."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import MINUTE, NEVER
from liualgotrader.scanners_runner.scanners_process import PickTurns, next_due

OPEN = 1_709_908_200_000_000_000


@given(st.integers(-(10**14), 10**14), st.integers(1, 10**13))
def test_the_next_run_is_the_first_point_of_the_grid_ahead(offset: int, period: int) -> None:
    now = OPEN + offset
    due = next_due(now, OPEN, period)
    assert now < due <= now + period
    assert (due - OPEN) % period == 0


def test_a_scanner_started_late_joins_the_grid_of_the_open() -> None:
    assert next_due(OPEN + 7 * MINUTE, OPEN, 5 * MINUTE) == OPEN + 10 * MINUTE


async def test_picks_of_one_instant_leave_in_the_order_of_the_tradeplan() -> None:
    turns, left = PickTurns(3), list[int]()
    for index in range(3):
        turns.expect(index, OPEN)

    async def finish(index: int) -> None:
        assert await turns.wait(index)
        left.append(index)
        turns.expect(index, NEVER)

    async with asyncio.timeout(60):
        late = [asyncio.ensure_future(finish(index)) for index in (2, 1)]
        await asyncio.sleep(0.01)
        assert left == []
        await finish(0)
        await asyncio.gather(*late)
    assert left == [0, 1, 2]


async def test_nobody_waits_for_a_scanner_of_another_instant() -> None:
    turns = PickTurns(2)
    turns.expect(0, OPEN + 1)
    turns.expect(1, OPEN)
    async with asyncio.timeout(60):
        assert await turns.wait(1)


@pytest.mark.slow
async def test_patience_with_an_earlier_scanner_ends_after_a_second() -> None:
    turns = PickTurns(2)
    turns.expect(0, OPEN)
    turns.expect(1, OPEN)
    async with asyncio.timeout(60):
        assert not await turns.wait(1)
