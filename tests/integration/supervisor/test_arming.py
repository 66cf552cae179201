"""Real money: what has to be said and shown before it may be traded, and what is shown then."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import liualgotrader.common.session_plan as session_plan
import liualgotrader.supervisor.arming as arming_module
import liualgotrader.supervisor.prepare as prepare
from liualgotrader.common.clock import WallClock
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import BrokerUnreachable, ConfigError, LiuError
from liualgotrader.common.orders import BrokerAccount
from liualgotrader.common.session_plan import Arming
from liualgotrader.common.tradeplan import Limits, load_tradeplan
from liualgotrader.supervisor.arming import (
    LiveMoney,
    Proof,
    UnfinishedLive,
    environment_of,
    first_limits,
    hash_of,
    keep_proof,
    proofs_of,
    why_unarmed,
)
from liualgotrader.supervisor.plan_inspection import inspect_tradeplan
from liualgotrader.supervisor.prepare import Preparation
from liualgotrader.supervisor.request import TraderRequest
from tests.fakes.supervisor import RecordingScreen

LIVE = {"APCA_API_BASE_URL": "https://api.alpaca.markets"}
NOTHING = UnfinishedLive()
PROOF = Proof("0b5e7a4e-0000-4000-8000-000000000000", "2024-06-03", 4)
PLAN = """
protection = "local"
[limits]
order_dollars = 1000
[scanners.Watch]
filename = "watch.py"
[strategies.Breakout]
filename = "breakout.py"
lookback = 20
"""
BREAKOUT = """
import helper
from liualgotrader.strategies.base import Strategy

class Breakout(Strategy):
    def __init__(self, lookback=20, **base):
        super().__init__(**base)

    def on_bar(self, ctx, bar):
        from signals import later
        return later.size() + helper.SIZE
"""
WATCH = """
from liualgotrader.scanners.base import Scanner

