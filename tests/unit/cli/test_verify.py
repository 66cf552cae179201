"""A saved result is played again by anybody: it comes out the same, or the first difference is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.cli import backtester, liu
from liualgotrader.cli.common import guarded
from liualgotrader.common.calendar import sessions
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.supervisor.saved_result import plain_name, read_result
from liualgotrader.supervisor.verifying import checks_of
from tests.examples import examples

STRATEGY = """
from liualgotrader.strategies.base import Strategy, StrategyType
from helper import SHARES

class Turns(Strategy):
    strategy_type = StrategyType.SWING

    def __init__(self, lookback=3, api_token="", **base):
        super().__init__(**base)
        self.lookback = lookback

    def on_bar(self, ctx, bar):
        if len(ctx.bars.close) % self.lookback == 0 and not ctx.open_orders:
            ctx.close() if ctx.position else ctx.buy(SHARES, stop_price=bar.close * 0.9)
"""
PLAN = '[strategies.Turns]\nfilename = "turns.py"\nlookback = 3\n'
DAYS = ("from", "2024-01-02", "--to", "2024-02-29", "--data", "../days", "--no-database")

Program = Callable[..., tuple[int, str, str]]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Program:
    """Return a function that runs `backtester` or `liu` in a folder: (exit status, output, errors)."""
    for variable in ("TRADEPLAN_DIR", "DSN", "LIU_SEED"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))

    def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        body: Any = liu.run if arguments[0] == "verify" else backtester.run
        with pytest.raises(SystemExit) as ended:
            guarded("liu" if body is liu.run else "backtester", body, arguments)
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def author(tmp_path: Path, program: Program) -> Path:
    """Return the folder in which a strategy was played and saved as r.zip."""
    folder, days = tmp_path / "author" / "plan", tmp_path / "author" / "days"
    folder.mkdir(parents=True)
    days.mkdir()
    (folder / "turns.py").write_text(STRATEGY)
    (folder / "helper.py").write_text("SHARES = 10\n")
    (folder / "tradeplan.toml").write_text(PLAN)
    rows = ["symbol,day,open,high,low,close,volume"]
    for number, session in enumerate(sessions_of()):
        for symbol, price in (("ABC", 50 + number % 7), ("XYZ", 90 - number % 5)):
            rows.append(f"{symbol},{session},{price},{price + 1}.5,{price - 1},{price}.25,{1000 + number}")
    (days / "daily.csv").write_text("\n".join(rows) + "\n")
    code, out, err = program(folder, *DAYS, "--save", "r.zip")
    assert code == 0, err
    assert "`liu verify r.zip` plays it again" in out
    return folder


def sessions_of() -> list[str]:
    from datetime import date

    return [session.day.isoformat() for session in sessions(date(2023, 12, 1), date(2024, 2, 29))]


@pytest.fixture
def stranger(author: Path, tmp_path: Path) -> Path:
    """Return the folder of somebody who was sent the result alone."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    shutil.copy(author / "r.zip", folder)
    return folder


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def rezipped(path: Path, changed: Mapping[str, Callable[[bytes], bytes]]) -> None:
    """Write the file once more, some of its members changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, changed[name](data) if name in changed else data)


def test_a_result_comes_out_the_same_beside_its_own_tradeplan(author: Path, program: Program) -> None:
    code, out, _ = program(author, "verify", "r.zip")
    assert code == 0
    assert out.startswith("equal: 2024-01-02 to 2024-02-29, 2 symbols, ")
    told = json.loads(program(author, "verify", "r.zip", "--json")[1])
    assert told["equal"]
    assert told["fingerprint"] == told["fingerprint_here"]
    assert f"fingerprint {told['fingerprint']}" in out
    assert told["figures"]["trips"] > 5
    saved = program(author, *DAYS, "--save", "again.zip", "--json")[1]
    assert json.loads(saved)["fingerprint"] == told["fingerprint"]


def test_the_code_of_a_stranger_runs_only_if_that_is_said(stranger: Path, author: Path, program: Program) -> None:
    shutil.move(author.parent / "days", stranger / "copy")
    shutil.rmtree(author.parent)
    code, out, err = program(stranger, "verify", "r.zip", "--data", "copy")
    assert (code, out) == (2, "")
    assert "r.zip carries code of whoever made it (helper.py, turns.py)" in err
    assert "--run-its-code" in err
    code, out, err = program(stranger, "verify", "r.zip", "--run-its-code")
    assert (code, out) == (2, "")
    assert "'../days', which is not here: name a copy of it with --data" in err
    code, out, err = program(stranger, "verify", "r.zip", "--run-its-code", "--data", "copy")
    assert (code, err) == (0, ""), out + err
    assert out.startswith("equal: ")
    assert sorted(path.name for path in stranger.iterdir()) == ["copy", "r.zip"]


def test_equal_runs_differ_in_what_says_when_they_were_made_alone(author: Path, program: Program) -> None:
    assert program(author, *DAYS, "--save", "again.zip")[0] == 0
    with zipfile.ZipFile(author / "r.zip") as first, zipfile.ZipFile(author / "again.zip") as second:
        names = first.namelist()
        assert names == second.namelist()
        assert [name for name in names if first.read(name) != second.read(name)] == ["run.json"]
        assert {entry.date_time for entry in first.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_strategies_keep_their_order(author: Path, stranger: Path, program: Program) -> None:
    (author / "alpha.py").write_text(STRATEGY.replace("Turns", "Alpha"))
    first, then = PLAN, PLAN.replace("Turns", "Alpha").replace("turns", "alpha")
    (author / "tradeplan.toml").write_text(first + then)
    assert program(author, *DAYS, "--save", str(stranger / "two.zip"))[0] == 0
    shutil.copytree(author.parent / "days", stranger.parent / "days")
    assert program(stranger, "verify", "two.zip", "--run-its-code")[0] == 0
    (author / "tradeplan.toml").write_text(then + first)
    code, out, _ = program(author, "verify", str(stranger / "two.zip"))
    assert code == 6
    assert out.startswith("differs: settings: the order of strategies: Turns, Alpha in the result, Alpha, Turns here")


def test_a_run_that_was_ended_early_is_not_saved(
    author: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liualgotrader.supervisor.backtesting.ctrl_c", lambda: nullcontext(lambda: True))
    code, _, err = program(author, *DAYS, "--save", "early.zip")
    assert code == 130
    assert "the result is not saved: it was ended early" in err
    assert not (author / "early.zip").exists()


def test_one_changed_price_is_named_by_symbol_time_and_field(author: Path, program: Program) -> None:
    daily = author.parent / "days" / "daily.csv"
    row = next(line for line in daily.read_text().splitlines() if line.startswith("XYZ,2024-01-18"))
    cells = row.split(",")
    cells[3] = "95.75"
    change(daily, row, ",".join(cells))
    code, out, _ = program(author, "verify", "r.zip")
    assert code == 6
    assert out.startswith("differs: data: XYZ, bar of 2024-01-18 09:30 New York: high is 95.75 here, and was another")
    assert "orders, fills and figures come out the same all the same" in out


def test_a_changed_price_that_matters_is_named_before_what_follows_from_it(author: Path, program: Program) -> None:
    change(author.parent / "days" / "daily.csv", "ABC,2024-02-13,50,51.5,49,50.25", "ABC,2024-02-13,50,51.5,42,50.25")
    before = program(author, "verify", "r.zip")[1]
    assert before.startswith("differs: data: ABC, bar of 2024-02-13 09:30 New York: low is 42 here")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ABC,2024-01-16", "after the ABC, bar of 2024-01-12 09:30 New York: 1 bars of the result are not here"),
        ("ABC,2024-02-29", "after the ABC, bar of 2024-02-28 09:30 New York: 1 bars of the result are not here"),
        ("ABC,2023-12-01", "before the first bar of ABC here: 1 bars of the result are not here"),
    ],
)
def test_a_bar_that_is_not_here_is_named(author: Path, program: Program, line: str, told: str) -> None:
    daily = author.parent / "days" / "daily.csv"
    lines = daily.read_text().splitlines()
    daily.write_text("\n".join(text for text in lines if not text.startswith(line)) + "\n")
    code, out, _ = program(author, "verify", "r.zip")
    assert code == 6
    assert told in out.splitlines()[0]


def test_one_changed_line_of_a_strategy_is_named(author: Path, program: Program) -> None:
    change(author / "turns.py", "bar.close * 0.9)", "bar.close * 0.8)")
    code, out, _ = program(author, "verify", "r.zip")
    assert (code, out.splitlines()[1:]) == (6, ["nothing was played"])
    assert out.startswith("differs: code: turns.py, line 14: ")
    assert out.splitlines()[0].endswith("bar.close * 0.8)' here")
    change(author / "turns.py", "bar.close * 0.8)", "bar.close * 0.9)")
    change(author / "helper.py", "10", "11")
    found = program(author, "verify", "r.zip")[1]
    assert found.startswith("differs: code: helper.py, line 1: 'SHARES = 10' in the result, 'SHARES = 11' here")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("lookback = 3", "lookback = 4", "settings: tradeplan.strategies.Turns.lookback: 3 in the result, 4 here"),
        ("lookback = 3\n", "", "settings: tradeplan.strategies.Turns.lookback: 3 in the result, not set here"),
        ("[str", "[limits]\nopen_orders = 9\n[str", "settings: tradeplan.limits.open_orders: 50 in the result, 9 here"),
        ("Turns", "Other", "settings: tradeplan.strategies.Turns.filename: "),
    ],
)
def test_one_changed_setting_is_named(author: Path, program: Program, old: str, new: str, told: str) -> None:
    change(author / "tradeplan.toml", old, new)
    code, out, _ = program(author, "verify", "r.zip")
    assert code == 6
    assert out.startswith(f"differs: {told}")


def test_what_somebody_changed_in_the_file_is_named_before_anything_runs(stranger: Path, program: Program) -> None:
    def richer(data: bytes) -> bytes:
        told = json.loads(data)
        told["settings"]["cash"] = "200000"
        return json.dumps(told).encode()

    rezipped(stranger / "r.zip", {"result.json": richer})
    code, out, _ = program(stranger, "verify", "r.zip", "--run-its-code")
    assert (code, out.splitlines()) == (
        6,
        ["differs: file: the setting 'cash' was changed after the result was saved", "nothing was played"],
    )


@pytest.mark.parametrize(("member", "told"), [("code/turns.py", "turns.py"), ("fills.csv", "fills.csv")])
def test_a_member_that_somebody_changed_is_named(stranger: Path, program: Program, member: str, told: str) -> None:
    rezipped(stranger / "r.zip", {member: lambda data: data.replace(b"1", b"2", 1) + b"# "})
    code, out, _ = program(stranger, "verify", "r.zip", "--run-its-code")
    assert (code, out.splitlines()[0]) == (
        6,
        f"differs: file: the file {told} was changed after the result was saved",
    )


def test_a_forged_fill_is_found_however_well_it_is_sealed(author: Path, program: Program) -> None:
    import msgspec

    from liualgotrader.supervisor.saved_result import sha256_of, write_result

    saved = read_result(author / "r.zip")
    lines = saved.members["fills.csv"].decode().splitlines()
    cells = lines[3].split(",")
    cells[5] = "1.23"
    lines[3] = ",".join(cells)
    forged = ("\n".join(lines) + "\n").encode()
    tables = saved.statement.tables | {"fills.csv": sha256_of(forged)}
    statement = msgspec.structs.replace(saved.statement, tables=tables)
    write_result(
        author / "r.zip",
        msgspec.structs.replace(saved, statement=statement, members=saved.members | {"fills.csv": forged}),
    )
    code, out, _ = program(author, "verify", "r.zip")
    assert code == 6
    assert out.startswith(
        f"differs: fills: fill 3 ({cells[2]}, {cells[3]}, {cells[0]}): price is '1.23' in the result, and "
    )


def test_secrets_are_in_no_result(author: Path, program: Program) -> None:
    change(author / "tradeplan.toml", "lookback = 3", 'lookback = 3\napi_token = "abcdefghij"')
    dsn = "postgresql://me:klmnopqrst@localhost/db"
    assert program(author, *DAYS, "--dsn", dsn, "--home", str(author / "own"), "--save", "s.zip")[0] == 0
    with zipfile.ZipFile(author / "s.zip") as archive:
        whole = b"".join(archive.read(name) for name in archive.namelist())
    assert b'"api_token": "***"' in whole
    for secret in (b"abcdefghij", b"klmnopqrst", b"localhost", str(author / "own").encode()):
        assert secret not in whole
    assert program(author, "verify", "s.zip")[0] == 0
    code, _, err = program(author, "verify", "s.zip", "--run-its-code")
    assert code == 2
    assert "leaves out `strategies.Turns.api_token`, a secret" in err


@pytest.mark.parametrize(
    "line",
    [
        'API_KEY = "abcdefghij"',
        'OPTIONS = {"password": "abcdefghij"}',
        'connect = dict(secret="abcdefghij")',
        'URL = "https://me:abcdefghij@example.com/"',
        'NAME = "PKTESTKEY123"',
    ],
)
def test_a_file_with_a_secret_is_not_handed_on(
    author: Path, program: Program, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", "PKTESTKEY123")
    (author / "helper.py").write_text(f"SHARES = 10\n{line}\n")
    code, out, err = program(author, *DAYS, "--save", "s.zip")
    assert code == 2
    assert "helper.py:2 holds what looks like a secret" in err
    assert "the result is not saved" in err
    assert "return" in out, "the run itself is shown"
    assert not (author / "s.zip").exists()


# --- files that are none --------------------------------------------------------------------------------


def zipped(**members: bytes) -> bytes:
    held = BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return held.getvalue()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is no whole ZIP file"),
        (b"no zip at all", "is no whole ZIP file"),
        (zipped(), "holds no data.checks, so that it is no result"),
        (zipped(other=b"x"), "holds no data.checks"),
    ],
)
def test_what_is_no_result_is_refused_in_one_sentence(tmp_path: Path, program: Program, data: bytes, told: str) -> None:
    (tmp_path / "r.zip").write_bytes(data)
    code, out, err = program(tmp_path, "verify", "r.zip")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path, program: Program) -> None:
    for name in ("nothing.zip", "."):
        code, _, err = program(tmp_path, "verify", name)
        assert (code, err.count("\n")) == (2, 1)
        assert f"{name} cannot be read" in err


def test_a_truncated_result_is_refused_at_every_length(author: Path) -> None:
    whole = (author / "r.zip").read_bytes()
    cut = author / "cut.zip"
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        cut.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match="no whole ZIP file"):
            read_result(cut)


@given(place=st.integers(0, 10**6), value=st.integers(0, 255))
@examples(200)
def test_one_changed_byte_is_refused_or_changes_nothing_that_is_read(
    saved_bytes: tuple[Path, bytes], place: int, value: int
) -> None:
    path, whole = saved_bytes
    place %= len(whole)
    path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
    try:
        found = read_result(path)
    except ConfigError:
        return
    path.write_bytes(whole)
    assert found == read_result(path)


@pytest.fixture(scope="module")
def saved_bytes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """Return a place for results, and a result that was made by hand."""
    return tmp_path_factory.mktemp("results") / "r.zip", zipped(**members_by_hand({}))


def members_by_hand(changed: Mapping[str, Any], **more: bytes) -> dict[str, bytes]:
    stated = {
        "format": 1, "settings": {}, "tradeplan": {}, "folder": ".", "code": {"a.py": "0"}, "data": {}, "tables": {},
        "figures": {}, "seals": {}, **changed,
    }  # fmt: skip
    run = {"batch_id": "", "saved_at": "", "command": "", "versions": {}, "package": ""}
    tables = {f"{name}.csv": b"a,b\n1,2\n" for name in ("orders", "fills", "equity")}
    stated_bytes = {"result.json": json.dumps(stated).encode(), "run.json": json.dumps(run).encode()}
    return {**stated_bytes, "data.checks": b"", **tables, "code/a.py": b"", **more}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"format": 2}, "is of format 2, and this version reads 1"),
        ({"format": "x"}, "states what no result does"),
        ({"seals": 7}, "states what no result does"),
        ({"code": {"../a.py": "0"}}, "no place below a folder"),
        ({"code": {"/etc/a.py": "0"}}, "no place below a folder"),
        ({"code": {"b/../../a.py": "0"}}, "no place below a folder"),
        ({"code": {"C:\\a.py": "0"}}, "no place below a folder"),
        ({"code": {"a.sh": "0"}}, "no place below a folder"),
        ({"folder": "../.."}, "no place below a folder"),
        ({"code": {"b.py": "0"}}, "lacks the file b.py"),
        ({"data": {"A\x1b[2J": {"bars": 1, "sha256": ""}}}, "no symbol"),
    ],
)
def test_a_hostile_statement_is_refused_in_one_sentence(
    tmp_path: Path, program: Program, changed: dict[str, Any], told: str
) -> None:
    (tmp_path / "r.zip").write_bytes(zipped(**members_by_hand(changed)))
    code, out, err = program(tmp_path, "verify", "r.zip", "--run-its-code")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert "\x1b" not in err


@pytest.mark.slow
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, program: Program) -> None:
    (tmp_path / "r.zip").write_bytes(zipped(**members_by_hand({}, **{"fills.csv": bytes(501_000_000)})))
    code, _, err = program(tmp_path, "verify", "r.zip", "--run-its-code")
    assert code == 2
    assert "would unpack to 501," in err


@given(st.text(alphabet="ab./\\ ~:\n", max_size=12))
@examples(300)
def test_a_plain_name_lies_below_the_folder(name: str) -> None:
    name += ".py"
    if plain_name(name):
        below = os.path.normpath(os.path.join("/some/folder", name))
        assert below.startswith("/some/folder/")
        assert "\n" not in name


# --- checksums ------------------------------------------------------------------------------------------

NAMES = ("opened_at", "closed_at", "open", "high", "low", "close", "volume", "average", "count")


@given(st.data())
@examples(100)
def test_checksums_tell_which_column_of_which_bar_was_changed(data: st.DataObject) -> None:
    from liualgotrader.supervisor.verifying import _column_changed

    rows = data.draw(st.integers(1, 20))
    random = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    times = np.arange(rows, dtype=np.int64) * 60_000_000_000
    columns: list[Any] = [times, times + 60_000_000_000, *np.round(random.uniform(1, 100, (7, rows)), 2)]
    number, row = data.draw(st.integers(0, 8)), data.draw(st.integers(0, rows - 1))
    changed: list[Any] = [column.copy() for column in columns]
    changed[number][row] += 1
    was, now = checks_of(BarColumns("A", *columns)), checks_of(BarColumns("A", *changed))
    assert np.flatnonzero((was != now).any(axis=1)).tolist() == [row]
    assert _column_changed(was[row].tolist(), now[row].tolist()) == NAMES[number]


@pytest.mark.slow
def test_another_process_with_another_hash_seed_and_no_files_of_mine_finds_it_equal(
    stranger: Path, author: Path
) -> None:
    program = "from liualgotrader.cli.liu import main; main()"
    shutil.move(author.parent / "days", stranger / "days")
    for seed in ("1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program, "verify", "r.zip", "--run-its-code", "--data", "days"],
            cwd=stranger, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert done.stdout.startswith("equal: ")
