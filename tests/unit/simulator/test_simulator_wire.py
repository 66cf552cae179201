"""Instants, numbers, messages and frames as the wires carry them."""

from __future__ import annotations

import json
from decimal import Decimal

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import nanoseconds
from liualgotrader.common.events import Counts, Quote, Status, TradeTick
from liualgotrader.common.ports import Asset
from liualgotrader.simulator.asset_codes import SymbolTable, VenueCode, venue_of
from liualgotrader.simulator.client_outbox import MAX_FRAME_BYTES, frames_below_limit
from liualgotrader.simulator.shapes import (
    TRADE_CONDITIONS,
    conditions_of,
    quote_message,
    status_message,
    trade_message,
    ulid,
)
from liualgotrader.simulator.subscriptions import JSON, MSGPACK, codec_for
from liualgotrader.simulator.wire import flag, money, new_york_text, number, parse_instant, rfc3339, text_of, words
from liualgotrader.tapes.base import asset_terms

INSTANTS = st.integers(min_value=883_612_800 * 10**9, max_value=2_556_143_999 * 10**9 + 999_999_999)
AT = nanoseconds("2024-03-08T14:35:00.500000001Z")


@given(INSTANTS)
def test_an_instant_survives_its_text(at: int) -> None:
    assert nanoseconds(rfc3339(at)) == at


@given(INSTANTS)
def test_an_instant_survives_msgpacks_timestamp(at: int) -> None:
    assert msgpack.unpackb(MSGPACK.piece({"t": MSGPACK.instant(at)}))["t"].to_unix_nano() == at


def test_a_clock_shows_new_yorks_offset_in_winter_and_summer() -> None:
    assert new_york_text(nanoseconds("2024-03-08T14:35:00.5Z")) == "2024-03-08T09:35:00.500000000-05:00"
    assert new_york_text(nanoseconds("2024-07-03T14:35:00Z")) == "2024-07-03T10:35:00-04:00"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-03-08", "2024-03-08T05:00:00Z"),
        ("2024-07-03", "2024-07-03T04:00:00Z"),
        ("2024-03-08T09:30:00-05:00", "2024-03-08T14:30:00Z"),
        ("2024-03-08T14:30:00 00:00", "2024-03-08T14:30:00Z"),
    ],
)
def test_a_parameter_is_a_time_or_new_yorks_midnight(text: str, instant: str) -> None:
    assert parse_instant(text) == nanoseconds(instant)


def test_the_end_of_a_day_is_its_last_nanosecond_also_when_clocks_change() -> None:
    assert parse_instant("2024-03-10", last=True) == nanoseconds("2024-03-11T04:00:00Z") - 1


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", "2024-03-08T09:30:00"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("value", "result"),
    [(3.3000000000000003, "3.3"), (0.1 + 0.2, "0.3"), ("1.5", "1.5"), (100, "100"), (1e-9, "1E-9"), (None, None)],
)
def test_numbers_of_bodies_lose_their_binary_noise(value: object, result: str | None) -> None:
    assert number(value) == (None if result is None else Decimal(result))


@pytest.mark.parametrize("value", [True, "x", [], {}, float("nan"), float("inf"), 1e300])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        number(value)


@pytest.mark.parametrize(("value", "shown"), [("1E+2", "100"), ("0.10", "0.1"), ("0", "0"), ("-3.50", "-3.5")])
def test_numbers_have_no_exponent_and_no_needless_zeros(value: str, shown: str) -> None:
    assert text_of(Decimal(value)) == shown


@pytest.mark.parametrize(("value", "shown"), [("1000", "1000.00"), ("0.5", "0.50"), ("-1.2345", "-1.2345")])
def test_money_has_at_least_cents(value: str, shown: str) -> None:
    assert money(Decimal(value)) == shown


def test_query_words_are_read_as_the_vendors_client_writes_them() -> None:
    assert [flag(t) for t in ("True", "true", "1", "False", None)] == [True, True, True, False, False]
    assert words("ABC, XYZ,,") == ["ABC", "XYZ"]


def test_an_update_id_sorts_by_time_and_holds_its_number() -> None:
    assert ulid(0, 1) == "0" * 25 + "1"
    assert ulid(1_000_000, 0) == "0000000001" + "0" * 16
    assert ulid(AT, 7) < ulid(AT, 8) < ulid(AT + 1_000_000, 1)


