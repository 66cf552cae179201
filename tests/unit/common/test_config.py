"""Where settings come from, what secrets show, and what the original's code reads."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from liualgotrader.common import config
from liualgotrader.common.config import Secrets, Settings
from liualgotrader.common.environment import environment
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.secret import Secret
from liualgotrader.common.session_plan import Endpoints, Hours, SessionPlan
from liualgotrader.common.tradeplan import TradePlan


def resolve(
    command_line: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    tradeplan: dict[str, Any] | None = None,
) -> Settings:
    return Settings.resolve(command_line or {}, environment or {}, tradeplan or {})


@pytest.mark.parametrize(
    ("command_line", "environment", "tradeplan", "value", "source"),
    [
        (4, "3", 2, 4, "command line"),
        (None, "3", 2, 3, "environment"),
        (None, "", 2, 2, "tradeplan"),
        (None, None, None, 0, "default"),
    ],
)
def test_the_command_line_comes_before_the_environment_before_the_tradeplan(
    command_line: int | None, environment: str | None, tradeplan: int | None, value: int, source: str
) -> None:
    settings = resolve(
        {"consumers": command_line},
        {} if environment is None else {"NUM_CONSUMERS": environment},
        {} if tradeplan is None else {"consumers": tradeplan},
    )
    assert (settings.consumers, settings.source("consumers")) == (value, source)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"NUM_CONSUMERS": "many"}, "NUM_CONSUMERS is 'many', but it must be a whole number"),
        ({"NUM_CONSUMERS": "-1"}, "NUM_CONSUMERS is '-1', but it must be at least 0"),
        ({"CPU_FACTOR": "x"}, "CPU_FACTOR is 'x', but it must be a number"),
        ({"CPU_FACTOR": "nan"}, "CPU_FACTOR is 'nan', but it must be a number"),
        ({"CPU_FACTOR": "inf"}, "CPU_FACTOR is 'inf', but it must be a number"),
        ({"CPU_FACTOR": "-1"}, "CPU_FACTOR is '-1', but it must be at least 0"),
        ({"LIU_SEED": "-1"}, "LIU_SEED is '-1', but it must be at least 0"),
        ({"LIU_MAX_SYMBOLS": "0"}, "LIU_MAX_SYMBOLS is '0', but it must be at least 1"),
        ({"LIU_DEBUG_ENABLED": "maybe"}, "LIU_DEBUG_ENABLED is 'maybe', but it must be 0 or 1"),
        ({"ALPACA_DATA_FEED": "otc"}, "ALPACA_DATA_FEED is 'otc', but it must be one of sip, iex"),
        ({"LIU_BROKER": "nobody"}, "LIU_BROKER is 'nobody', but it must be one of alpaca, gemini, tradier"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named_with_its_variable(environment: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(environment=environment)
    assert str(error.value) == sentence


@pytest.mark.parity(2)
def test_every_documented_variable_is_read() -> None:
    settings = resolve(
        environment={
            "DSN": "postgresql://a",
            "TRADEPLAN_DIR": "/plans",
            "DATA_CONNECTOR": "polygon",
            "LIU_BROKER": "tradier",
            "NUM_CONSUMERS": "8",
            "CPU_FACTOR": "1.5",
            "LIU_DEBUG_ENABLED": "1",
            "LIU_TRACE_ENABLED": "0",
            "LIU_MAX_SYMBOLS": "50",
            "APCA_API_BASE_URL": "https://api.example.com",
            "APCA_API_KEY_ID": "k",
            "APCA_API_SECRET_KEY": "s",
            "ALPACA_DATA_FEED": "iex",
            "LIU_HOME": "/h",
            "POLYGON_API_KEY": "p",
        }
    )
    assert settings.polygon_key.reveal() == "p"
    assert settings.endpoints.data_url == "https://api.polygon.io"
    assert settings.endpoints.stream_url == "wss://socket.polygon.io/stocks"
    assert settings.endpoints.trading_url == "https://api.example.com"
    assert settings.dsn.reveal() == "postgresql://a"
    assert str(settings.tradeplan_path) == "/plans/tradeplan.toml"
    assert (settings.data_connector, settings.broker, settings.data_feed) == ("polygon", "tradier", "iex")
    assert (settings.consumers, settings.cpu_factor, settings.max_symbols) == (8, 1.5, 50)
    assert (settings.debug, settings.trace, str(settings.home_path)) == (True, False, "/h")
    assert (settings.key_id.reveal(), settings.secret_key.reveal()) == ("k", "s")


@pytest.mark.parity(13)
@pytest.mark.parametrize("said", ["5", "8", "500"])
def test_the_number_of_consumers_that_is_set_is_the_number_used(said: str) -> None:
    assert resolve(environment={"NUM_CONSUMERS": said}).consumer_count(4) == int(said)


@pytest.mark.parity(13)
@pytest.mark.parametrize(("cores", "consumers"), [(1, 1), (2, 1), (3, 2), (5, 4), (64, 4)])
def test_consumers_leave_a_core_free_and_are_four_at_most(cores: int, consumers: int) -> None:
    assert resolve().consumer_count(cores) == consumers


@pytest.mark.parity(13)
@pytest.mark.parametrize(("factor", "cores", "consumers"), [("2", 4, 8), ("0.5", 3, 2), ("0", 8, 1)])
def test_the_cpu_factor_multiplies_cores_when_it_is_set(factor: str, cores: int, consumers: int) -> None:
    assert resolve(environment={"CPU_FACTOR": factor}).consumer_count(cores) == consumers


def test_a_secret_shows_nothing_of_itself() -> None:
    secret = Secret("s3cret-key")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{secret}", repr({"k": secret})]
    assert all("s3cret" not in text for text in shown)
    assert secret.reveal() == "s3cret-key"
    assert (bool(Secret("")), Secret("a") == Secret("a"), Secret("a") == "a") == (False, True, False)
    with pytest.raises(TypeError, match="not written anywhere"):
        pickle.dumps(secret)


def test_settings_are_shown_with_source_and_without_secrets() -> None:
    settings = resolve(environment={"APCA_API_KEY_ID": "PKABC", "DSN": "postgresql://u:hush@h/d"})
    shown = {name: (value, source) for name, value, source in settings.shown()}
    assert shown["key_id"] == ("***", "environment")
    assert shown["dsn"] == ("***", "environment")
    assert shown["data_feed"] == ("sip", "default")
    assert "hush" not in str(settings)


def test_secrets_hide_themselves_in_text() -> None:
    secrets = Secrets(Secret("PKABC"), Secret("hushhush"), Secret("postgresql://u:p4ssword@h/d"))
    assert secrets.hide("PKABC said hushhush to p4ssword") == "*** said *** to ***"


def test_a_session_environment_without_vendors_holds_only_the_given_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "APCA_API_BASE_URL",
        "APCA_API_KEY_ID",
        "POLYGON_API_KEY",
        "TRADIER_ACCESS_TOKEN",
        "GEMINI_API_KEY",
        "DSN",
    ):
        monkeypatch.setenv(name, "from outside")
    for name in ("APCA_API_SECRET_KEY", "LIU_SESSION_DSN"):
        monkeypatch.setenv(name, "")
    config.enter_session_environment(Secrets(Secret("id"), Secret("key"), Secret("dsn")), keep_vendors=False)
    assert "from outside" not in environment().values()
    assert Secrets.from_environment() == Secrets(Secret("id"), Secret("key"), Secret("dsn"))


@pytest.mark.parity(9)
def test_the_originals_attributes_show_the_running_session() -> None:
    assert (config.risk, config.default_stop, config.group_margin) == (0.001, 0.95, 0.02)
    assert (config.portfolio_value, config.batch_id) == (None, "")
    with config.session_view(risk=0.01, batch_id="b", db_conn_pool="pool"):
        with config.session_view(env="PAPER"):
            assert (config.risk, config.batch_id, config.db_conn_pool, config.env) == (0.01, "b", "pool", "PAPER")
        assert config.env == ""
    assert config.risk == 0.001
    with pytest.raises(AttributeError):
        _ = config.no_such_thing
    with pytest.raises(TypeError, match="no session attribute 'riks'"), config.session_view(riks=1):
        pass


def test_a_process_shows_its_session_to_the_originals_code() -> None:
    hours = Hours(
        day="2024-06-03", opens_at=1_717_421_400 * 10**9, closes_at=1_717_444_800 * 10**9, liquidates_at=0, ends_at=0
    )
    endpoints = Endpoints("", "", "", "", loopback=True)
    plan = SessionPlan(
        batch_id="b", environment="SIMULATED", hours=hours, simulated_clock=True, endpoints=endpoints, run_dir="",
        journal_dir="", log_dir="", consumers=1, slots=(), tradeplan=TradePlan(risk=0.02, portfolio_value=5.0),
        tradeplan_dir="", seed=0, build_number="v1",
    )  # fmt: skip
    with config.session_view():
        config.show_session(plan, "pool")
        assert (config.risk, config.portfolio_value, config.batch_id, config.db_conn_pool) == (0.02, 5.0, "b", "pool")
        assert (config.env, config.build_label) == ("SIMULATED", "v1")
        assert f"{config.market_open:%H:%M %Z}" == "09:30 EDT"
    assert config.batch_id == ""


def test_a_home_folder_that_nobody_has_is_said() -> None:
    with pytest.raises(
        ConfigError, match="LIU_HOME is '~nosuchuser/liu', and there is no such home folder: set LIU_HOME"
    ):
        resolve(environment={"LIU_HOME": "~nosuchuser/liu"}).home_path  # noqa: B018 - it is looked up here


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> None:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("liualgotrader.common.config.default_home", nowhere)
    with pytest.raises(ConfigError, match=r"^there is no such home folder: set LIU_HOME"):
        resolve().home_path  # noqa: B018


@pytest.mark.parametrize("variable", ["APCA_API_BASE_URL", "APCA_API_DATA_URL", "ALPACA_STREAM_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "paper-api.alpaca.markets",
        "https://",
        "http://[bad",
        "https://host:70000",
        r"https://live.example\@paper.example",
    ],
)
def test_an_endpoint_is_the_address_of_a_host_or_named_with_its_variable(variable: str, url: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{variable}: .* is not a plain endpoint address"):
        resolve(environment={variable: url}).endpoints  # noqa: B018


@pytest.mark.parametrize(
    ("environment", "key", "secret"),
    [
        ({"APCA_API_KEY_ID": "PK1", "APCA_API_SECRET_KEY": "one"}, "PK1", "one"),
        ({"ALPACA_API_KEY": "PK2", "ALPACA_SECRET_KEY": "two"}, "PK2", "two"),
        ({"APCA_API_KEY_ID": "PK1", "APCA_API_SECRET_KEY": "one", "ALPACA_API_KEY": "PK2", "ALPACA_SECRET_KEY": "two"}, "PK1", "one"),
        ({"APCA_API_KEY_ID": "PK1", "ALPACA_SECRET_KEY": "two"}, "PK1", ""),
        ({"APCA_API_SECRET_KEY": "one", "ALPACA_API_KEY": "PK2", "ALPACA_SECRET_KEY": "two"}, "", "one"),
        ({"APCA_API_KEY_ID": "", "ALPACA_API_KEY": "PK2", "ALPACA_SECRET_KEY": "two"}, "PK2", "two"),
    ],
)  # fmt: skip
def test_key_and_secret_are_those_of_one_pair_of_names(environment: dict[str, str], key: str, secret: str) -> None:
    settings = resolve(environment=environment)
    assert (settings.key_id.reveal(), settings.secret_key.reveal()) == (key, secret)
