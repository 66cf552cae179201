"""What a vendor does not state is unknown: never zero, and never an exception that nobody expects."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.errors import BadData
from liualgotrader.common.untrusted import Fields

ODD: list[Any] = [
    None,
    "",
    "abc",
    "NaN",
    "-Infinity",
    float("nan"),
    float("inf"),
    True,
    [],
    {},
    "1e400",
    10**40,
    "1_000",
]


@pytest.mark.parametrize("odd", [*ODD, "1e9999999999"])
def test_what_is_no_finite_number_is_unknown(odd: Any) -> None:
    fields = Fields("an account", {"equity": odd})
    assert fields.dollars("equity") is None
    with pytest.raises(BadData, match="an account: equity is "):
        fields.number("equity")


@pytest.mark.parametrize(
    ("value", "number"), [("-12.50", "-12.50"), (0, "0"), (1.1, "1.1"), ("0", "0"), ("1e3", "1000")]
)
def test_a_number_is_taken_exactly_as_it_is_written(value: Any, number: str) -> None:
    assert Fields("an account", {"equity": value}).dollars("equity") == Decimal(number)


@pytest.mark.parametrize("odd", [123456789, ["123456789"], "123456789\n", 1234.56789])
@pytest.mark.parametrize("name", ["account_number", "id"])
def test_the_number_of_an_account_is_in_no_sentence(name: str, odd: Any) -> None:
    with pytest.raises(BadData, match=rf"^account: {name} \(not shown\) is not a text$"):
        Fields("account", {name: odd}).text(name)


def test_a_missing_field_is_named_with_whose_it_is() -> None:
    fields = Fields("order 7", {"side": 7})
    for read, said in (
        (lambda: fields.number("qty"), "order 7: qty is missing, not a number"),
        (lambda: fields.text("side"), "order 7: side is 7, not a text"),
        (lambda: fields.instant("side"), "order 7: side is 7, not a time"),
    ):
        with pytest.raises(BadData, match=said):
            read()


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2024-13-01T00:00:00Z", 1700000000, None]
)
def test_a_time_that_cannot_be_meant_is_refused(time: Any) -> None:
    with pytest.raises(BadData, match="order 7: at is "):
        Fields("order 7", {"at": time}).instant("at")


@pytest.mark.parametrize("raw", [None, [], "maintenance", 7])
def test_what_is_no_object_has_no_fields(raw: Any) -> None:
    with pytest.raises(BadData, match="order 7: "):
        Fields("order 7", raw)
