"""Nothing is decided on what the vendor does not say, whatever it says instead; see `vendor_fuzz`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.untrusted import Fields
from tests.contract.vendor_fuzz import play


async def test_ten_thousand_spoiled_answers_of_the_vendor_move_no_money_and_end_no_process() -> None:
    counts = await play(10_000, seed=20)
    assert sum(counts.values()) == 10_000
    assert min(counts.values()) > 300, counts


@pytest.mark.parametrize(
    ("reader", "instead"),
    [
        ("dollars", lambda self, name: Decimal(str(self.raw.get(name) or 0))),  # unknown is zero
        ("flag", lambda self, name: bool(self.raw.get(name))),
        ("text", lambda self, name: str(self.raw.get(name))),
        ("positive", lambda self, name: Decimal(str(self.raw.get(name) or 0))),
        ("number", lambda self, name, **bounds: Decimal(str(self.raw.get(name) or 0))),
    ],
)
async def test_a_door_that_lets_through_what_nobody_said_is_found_out(
    monkeypatch: pytest.MonkeyPatch, reader: str, instead: Any
) -> None:
    monkeypatch.setattr(Fields, reader, instead)
    with pytest.raises(Exception) as caught:
        await play(4_000, seed=20)
    assert "of seed 20" in caught.value.__notes__[0]
