"""What sounds like a secret is neither stored nor shown."""

from __future__ import annotations

import pytest

from liualgotrader.common.secret import without_secrets


@pytest.mark.parametrize(
    "key",
    [
        "DSN",
        "dsn",
        "password",
        "db_password",
        "passphrase",
        "pwd",
        "APCA_API_SECRET_KEY",
        "api_key",
        "API-KEY",
        "apiKey",
        "token",
        "tokens",
        "accessToken",
        "accessTokenLive",
        "clientSecret",
        "key_id",
        "private_key",
    ],
)
def test_values_of_secret_keys_are_hidden(key: str) -> None:
    assert without_secrets({"deep": [{key: "hush"}]}) == {"deep": [{key: "***"}]}


@pytest.mark.parametrize("key", ["keystore", "tokens_per_minute", "symbol", "monkey", "secretary"])
def test_values_of_other_keys_are_shown(key: str) -> None:
    assert without_secrets({key: "hush"}) == {key: "hush"}


def test_counts_and_empty_values_are_no_secrets_but_a_password_of_digits_is() -> None:
    shown = {"token": 3, "password": "", "api_key": None, "secret": True}
    assert without_secrets(shown) == shown
    assert without_secrets({"password": 12345, "nested": ({"pwd": 0.5},)}) == {
        "password": "***",
        "nested": [{"pwd": "***"}],
    }


def test_a_password_inside_an_address_is_hidden() -> None:
    assert without_secrets(["postgresql://me:p:w@h:1/d?x=1"]) == ["postgresql://***@h:1/d?x=1"]
    assert without_secrets("https://data.alpaca.markets/v2") == "https://data.alpaca.markets/v2"


@pytest.mark.parametrize("password", ["p@ss", "p/s@s", "p@s/s", "@", ":@/@"])
def test_a_password_may_hold_what_ends_it_elsewhere(password: str) -> None:
    assert without_secrets(f"postgresql://me:{password}@host/db") == "postgresql://***@host/db"
    two = f"from a://me:{password}@host/x,b://me:{password}@host to c://host"
    assert without_secrets(two) == "from a://***@host/x,b://***@host to c://host"
