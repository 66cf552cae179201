"""Ids of our orders: what they say can be read from them again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.order_id import OrderId, batch_part, client_order_id, replacement_id


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("liu-0b5e7a4e0000-3-17", ("0b5e7a4e0000", 3, 17, 0, 0)),
        ("liu-0b5e7a4e0000-3-17-r12", ("0b5e7a4e0000", 3, 17, 0, 12)),
        ("liu-0b5e7a4e0000-3-0-d4", ("0b5e7a4e0000", 3, 0, 4, 0)),
        ("liu-0b5e7a4e0000-3-0-d4-r1", ("0b5e7a4e0000", 3, 0, 4, 1)),
        ("liu-0b5e7a4e0000-3-17-x9", ("0b5e7a4e0000", 3, 17, 0, 0)),
        ("liu-0b5e7a4e0000-3", None),
        ("liu-0b5e7a4e0000-three-17", None),
        ("by-hand-1-2", None),
        ("", None),
    ],
)
def test_an_id_says_batch_slot_and_number(text: str, parts: tuple[str, int, int, int, int] | None) -> None:
    assert OrderId.parse(text) == parts


@given(st.integers(0, 999), st.integers(0, 10**6), st.integers(0, 99), st.integers(0, 99))
def test_what_is_written_is_read_again(slot: int, number: int, own: int, replacement: int) -> None:
    made = OrderId("0b5e7a4e0000", slot, number, own, replacement)
    assert OrderId.parse(str(made)) == made


def test_an_id_names_its_batch() -> None:
    batch = "0b5e7a4e-1111-4000-8000-000000000000"
    assert client_order_id(batch, 1, 2) == f"liu-{batch_part(batch)}-1-2" == "liu-0b5e7a4e1111-1-2"
    assert replacement_id(client_order_id(batch, 1, 2), 3) == "liu-0b5e7a4e1111-1-2-r3"
