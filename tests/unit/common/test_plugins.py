"""What is said of the errors of users' files."""

from __future__ import annotations

from liualgotrader.common.plugins import one_line


class Mute(Exception):
    def __str__(self) -> str:
        return self.missing  # type: ignore[attr-defined,no-any-return]


def test_an_error_is_told_by_its_kind_and_its_text_in_one_line() -> None:
    assert one_line(ValueError("no\n  such   thing")) == "ValueError: no such thing"
    assert len(one_line(ValueError("x" * 10_000))) < 1_000


def test_an_error_whose_text_cannot_be_read_is_told_all_the_same() -> None:
    assert one_line(Mute()) == "Mute: (its text cannot be read)"