class Watch(Scanner):
    async def run(self, back_time=None):
        return ["AAPL"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tradeplan with a strategy, a scanner, a helper that is loaded, and one that is imported inside a function."""
    plan = tmp_path / "plan"
    (plan / "signals").mkdir(parents=True)
    texts = {
        "tradeplan.toml": PLAN,
        "breakout.py": BREAKOUT,
        "watch.py": WATCH,
        "helper.py": "SIZE = 1\n",
        "signals/__init__.py": "",
        "signals/later.py": "def size():\n    return 2\n",
        "unrelated.py": "x = 1\n",
    }
    for name, text in texts.items():
        (plan / name).write_text(text)
    return plan


def hashed(folder: Path, **environment: str) -> str:
    settings = Settings.resolve({"tradeplan": str(folder / "tradeplan.toml")}, environment)
    plan = load_tradeplan(folder / "tradeplan.toml")
    return hash_of(settings, plan, inspect_tradeplan(plan).files)


# --- what a plan is


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("tradeplan.toml", "lookback = 20", "lookback = 21"),
        ("tradeplan.toml", "order_dollars = 1000", "order_dollars = 1001"),
        ("breakout.py", "helper.SIZE", "helper.SIZE * 2"),
        ("watch.py", "AAPL", "MSFT"),
        ("helper.py", "SIZE = 1", "SIZE = 2"),
        ("signals/later.py", "return 2", "return 3"),
    ],
)
def test_a_plan_is_another_one_with_any_other_key_limit_or_file(
    folder: Path, name: str, before: str, after: str
) -> None:
    first = hashed(folder)
    path = folder / name
    path.write_text(path.read_text().replace(before, after))
    assert hashed(folder) != first


def test_a_plan_stays_the_same_where_it_moves_as_a_whole_and_beside_files_that_are_not_its_own(folder: Path) -> None:
    first = hashed(folder)
    (folder / "unrelated.py").write_text("x = 2\n")
    moved = folder.parent / "elsewhere" / "plan"
    shutil.copytree(folder, moved)
    assert hashed(folder) == hashed(moved) == first
    assert hashed(folder, LIU_MAX_SYMBOLS="7") != first


# --- what has to be said and shown


def said(*, live: bool = True, **environment: str) -> tuple[TraderRequest, Settings]:
    return TraderRequest(live=live), Settings.resolve({}, LIVE | environment)


@pytest.mark.parametrize(
    ("live", "digits", "protection", "proven", "sentence"),
    [
        (False, "", "local", ["PAPER"], "is real money: say so with `trader --live`"),
        (True, "", "", ["PAPER"], r"stops that rest at the broker .* set protection = \"local\" in the tradeplan"),
        (
            True,
            "",
            "broker",
            ["PAPER"],
            r"stops that rest at the broker .* set protection = \"local\" in the tradeplan",
        ),
        (True, "", "local", [], "has not ended a paper or simulated session in which it traded"),
        (True, "", "local", ["PROD"], "has not ended a paper or simulated session in which it traded"),
        (True, "12", "local", ["PAPER"], "LIU_LIVE must be the last four .* but 2 characters are set"),
        (True, "987612345", "local", ["PAPER"], r"LIU_LIVE must be the last four [^0-9]* but 9 characters are set$"),
        (True, "", "local", ["PAPER"], ""),
        (True, "", "local", ["SIMULATED"], ""),
        (False, "1234", "local", ["SIMULATED"], ""),
    ],
)
def test_real_money_is_armed_by_word_protection_and_proof_and_by_nothing_less(
    folder: Path, live: bool, digits: str, protection: str, proven: list[str], sentence: str
) -> None:
    plan = msgspec.structs.replace(load_tradeplan(folder / "tradeplan.toml"), protection=protection)
    why = why_unarmed(*said(live=live, LIU_LIVE=digits), plan, dict.fromkeys(proven, PROOF))
    assert bool(why) == bool(sentence)
    if sentence:
        with pytest.raises(ConfigError, match=sentence):
            raise ConfigError(why)


@pytest.mark.parametrize(
    ("request_", "url", "environment"),
    [
        (TraderRequest(), "https://api.alpaca.markets", "PROD"),
        (TraderRequest(), "https://API.alpaca.markets:443/v2/", "PROD"),
        (TraderRequest(), "https://paper-api.alpaca.markets", "PAPER"),
        (TraderRequest(live=True), "https://paper-api.alpaca.markets", "PAPER"),
        (TraderRequest(), "http://127.0.0.1:8000", "PAPER"),
        (TraderRequest(simulate=True), "https://api.alpaca.markets", "SIMULATED"),
    ],
)
def test_rows_say_prod_where_orders_go_to_the_live_address_exactly(
    request_: TraderRequest, url: str, environment: str
) -> None:
    assert environment_of(request_, Settings.resolve({}, {"APCA_API_BASE_URL": url})) == environment


def test_a_proof_is_kept_by_plan_and_environment_and_a_damaged_file_proves_nothing(tmp_path: Path) -> None:
    keep_proof(tmp_path, "aa", "SIMULATED", PROOF)
    keep_proof(tmp_path, "aa", "PROD", PROOF)
    assert (set(proofs_of(tmp_path, "aa")), set(proofs_of(tmp_path, "bb"))) == ({"SIMULATED", "PROD"}, set())
    (tmp_path / "proofs" / "aa.json").write_text("{")
    assert proofs_of(tmp_path, "aa") == {}


@given(st.builds(Limits, *[st.floats(0, 1e9)] * 8))
def test_a_first_session_has_a_tenth_of_every_limit_of_what_it_opens_and_all_of_the_others(limits: Limits) -> None:
    first = first_limits(limits)
    closing = "daily_loss_flatten_fraction"
    for name in Limits.__struct_fields__:
        whole = name in (
            "orders_per_minute",
            "open_orders",
            "collar_fraction",
            "quote_age_seconds",
            "max_symbols",
            closing,
        )
        assert getattr(first, name) == pytest.approx(getattr(limits, name) * (1 if whole else 0.1))


# --- what is said then


class Recorder(WallClock):
    """A clock that does not wait, and writes down when it was asked to."""

    def __init__(self, screen: RecordingScreen) -> None:
        self._screen = screen

    async def sleep(self, seconds: float) -> None:
        self._screen.lines.append(f"(waited {seconds:g} s)")


@pytest.fixture
def arm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that arms a proven plan on the account …1234 and returns the arming and what was shown."""

    async def made(
        earlier: UnfinishedLive = NOTHING,
        *,
        live: bool = True,
        answer: Any = "PA001234",
        proven: bool = True,
        own: bool = True,
        **environment: str,
    ) -> Any:
        async def account(settings: Settings) -> BrokerAccount:
            if isinstance(answer, LiuError):
                raise answer
            money = Decimal("12345.67")
            return BrokerAccount(answer, "ACTIVE", money, money, money, money, True, False)

        monkeypatch.setattr(arming_module, "live_account", account)
        home = folder.parent / "home"
        home.mkdir(exist_ok=True)
        settings = Settings.resolve(
            {"tradeplan": str(folder / "tradeplan.toml"), "home": str(home)}, LIVE | environment
        )
        plan, screen = load_tradeplan(folder / "tradeplan.toml"), RecordingScreen()
        found = inspect_tradeplan(plan)
        shutil.rmtree(home / "proofs", ignore_errors=True)
        if proven:
            keep_proof(home, hash_of(settings, plan, found.files), "SIMULATED", PROOF)
        money = LiveMoney(TraderRequest(live=live), settings, plan, screen, lambda text: None, Recorder(screen))
        if earlier.today:
            now = hash_of(settings, plan, found.files)
            earlier = msgspec.structs.replace(earlier, plan=now if own else f"{now} before an edit")
        return await money.arm(found.files, "", earlier), screen

    return made


async def test_account_environment_equity_limits_and_protection_are_read_for_ten_seconds_before_anything_starts(
    arm: Callable[..., Any],
) -> None:
    arming, screen = await arm()
    assert arming == Arming("1234")
    assert screen.lines[0] == "REAL MONEY: account …1234, PROD, equity 12,345.67 $"
    assert "an order 1.0% of equity and 100 $, a position 2.0%, all 10.0%, short 5.0%" in screen.lines[1]
    assert "at a tenth of the tradeplan's limits" in screen.lines[2]
    assert "protection: local" in screen.lines[3]
    assert screen.lines[-2:] == ["nothing starts for 10 seconds; Ctrl-C ends it", "(waited 10 s)"]


async def test_full_size_is_said_by_an_option_or_a_variable_and_shown(arm: Callable[..., Any]) -> None:
    _, screen = await arm(LIU_FULL_SIZE="1")
    assert "an order 10.0% of equity and 1,000 $" in screen.lines[1]
    assert "at all of the tradeplan's limits" in screen.lines[2]


async def test_the_last_four_must_be_those_of_the_account_that_the_keys_open(arm: Callable[..., Any]) -> None:
    assert (await arm(live=False, LIU_LIVE="1234"))[0] == Arming("1234")
    with pytest.raises(ConfigError, match=r"LIU_LIVE names the account …9999, but the keys open …1234"):
        await arm(live=False, LIU_LIVE="9999")
    with pytest.raises(ConfigError, match="LIU_LIVE names the account …1234, but the keys open …:"):
        await arm(LIU_LIVE="1234", answer="")


async def test_a_batch_of_today_is_taken_up_at_once_whatever_is_said_shown_or_answered_with_entries_shut(
    arm: Callable[..., Any],
) -> None:
    gone = BrokerUnreachable("account: no answer from Alpaca")
    changes: list[tuple[dict[str, Any], str]] = [
        ({"live": False}, "say so with `trader --live`"),
        ({"proven": False}, "has not ended a paper or simulated session"),
        ({"LIU_LIVE": "9999"}, "LIU_LIVE names the account"),
        ({"answer": gone}, "no answer from Alpaca"),
    ]
    for change, why in changes:
        arming, screen = await arm(UnfinishedLive(today=True, open=True), **change)
        assert why in arming.refusal
        assert screen.lines == []
        assert "open positions are managed, and no new ones are opened" in screen.warnings[0]
    arming, screen = await arm(UnfinishedLive(today=True, open=True))
    assert (arming, screen.lines, screen.warnings) == (Arming("1234"), [], [])


async def test_another_plan_than_that_of_the_batch_opens_nothing_in_it_before_a_person_could_read_whose_money_it_is(
    arm: Callable[..., Any],
) -> None:
    arming, screen = await arm(UnfinishedLive(today=True, open=True), own=False)
    assert arming == Arming("1234")
    assert "at a tenth of the tradeplan's limits" in screen.lines[2]
    assert screen.lines[-1] == "(waited 10 s)"
    arming, screen = await arm(UnfinishedLive(today=True, open=True), own=False, proven=False)
    assert "has not ended a paper or simulated session" in arming.refusal
    assert screen.lines == []


async def test_what_earlier_days_left_open_is_looked_after_without_a_proof_but_not_without_a_word(
    arm: Callable[..., Any],
) -> None:
    arming, screen = await arm(UnfinishedLive(open=True), proven=False)
    assert arming.account == "1234"
    assert "has not ended a paper or simulated session" in arming.refusal
    assert screen.lines == []
    with pytest.raises(ConfigError, match="say so with `trader --live`"):
        await arm(UnfinishedLive(open=True), live=False)
    with pytest.raises(ConfigError, match="LIU_LIVE names the account"):
        await arm(UnfinishedLive(open=True), proven=False, LIU_LIVE="9999")
    arming, screen = await arm(UnfinishedLive(open=True))
    assert (arming, screen.lines[-1]) == (Arming("1234"), "(waited 10 s)")


async def test_a_session_that_opens_nothing_keeps_all_limits_and_does_not_count_as_the_first(folder: Path) -> None:
    settings = Settings.resolve({"tradeplan": str(folder / "tradeplan.toml"), "home": str(folder)}, LIVE)
    plan, screen = load_tradeplan(folder / "tradeplan.toml"), RecordingScreen()
    money = LiveMoney(TraderRequest(live=True), settings, plan, screen, lambda text: None, Recorder(screen))
    shut, armed = Arming("1234", "no proof"), Arming("1234")
    assert (money.share((), shut), money.share((), armed)) == (None, False)
    own = hash_of(settings, plan, ())

    def dollars(batch_plan: str) -> list[float]:
        made = [{"plan": batch_plan, "full_size": share} for share in (None, False, True)]
        return [
            money.limits((), arming, configuration).order_dollars for arming in (shut, armed) for configuration in made
        ]

    assert dollars(own) == [1000, 100, 1000, 100, 100, 1000]
    assert dollars("of another plan, which had its share") == [1000, 1000, 1000, 100, 100, 100]


async def test_nobody_is_asked_to_wait_for_a_refusal_that_is_known_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.resolve({"tradeplan": str(folder / "tradeplan.toml"), "home": str(folder / "home")}, LIVE)
    (folder / "home").mkdir()
    monkeypatch.setattr(prepare, "inspect_tradeplan", lambda plan: pytest.fail("files were loaded"))
    plan, screen = load_tradeplan(folder / "tradeplan.toml"), RecordingScreen()
    nobody = Preparation(TraderRequest(), settings, plan, screen, {}, lambda t: None, lambda t: None, Recorder(screen))
    with pytest.raises(ConfigError, match=f"^{session_plan.LIVE_URL} is real money"):
        async with AsyncExitStack() as cleanup:
            await nobody.run(cleanup)
