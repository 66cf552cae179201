"""Tradeplans of the original load; each mistake is one sentence that names file, key and what was meant."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liualgotrader.common.errors import ConfigError
from liualgotrader.common.secret import without_secrets
from liualgotrader.common.tradeplan import (
    FillProfile,
    Limits,
    Simulation,
    Timings,
    TradePlan,
    load_tradeplan,
    parse_tradeplan,
    read_tradeplan,
    shown,
)

STRATEGY = '[strategies.Breakout]\nfilename = "s.py"\n'
MOMENTUM = """
[scanners.momentum]
min_volume = 30000
min_last_dv = 500000
min_share_price = 2.0
max_share_price = 20.0
from_market_open = 15
"""
EVERYTHING = (
    """
portfolio_value = 25000.0
risk = 0.001
market_liquidation_end_time_minutes = 15
events = ["second", "minute", "trade"]
skip_existing = false
test_scanners = false
bypass_market_schedule = false
file_only = true
gcp_monitor_measure_prefix = "x"
consumers = 3
seed = 7
real_frames = true
keep_picks = true
link = "queue"
[timings]
run_all_seconds = 300
[limits]
orders_per_minute = 10
[simulation]
fills = "touch"
fees = "all"
latency_ms = 2.5
"""
    + MOMENTUM
    + """
