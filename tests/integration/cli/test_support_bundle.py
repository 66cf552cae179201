"""A support bundle holds what helps, and none of the secrets that stand everywhere it looks."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from liualgotrader.common.errors import OutsideError
from tools.support_bundle import run

pytestmark = pytest.mark.integration

PLANTED = {
    "the key": "PKPLANTED0KEY0ID",
    "the secret": "planted/Secret+0123456789abcdefghijklmno",
    "the other pair": "planted-alpaca-secret",
    "polygon's key": "pLaNtEd_polygon",
    "the account": "PA3PLANTED07",
    "an account of digits": "918273645",
    "the password of DSN": "pl@nted:pass/word",
    "a password that stands in a log only": "planted-in-a-log",
    "a token of the tradeplan": "planted-token",
    "a password in a list of the tradeplan": "planted-in-a-list",
    "a nested credential": "planted-nested",
    "a token of a miner": "planted-for-a-miner",
    "a variable of somebody else's": "planted-elsewhere",
}
QUOTED = "pl%40nted%3Apass%2Fword"


def test_no_secret_is_in_it_wherever_it_was_planted_and_what_helps_is(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(os.environ):
        if name.startswith(("APCA", "ALPACA", "DSN", "LIU_", "POLYGON", "TRADEPLAN")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HOME": str(tmp_path),
        "LIU_HOME": str(tmp_path / "home"),
        "APCA_API_BASE_URL": "http://127.0.0.1:9",
        "APCA_API_KEY_ID": PLANTED["the key"],
        "APCA_API_SECRET_KEY": PLANTED["the secret"],
        "ALPACA_SECRET_KEY": PLANTED["the other pair"],
        "POLYGON_API_KEY": PLANTED["polygon's key"],
        "LIU_LIVE": PLANTED["an account of digits"],
        "MY_DB_PASSWORD": PLANTED["a variable of somebody else's"],
        "DSN": dsn.replace("postgres@", f"postgres:{QUOTED}@"),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "tradeplan.toml").write_text(
        f'portfolio_value = 1234.0\n[strategies.Mine]\nfilename = "mine.py"\napi_token = "{PLANTED["a token of the tradeplan"]}"\n'
        f'feeds = [{{ password = "{PLANTED["a password in a list of the tradeplan"]}" }}]\n'
        f'[strategies.Mine.credentials]\nuser = "{PLANTED["a nested credential"]}"\n'
    )
    (tmp_path / "miner.toml").write_text(f'[miners.Mine]\ntoken = "{PLANTED["a token of a miner"]}"\n')
    log = tmp_path / "home" / "logs" / f"2024-06-03-{PLANTED['a nested credential']}" / "trader.log"
    log.parent.mkdir(parents=True)
    lines = [f"{what} is {secret} and {json.dumps(secret)}" for what, secret in PLANTED.items() if "log" not in what]
    lines += [
        f"account_number={PLANTED['the account']} status=ACTIVE",
        f'"account": "{PLANTED["an account of digits"]}"',
        f"connecting to postgresql://me:{QUOTED}@127.0.0.1/db",
        f"password={PLANTED['a password that stands in a log only']} order_submitted symbol=AAPL",
    ]
    log.write_text("\n".join(lines))

    assert run(["--output", "bundle.zip"]) == 0
    with zipfile.ZipFile("bundle.zip") as bundle:
        parts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    everything = "\n".join([*parts, *parts.values(), capsys.readouterr().out])
    forms = {what: {secret, json.dumps(secret)[1:-1]} for what, secret in PLANTED.items()}
    assert [what for what, written in forms.items() if any(form in everything for form in written)] == []
    assert QUOTED not in everything
    assert str(tmp_path) not in everything  # the home folder
    assert Path("bundle.zip").stat().st_mode & 0o077 == 0

    assert json.loads(parts["rows.json"])["sessions and backtests"]["algo_run"] == 0
    assert json.loads(parts["rows.json"])["simulated sessions"] == "there is no such database"
    assert json.loads(parts["versions.json"])["packages"]["liualgotrader"]
    plan = json.loads(parts["tradeplan.toml.json"])
    assert (plan["portfolio_value"], plan["strategies"]["Mine"]["filename"]) == (1234.0, "mine.py")
    assert {"name": "key_id", "value": "***", "source": "environment"} in json.loads(parts["settings.json"])
    assert {row["name"] for row in json.loads(parts["doctor.json"])} >= {"Python", "database", "tradeplan", "keys"}
    assert "order_submitted symbol=AAPL" in next(text for name, text in parts.items() if name.endswith("trader.log"))


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    (tmp_path / "bundle.zip").write_text("mine")
    with pytest.raises(OutsideError, match=r"bundle\.zip cannot be written \(File exists\): name another file"):
        run(["--output", str(tmp_path / "bundle.zip")])
    assert (tmp_path / "bundle.zip").read_text() == "mine"
