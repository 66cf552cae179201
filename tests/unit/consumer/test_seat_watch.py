"""What a strategy changes for its whole process while it is called."""

from __future__ import annotations

import os
import warnings
from typing import Any

from liualgotrader.consumer.call_guard import CallGuard


class Status:
    def calling(self, slot: int, cell: bytes, batch: int) -> None: ...
    def returned(self) -> None: ...


def watch() -> tuple[CallGuard, list[str]]:
    said: list[str] = []
    status: Any = Status()
    made = CallGuard(status, said.append)
    made.begin({0: "Quiet", 1: "Loud", 2: "Late"})
    return made, said


def call(made: CallGuard, slot: int, *, harm: bool = False) -> None:
    made.calling(slot, "AAPL")
    if harm:
        warnings.simplefilter("error")
        os.chdir("/")
    made.returned()


def test_the_strategy_that_changes_what_all_share_is_named_once_and_it_is_put_back() -> None:
    made, said = watch()
    before = [*warnings.filters], os.getcwd()
    for _ in range(3):
        for slot in (0, 1, 2):
            call(made, slot, harm=slot == 1)
            assert ([*warnings.filters], os.getcwd()) == before
        made.compare()
    assert said == [
        "strategy Loud has changed the warnings filters and the working directory for every strategy of its process;"
        " it was put back"
    ]


def test_one_that_begins_late_is_one_of_those_called_and_named_when_it_does_so_again() -> None:
    made, said = watch()
    before = [*warnings.filters]
    for _ in range(60):
        for slot in (0, 1, 2):
            call(made, slot)
        made.compare()
    for _ in range(2):
        call(made, 0)
        call(made, 2, harm=True)
        made.compare()
        assert [*warnings.filters] == before
    assert [text.partition(" has ")[0] for text in said] == ["one of the strategies Late, Quiet", "strategy Late"]


def test_what_nobody_was_called_for_may_be_anybodys() -> None:
    made, said = watch()
    os.chdir("/")
    made.compare()
    assert said[0].startswith("one of the strategies Late, Loud, Quiet has changed the working directory")
