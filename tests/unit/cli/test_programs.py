"""Every program and each of its commands: help, versions, JSON beside each table, one sentence for a bad option."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from liualgotrader.cli import backtester, common, liu, market_miner, optimizer, portfolios, trader_arguments
from liualgotrader.common.tradeplan import FillProfile

PARSERS = {
    "trader": trader_arguments._parser(),
    "backtester": backtester.make_parser("backtester"),
    "market_miner": market_miner._parser("market_miner"),
    "optimizer": optimizer._parser("optimizer"),
    "portfolio": portfolios._parser("portfolio"),
    "liu": liu._parser(),
}
WITHOUT_A_TABLE = {
    "backtester",
    "liu",
    "liu backtest",
    "liu create",
    "liu create portfolio",
    "liu data",
    "liu data export",
    "liu data fetch",
    "liu data import",
    "liu data import-constituents",
    "liu db",
    "liu db backup",
    "liu db migrate",
    "liu db psql",
    "liu db restore",
    "liu db start",
    "liu db stop",
    "liu journal",
    "liu cancel",
    "liu kill-switch",
    "liu mine",
    "liu new",
    "liu optimize",
    "liu portfolio",
    "liu positions",
    "liu quickstart",
    "liu report",
    "liu simulate",
    "liu ui",
    "portfolio",
}


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parser and those of all its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from commands(inner)


ALL = {one.prog: one for parser in PARSERS.values() for one in commands(parser)}


@pytest.mark.parity(1)
@pytest.mark.parametrize("words", ALL)
def test_every_command_has_help_and_ends_with_2_and_one_sentence_after_a_bad_option(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        ALL[words].parse_args(["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {words}")
    with pytest.raises(SystemExit) as ended:
        ALL[words].parse_args(["--no-such-option"])
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert said.startswith(f"{words}: ")
    assert said.endswith(f"; see `{words} --help`\n")


@pytest.mark.parametrize("name", PARSERS)
def test_every_program_says_its_version(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        PARSERS[name].parse_args(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"{name} 1.")


def test_every_command_that_prints_a_table_prints_json_too() -> None:
    assert {words for words, parser in ALL.items() if "--json" not in parser._option_string_actions} == WITHOUT_A_TABLE


def test_the_ways_to_fill_are_those_that_there_are() -> None:
    assert list(common.FILLS) == list(map(str, FillProfile))


@pytest.mark.parity(57)
def test_how_many_the_optimizer_plays_at_a_time_has_the_originals_names_too() -> None:
    words = (["-c", "3"], ["--concurrency", "3"], ["--concurrency=3"], ["--jobs", "3"])
    assert [PARSERS["optimizer"].parse_args(given).jobs for given in words] == [3] * 4
