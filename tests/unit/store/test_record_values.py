"""What can be kept, what may not be, and which rows are new."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import accumulate
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.errors import RecordDiffers
from liualgotrader.common.rows import ForeignRow, Progress
from liualgotrader.postgres.installation import sentence_of
from liualgotrader.store.column_values import (
    clean_text,
    columns_of,
    instant_of,
    json_text,
    midnight,
    row_from,
    utc_aware,
    utc_naive,
)
from liualgotrader.store.gateway_tables import rows_after

INSTANTS = st.integers(min_value=0, max_value=2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(INSTANTS)
def test_an_instant_comes_back_cut_to_microseconds(at: int) -> None:
    assert instant_of(utc_aware(at)) == instant_of(utc_naive(at)) == at // 1000 * 1000


def test_the_opening_bell_is_the_known_moment() -> None:
    at = 1_381_152_600_123_456_789  # date -u -d '2013-10-07 13:30' +%s is 1381152600
    assert utc_aware(at) == datetime(2013, 10, 7, 13, 30, 0, 123456, tzinfo=UTC)
    assert utc_naive(at).tzinfo is None
    assert midnight(date(2013, 10, 7)) == datetime(2013, 10, 7)


@given(st.text())
def test_clean_text_can_be_encoded_and_holds_no_nul(text: str) -> None:
    cleaned = clean_text(text)
    assert "\0" not in cleaned.encode().decode()
    assert clean_text(cleaned) == cleaned


@given(JSON)
def test_json_text_is_json_that_postgresql_accepts(value: Any) -> None:
    text = json_text(value)
    json.loads(text, parse_constant=pytest.fail)
    text.encode()
    assert "\0" not in str(json.loads(text))


def test_numbers_of_numpy_and_money_can_be_kept() -> None:
    kept = json.loads(
        json_text({"a": np.float64(1.5), "b": np.int64(3), "c": Decimal("0.10"), "d": math.inf, "e": np.array([1, 2])})
    )
    assert kept == {"a": 1.5, "b": 3, "c": "0.10", "d": None, "e": [1, 2]}


def test_a_backslash_before_u0000_is_not_a_nul() -> None:
    assert json.loads(json_text({"path": "c:\\u0000"})) == {"path": "c:\\u0000"}


@given(st.text(), INSTANTS, st.decimals(-(10**9), 10**9, places=9))
def test_a_row_comes_back_from_its_columns_with_instants_cut_to_microseconds(
    symbol: str, at: int, quantity: Decimal
) -> None:
    row = ForeignRow("b", symbol, quantity, at)
    assert row_from(ForeignRow, columns_of(row)) == msgspec.structs.replace(row, at=at // 1000 * 1000)


@given(st.integers(0, 30), st.integers(0, 31), st.integers(1, 20), st.booleans(), st.booleans())
def test_of_a_piece_exactly_the_new_rows_are_left_and_one_that_is_not_joined_is_refused(
    stored: int, first: int, length: int, same: bool, with_digest: bool
) -> None:
    def ends(journal: str) -> list[Progress]:
        return list(
            accumulate((ForeignRow(journal, "T", Decimal(n), 0) for n in range(60)), Progress.after, initial=Progress())
        )

    kept = ends("a")[stored]
    mine = "a" if same else "b"
    piece = [ForeignRow(mine, "T", Decimal(n), 0) for n in range(first, first + length)]
    told = kept if with_digest else msgspec.structs.replace(kept, digest=None)
    joined = first <= stored <= first + length and (same or not with_digest or not stored)
    if joined:
        fresh, end = rows_after(told, piece, ends(mine)[first])
        assert (len(fresh), end) == (first + length - stored, ends(mine)[first + length])
    else:
        with pytest.raises(RecordDiffers, match=f"{stored} rows of the batch are stored"):
            rows_after(told, piece, ends(mine)[first])


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ('could not write to file "base/1": No space left on device\nhint: x', "disk"),
        ("initdb: error: could not create directory: Read-only file system", "read-only"),
        ("LOG: start\nFATAL:  lock file exists\nHINT: y\n", "lock file exists"),
        (
            "creating tables ... child process was terminated by signal 9: Killed\ninitdb: removing data directory"
            "\ninitdb: error: failed to remove contents of data directory",
            "terminated by signal 9",
        ),
        ("", "nothing"),
    ],
)
def test_a_failed_program_is_one_sentence(output: str, words: str) -> None:
    sentence = sentence_of("initdb", output)
    assert words in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