today_change_percent = 3.5
recurrence = 5
max_symbols = 100
target_strategy_name = "Breakout"
[scanners.Watchlist]
filename = "s.py"
recurrence = 60
anything_else = "goes to the constructor"
[strategies.Breakout]
filename = "s.py"
portfolio_id = "0b5e7a4e"
lookback = 20
[[strategies.Breakout.schedule]]
start = 15
duration = 150
[optimizer]
start_date = "2021-01-01"
"""
)


@pytest.fixture
def load(tmp_path: Path) -> Any:
    (tmp_path / "s.py").write_text("")

    def load(text: str) -> Any:
        path = tmp_path / "tradeplan.toml"
        path.write_text(text)
        return load_tradeplan(path)

    return load


def test_a_plan_with_every_documented_key_is_read(load: Callable[[str], TradePlan], tmp_path: Path) -> None:
    plan = load(EVERYTHING)
    assert (plan.portfolio_value, plan.risk, plan.events) == (25000.0, 0.001, ("second", "minute", "trade"))
    assert (plan.consumers, plan.seed, plan.link, plan.real_frames, plan.keep_picks) == (3, 7, "queue", True, True)
    assert plan.timings == Timings(run_all_seconds=300)
    assert plan.limits == Limits(orders_per_minute=10)
    assert plan.simulation == Simulation(FillProfile.TOUCH, "all", 2.5)
    assert list(plan.scanners) == ["momentum", "Watchlist"]
    assert plan.scanners["Watchlist"]["anything_else"] == "goes to the constructor"
    assert plan.strategies["Breakout"]["filename"] == str(tmp_path / "s.py")
    assert [(w.start, w.duration) for w in plan.schedule("Breakout")] == [(15, 150)]


def test_what_is_not_said_has_the_documented_default(load: Callable[[str], TradePlan]) -> None:
    plan = load(STRATEGY)
    assert (plan.portfolio_value, plan.market_liquidation_end_time_minutes) == (None, 15)
    assert plan.events == ("second", "minute", "trade", "quote")
    assert not (plan.bypass_market_schedule or plan.skip_existing or plan.test_scanners or plan.file_only)
    assert plan.schedule("Breakout") == ()


@pytest.mark.parametrize("change", ["today_change_percent", "min_gap"])
def test_momentum_takes_both_names_of_its_change(load: Callable[[str], TradePlan], change: str) -> None:
    assert load(STRATEGY + MOMENTUM + f"{change} = 3.5").scanners["momentum"][change] == 3.5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("portfolio_valeu = 1\n" + STRATEGY, "unknown key `portfolio_valeu`; did you mean `portfolio_value`?"),
        ("Strategies = 1\n" + STRATEGY, "unknown key `Strategies`; did you mean `strategies`?"),
        ("xyzzy = 1\n" + STRATEGY, "unknown key `xyzzy`"),
        ('risk = "low"\n' + STRATEGY, "`risk` must be a number, not text"),
        ("risk = true\n" + STRATEGY, "`risk` must be a number, not true or false"),
        ("risk = 2\n" + STRATEGY, "`risk` must be at most 1"),
        ("portfolio_value = 0\n" + STRATEGY, "`portfolio_value` must be more than 0"),
        (
            "market_liquidation_end_time_minutes = 1.5\n" + STRATEGY,
            "`market_liquidation_end_time_minutes` must be a whole number",
        ),
        ("skip_existing = 1\n" + STRATEGY, "`skip_existing` must be true or false, not a whole number"),
        ('events = "trade"\n' + STRATEGY, "`events` must be a list, not text"),
        ('events = ["minutes"]\n' + STRATEGY, "cannot be 'minutes'; it may be second, minute, trade, quote"),
        ("events = []\n" + STRATEGY, "`events` is empty"),
        (
            '[simulation]\nfills = "best"\n' + STRATEGY,
            "`simulation.fills` cannot be 'best'; it may be strict, paper, touch",
        ),
        ('[simulation]\nfees = "low"\n' + STRATEGY, "it may be none, regulatory, commission, all"),
        ("[simulation]\nlatency_ms = -1\n" + STRATEGY, "`simulation.latency_ms` must be at least 0"),
        ("[simulation]\nfee = 1\n" + STRATEGY, "unknown key `fee`; did you mean `fees`?"),
        ('link = "pipe"\n' + STRATEGY, "`link` cannot be 'pipe'; it may be seqpacket, queue"),
        ("consumers = -1\n" + STRATEGY, "`consumers` must be at least 0"),
        (
            STRATEGY + "[timings]\nrun_all_second = 1",
            "[timings]: unknown key `run_all_second`; did you mean `run_all_seconds`?",
        ),
        (STRATEGY + "[timings]\nrun_all_seconds = 0", "`timings.run_all_seconds` must be more than 0"),
        (STRATEGY + "[timings]\nfeed_mute_seconds = 0", "`timings.feed_mute_seconds` must be more than 0"),
        (STRATEGY + "[limits]\norder_dollars = -1", "`limits.order_dollars` must be more than 0"),
        (STRATEGY + "[limits]\norder_dollars = nan", "`limits.order_dollars` must be more than 0"),
        ("", "must have at least one strategy configured"),
        ("[strategies]\n", "must have at least one strategy configured"),
        ("[strategies]\nBreakout = 1", "`strategies.<name>` must be a table, not a whole number"),
        ("[strategies.Breakout]\nlookback = 1", "[strategies.Breakout] needs `filename`"),
        ("[strategies.Breakout]\nfilename = 3", "[strategies.Breakout] `filename` must be text, not a whole number"),
        ('[strategies.Breakout]\nfilename = "no.py"', "[strategies.Breakout] `filename` is 'no.py', but"),
        (STRATEGY + "schedule = 3", "[strategies.Breakout] `schedule` must be a list, not a whole number"),
        (STRATEGY + "schedule = [{start = 1}]", "[strategies.Breakout] `schedule[0]` needs `duration`"),
        (STRATEGY + 'own_process = "yes"', "[strategies.Breakout] `own_process` must be true or false, not text"),
        (STRATEGY + "portfolio_id = 3", "[strategies.Breakout] `portfolio_id` must be text, not a whole number"),
        ("risk = nan\n" + STRATEGY, "`risk` must be more than 0"),
        ("portfolio_value = inf\n" + STRATEGY, "`portfolio_value` must be at most 1e+15"),
        (
            "market_liquidation_end_time_minutes = 0\n" + STRATEGY,
            "`market_liquidation_end_time_minutes` must be at least 1 (minutes before the close)",
        ),
        (
            "market_liquidation_end_time_minutes = 500\n" + STRATEGY,
            "`market_liquidation_end_time_minutes` must be at most 389 (minutes before the close)",
        ),
        (STRATEGY + "[timings]\nhistory_sessions = 1000000", "`timings.history_sessions` must be at most 100"),
        (STRATEGY + "[limits]\nmax_symbols = 0", "`limits.max_symbols` must be at least 1"),
        (STRATEGY + "[limits]\norder_dollars = inf", "`limits.order_dollars` must be at most 1e+15"),
        (
            STRATEGY + "schedule = [{start = -5, duration = 1}]",
            "`schedule[0].start` must be at least 0 (minutes after the open)",
        ),
        (
            STRATEGY + "schedule = [{start = 500, duration = 1}]",
            "`schedule[0].start` must be less than 390 (minutes after the open)",
        ),
        (STRATEGY + "schedule = [{start = 5, duration = 0}]", "`schedule[0].duration` must be more than 0"),
        (
            STRATEGY + "schedule = [{start = 5, duration = inf}]",
            "[strategies.Breakout] `schedule[0].duration` must be at most 1e+15",
        ),
        (
            STRATEGY + "schedule = [{start = 5, duraton = 3}]",
            "`schedule`: unknown key `duraton`; did you mean `duration`?",
        ),
        (
            STRATEGY + MOMENTUM + "min_gap = 3\nmax_symbols = 0",
            "[scanners.momentum] `max_symbols` must be at least 1",
        ),
        (STRATEGY + MOMENTUM + "min_gap = 3\nmax_symbols = 1.5", "[scanners.momentum] `max_symbols` must be a whole"),
        (STRATEGY + MOMENTUM + "min_gap = inf", "[scanners.momentum] `min_gap` must be at most 1e+15"),
        (
            STRATEGY + MOMENTUM.replace("market_open = 15", "market_open = 391") + "min_gap = 3",
            "[scanners.momentum] `from_market_open` must be less than 390 (minutes after the open)",
        ),
        (
            STRATEGY + MOMENTUM.replace("min_share_price = 2.0", "min_share_price = 30") + "min_gap = 3",
            "[scanners.momentum] `min_share_price` is above `max_share_price`",
        ),
        (STRATEGY + "[scanners.W]", "[scanners.W] needs `filename`"),
        (
            STRATEGY + "[scanners.momentm]",
            "[scanners.momentm] needs `filename`, the Python file that holds the class; did you mean `momentum`?",
        ),
        (
            STRATEGY + '[scanners.W]\nfilename = "s.py"\nrecurrence = 0',
            "[scanners.W] `recurrence` must be more than 0",
        ),
        (
            STRATEGY + '[scanners.W]\nfilename = "s.py"\ntarget_strategy_name = "breakout"',
            "[scanners.W] `target_strategy_name` is 'breakout', which is not a strategy; did you mean `Breakout`?",
        ),
        (STRATEGY + MOMENTUM, "[scanners.momentum] needs `today_change_percent`"),
        (STRATEGY + MOMENTUM + f"min_gap = {10**400}", "[scanners.momentum] `min_gap`: Number out of range"),
        (STRATEGY + f"[timings]\nhistory_sessions = {10**400}", "`timings.history_sessions` must be at most 100"),
        (STRATEGY + "x = " + "9" * 5000, "is not valid TOML"),
        (STRATEGY + "x = " + "[" * 3000, "is not valid TOML"),
        (
            '[strategies.B]\nfilename = "~nosuchuser/x.py"',
            "`filename` is '~nosuchuser/x.py', but there is no such home",
        ),
        (f'[strategies.B]\nfilename = "{"x" * 300}.py"', "but it cannot be read: File name too long"),
        (STRATEGY + "[scanners.momentum]\nmin_gap = 1", "[scanners.momentum] needs `min_last_dv`"),
        (STRATEGY + MOMENTUM + 'min_gap = "3"', "[scanners.momentum] `min_gap` must be a number, not text"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_file_and_key(
    load: Callable[[str], TradePlan], tmp_path: Path, text: Any, sentence: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(text)
    assert sentence in str(error.value)
    assert str(tmp_path / "tradeplan.toml") in str(error.value)
    assert "\n" not in str(error.value)


def test_the_mark_at_the_beginning_that_editors_of_windows_write_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "tradeplan.toml").write_bytes(b"\xef\xbb\xbfrisk = 0.002\n")
    assert read_tradeplan(tmp_path / "tradeplan.toml") == {"risk": 0.002}


def test_malformed_toml_names_the_line(load: Callable[[str], TradePlan]) -> None:
    with pytest.raises(ConfigError, match=r"is not valid TOML: .*line 2"):
        load("risk = 0.1\nrisk == 2\n")


def test_a_missing_file_and_a_folder_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"there is no tradeplan .*nowhere.toml: name yours with --tradeplan .*`liu new strategy NAME`",
    ):
        load_tradeplan(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="is a folder: name the tradeplan in it"):
        load_tradeplan(tmp_path)


def test_a_plan_that_only_tests_scanners_needs_no_strategy(load: Callable[[str], TradePlan]) -> None:
    assert load("test_scanners = true").strategies == {}


def test_a_filename_is_found_beside_the_plan_and_else_in_the_working_directory(
    load: Callable[[str], TradePlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "only_here.py").write_text("")
    monkeypatch.chdir(elsewhere)
    plan = load('[strategies.A]\nfilename = "s.py"\n[strategies.B]\nfilename = "only_here.py"')
    assert plan.strategies["A"]["filename"] == str(tmp_path / "s.py")
    assert plan.strategies["B"]["filename"] == str(elsewhere / "only_here.py")


def test_a_plan_survives_the_way_through_json(load: Callable[[str], TradePlan]) -> None:
    plan = load(EVERYTHING + '[strategies.Dated]\nfilename = "s.py"\nfirst_day = 2021-01-01\nlimit = inf\n')
    through = TradePlan.from_dict(msgspec.json.decode(msgspec.json.encode(plan.as_dict())))
    assert through == plan
    assert through.strategies["Dated"]["first_day"] == dt.date(2021, 1, 1)


def test_values_that_sound_like_secrets_are_not_shown(load: Callable[[str], TradePlan]) -> None:
    plan = load(STRATEGY + 'api_key = "hush"\nmy_password = "hush"\nlookback = 3')
    assert without_secrets(plan.as_dict())["strategies"]["Breakout"]["lookback"] == 3
    assert all("hush" not in str(row) for row in shown(plan, {}))


def test_secrets_in_a_list_of_tables_are_not_shown_either(load: Callable[[str], TradePlan]) -> None:
    plan = load(STRATEGY + 'accounts = [{name = "a", token = "hush"}, {name = "b", deeper = [{token = "hush"}]}]')
    told = without_secrets(plan.as_dict())["strategies"]["Breakout"]["accounts"]
    assert told == [{"name": "a", "token": "***"}, {"name": "b", "deeper": [{"token": "***"}]}]


def test_keys_are_shown_with_their_source_although_they_say_what_the_default_is(
    load: Callable[[str], TradePlan], tmp_path: Path
) -> None:
    plan = load("risk = 0.001\n" + STRATEGY + "[timings]\nreconcile_seconds = 60\n")
    rows = {key: (value, source) for key, value, source in shown(plan, read_tradeplan(tmp_path / "tradeplan.toml"))}
    assert rows["risk"] == ("0.001", "tradeplan")
    assert rows["skip_existing"] == ("False", "default")
    assert rows["timings.reconcile_seconds"] == ("60.0", "tradeplan")
    assert rows["timings.run_all_seconds"] == ("60.0", "default")


def test_events_inside_scanners_mean_the_same_as_samples_of_the_original_have_them(
    load: Callable[[str], TradePlan],
) -> None:
    plan = load('[scanners]\nevents = ["second", "trade"]\n' + MOMENTUM + "min_gap = 3.5\n" + STRATEGY)
    assert plan.events == ("second", "trade")
    assert list(plan.scanners) == ["momentum"]
    with pytest.raises(ConfigError, match=r"`events` stands at the top and in \[scanners\], and they differ"):
        load('events = ["minute"]\n[scanners]\nevents = ["trade"]\n' + STRATEGY)
    with pytest.raises(ConfigError, match="cannot be 'trades'"):
        load('[scanners]\nevents = ["trades"]\n' + STRATEGY)


def test_a_working_directory_that_is_gone_does_no_harm_to_a_plan_elsewhere(
    load: Callable[[str], TradePlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load(STRATEGY).strategies["Breakout"]["filename"] == str(tmp_path / "s.py")
    with pytest.raises(ConfigError, match=r"no\.py does not exist"):
        load('[strategies.B]\nfilename = "no.py"')


def test_a_folder_given_as_filename_is_called_a_folder(load: Callable[[str], TradePlan], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"`filename` is '{tmp_path}', but {tmp_path} is a folder"):
        load(f'[strategies.A]\nfilename = "{tmp_path}"')


def test_a_session_may_leave_its_strategies_to_the_database_if_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "tradeplan.toml"
    assert parse_tradeplan({"file_only": False}, path, of_session=True).strategies == {}
    (tmp_path / "s.py").touch()
    strategy = {"Breakout": {"filename": "s.py"}}
    scanner = {"Mine": {"filename": "s.py", "target_strategy_name": "InTheDatabase"}}
    parse_tradeplan({"file_only": False, "strategies": strategy, "scanners": scanner}, path, of_session=True)
    with pytest.raises(ConfigError, match="not a strategy"):
        parse_tradeplan({"strategies": strategy, "scanners": scanner}, path, of_session=True)
    for table, of_session in (({"file_only": False}, False), ({"file_only": True}, True), ({}, True)):
        with pytest.raises(ConfigError, match="at least one strategy"):
            parse_tradeplan(table, path, of_session=of_session)
