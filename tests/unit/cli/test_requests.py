"""Which sessions a command line asks for, one after another."""

from __future__ import annotations

from pathlib import Path

import pytest

from liualgotrader.cli.trader import requests
from liualgotrader.cli.trader_arguments import parse, request_from
from liualgotrader.common.errors import ConfigError
from liualgotrader.supervisor.request import kept_account


def asked(*words: str, home: Path) -> list[tuple[str, str, str]]:
    found = requests(request_from(parse(["--simulate", *words])), home)
    return [(r.day, r.window_to, r.state) for r in found]


def test_two_dates_are_every_trading_day_between_them_on_one_account(tmp_path: Path) -> None:
    # 2024-07-04 is a holiday, the 6th and 7th are a weekend
    found = asked("--date", "2024-07-03", "--to", "2024-07-08", home=tmp_path)
    assert [day for day, _, _ in found] == ["2024-07-03", "2024-07-05", "2024-07-08"]
    [state] = {state for _, _, state in found}
    assert Path(state).parent == tmp_path / "accounts"
    assert {window for _, window, _ in found} == {""}
    kept = str(tmp_path / "mine")
    assert {s for _, _, s in asked("--date", "2024-07-03", "--to", "2024-07-05", "--state", kept, home=tmp_path)} == {
        kept
    }


def test_a_time_is_a_window_of_one_session_on_a_new_account(tmp_path: Path) -> None:
    assert asked("--date", "2024-07-03", "--to", "10:15", home=tmp_path) == [("2024-07-03", "10:15", "")]


@pytest.mark.parametrize("last", ["2024-07-07", "2024-07-01"])
def test_days_without_a_session_are_one_sentence(tmp_path: Path, last: str) -> None:
    with pytest.raises(
        ConfigError, match=f"there is no trading day from 2024-07-06 to {last}; the next one is 2024-07-08"
    ):
        asked("--date", "2024-07-06", "--to", last, home=tmp_path)


def test_a_folder_keeps_its_account_and_another_file_in_its_place_is_refused(tmp_path: Path) -> None:
    first = kept_account(tmp_path / "a", "2024-06-03")
    again = kept_account(tmp_path / "a", "2024-06-07")
    assert (again.number, again.since, again.played) == (first.number, "2024-06-03", "")
    assert kept_account(tmp_path / "b", "2024-06-03").number != first.number
    (tmp_path / "a" / "account").write_text("mine\n")
    with pytest.raises(ConfigError, match="names no account of a simulated market"):
        kept_account(tmp_path / "a", "2024-06-03")
    with pytest.raises(ConfigError, match="cannot keep an account"):
        kept_account(tmp_path / "a" / "account", "2024-06-03")
    (tmp_path / "b" / "market.state").write_bytes(b"2024-06-03\n{not json")
    with pytest.raises(ConfigError, match="cannot keep an account"):
        kept_account(tmp_path / "b", "2024-06-04")