# --- the data stream's messages


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_a_frame_is_an_array_of_its_pieces_in_both_languages(count: int) -> None:
    assert msgpack.unpackb(MSGPACK.frame([MSGPACK.piece({"n": 1})] * count)) == [{"n": 1}] * count
    assert json.loads(JSON.frame([JSON.piece({"n": 1})] * count)) == [{"n": 1}] * count


def test_the_handshake_chooses_the_language() -> None:
    assert codec_for("application/msgpack") is MSGPACK
    assert codec_for("application/json") is JSON
    assert codec_for("") is JSON


@given(st.lists(st.integers(min_value=1, max_value=400_000), max_size=12))
def test_frames_stay_below_the_limit_and_lose_nothing(sizes: list[int]) -> None:
    pieces = [bytes(size) for size in sizes]
    groups = frames_below_limit(pieces)
    assert [p for group in groups for p in group] == pieces
    assert all(len(MSGPACK.frame(g)) < MAX_FRAME_BYTES + 400_000 and g for g in groups)
    assert all(len(MSGPACK.frame(g)) <= MAX_FRAME_BYTES for g in groups if len(g) > 1)


def test_a_trade_and_a_quote_have_the_vendors_fields() -> None:
    venue = VenueCode("N", "A")
    trade = json.loads(JSON.piece(trade_message(TradeTick("ABC", AT, 1.5, 100.0), 7, venue, JSON.instant(AT))))
    assert trade == {
        "T": "t",
        "S": "ABC",
        "i": 7,
        "x": "N",
        "p": 1.5,
        "s": 100,
        "c": ["@"],
        "z": "A",
        "t": "2024-03-08T14:35:00.500000001Z",
    }
    quote = json.loads(JSON.piece(quote_message(Quote("ABC", AT, 1.0, 100.0, 2.0, 0.5), venue, 0)))
    assert (quote["bp"], quote["bs"], quote["ap"], quote["as"], quote["c"]) == (1.0, 100, 2.0, 0.5, ["R"])


@pytest.mark.parametrize(
    ("flags", "size", "conditions"),
    [
        (Counts.ALL, 100, ("@",)),
        (Counts.VOLUME, 7, ("@", "I")),
        (Counts.VOLUME, 100, ("@", "W")),
        (Counts.HIGH_LOW | Counts.VOLUME, 100, ("@", "4")),
        (Counts.NOTHING, 100, ("M",)),
    ],
)
def test_conditions_say_what_a_print_counts_for(flags: Counts, size: float, conditions: tuple[str, ...]) -> None:
    assert conditions_of(int(flags), size) == conditions


@given(st.integers(min_value=0, max_value=31), st.sampled_from([7.0, 100.0]))
def test_every_condition_of_a_print_stands_in_the_table_of_conditions(flags: int, size: float) -> None:
    assert set(conditions_of(flags, size)) <= TRADE_CONDITIONS.keys()


@pytest.mark.parametrize(("tape", "halted", "code"), [("C", True, "H"), ("C", False, "T"), ("A", True, "2")])
def test_a_status_without_a_code_gets_that_of_its_tape(tape: str, halted: bool, code: str) -> None:
    assert status_message(Status("ABC", AT, halted), VenueCode("N", tape), 0)["sc"] == code
    assert status_message(Status("ABC", AT, halted, "P", "LUDP"), VenueCode("N", tape), 0)["sc"] == "P"


# --- symbols


def test_symbols_are_found_by_name_and_by_asset_id() -> None:
    table = SymbolTable(asset_terms([Asset("XYZ", "", "NYSE"), Asset("ABC", "", "MOON")]))
    assert list(table.terms) == ["ABC", "XYZ"]
    assert table.terms["ABC"].exchange == "NASDAQ"  # the vendor's client would refuse a venue that it does not know
    assert table.symbol("abc") == "ABC"
    from liualgotrader.simulator.asset_codes import asset_id

    assert table.symbol(str(asset_id("XYZ"))) == "XYZ"
    assert table.venue("XYZ") == venue_of("NYSE") == ("N", "A")
    assert table.venue("NOPE") == ("Q", "C")
    assert "NOPE" not in table.terms
