"""The page that plays a tradeplan, once or with several values of its parameters, each run a process of its own."""

from __future__ import annotations

import copy
import itertools
import json
import math
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import streamlit as st
import toml

from liualgotrader.common.clock import SECOND, WallClock
from liualgotrader.common.errors import ConfigError, LiuError
from liualgotrader.common.files import replace_file
from liualgotrader.common.tradeplan import parse_tradeplan, read_tradeplan
from liualgotrader.pages import parts
from liualgotrader.pages.backtest_pages import COMPARED, compare, listed_row, table_columns
from liualgotrader.store.column_values import clean_text

FILLS = ("strict", "paper", "touch", "siis")
FEES = ("none", "regulatory", "commission", "all")
_CANCELLED = 130
_VARIED = 2  # parameters of which several values may be listed
_MOST_RUNS = 20
_NOTE = 10_000  # characters of a text that is handed on


class StartedBacktest:
    """A `backtester from` that runs as a process of its own: it may be cancelled, and what it has played is kept."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"backtest-{uuid.uuid4().hex[:8]}.log"
        command = [sys.executable, "-m", "liualgotrader", "backtest", "from", *words, "--json", "--progress"]
        with self.log.open("wb") as told, self.log.with_suffix(".json").open("wb") as summary:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=summary, stderr=told)
        self._clock = WallClock()
        self._began_at = self._clock.now()

    @property
    def exit_code(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return (self._clock.now() - self._began_at) / SECOND

    def progress(self) -> dict[str, Any]:
        """Return the newest line of progress, empty before the first session is played."""
        found = [json.loads(line) for line in self._lines() if line.startswith("{")]
        return found[-1] if found else {}

    def said(self) -> list[str]:
        """Return the sentences that it has printed."""
        return [line for line in self._lines() if line and not line.startswith("{")]

    def batch_id(self) -> str:
        """Return the id of the batch that was played, empty if nothing was."""
        text = self.log.with_suffix(".json").read_text()
        return str(json.loads(text)["batch_id"]) if text else ""

    def wait(self, seconds: float) -> int:
        """Return the exit status once it has ended."""
        return self._process.wait(seconds)

    def cancel(self) -> None:
        """End it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def _lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()


class StartedRuns:
    """Backtests that are played one after the other, each a process of its own; `changes` say what differs in each."""

    def __init__(self, commands: Sequence[Sequence[str]], changes: Sequence[str], folder: Path) -> None:
        self.changes = changes
        self.done: list[StartedBacktest] = []
        self._left = list(commands)
        self._folder = folder
        self.running = StartedBacktest(self._left.pop(0), folder)

    def goes_on(self) -> bool:
        """Whether one runs; the next is started where one has ended."""
        if (code := self.running.exit_code) is None:
            return True
        if self.running not in self.done:
            self.done.append(self.running)
        if code == _CANCELLED or not self._left:
            self._left.clear()
            return False
        self.running = StartedBacktest(self._left.pop(0), self._folder)
        return True

    def cancel(self) -> None:
        """End the one that runs as Ctrl-C does, and play no other."""
        self._left.clear()
        self.running.cancel()


def run() -> None:
    """Choose a tradeplan, change its parameters, play it once or with several values, and see how far it is."""
    st.title("New backtest")
    plan, folder = _chosen_plan()
    if plan is None:
        return
    try:
        parse_tradeplan(plan, folder / "tradeplan.toml")
    except LiuError as error:
        st.error(parts.sentence(error))
        return
    with st.form("backtest"):
        changed = _parameters(plan)
        several = _several(changed)
        first, last, scale, cash = st.columns(4)
        words = [str(first.date_input("From", date(2024, 1, 2))), "--to", str(last.date_input("To", date(2024, 3, 28)))]
        words += ["--scale", scale.selectbox("Bars", ["minute", "day"])]
        words += ["--cash", str(cash.number_input("Cash, $", 100.0, value=100_000.0, step=1000.0))]
        where, fills, fees, seed = st.columns(4)
        data = where.selectbox("Prices", ["an invented market", "the market-data store"])
        words += ["--fills", fills.selectbox("Fills", FILLS), "--fees", fees.selectbox("Fees", FEES)]
        words += ["--seed", str(seed.number_input("Seed", 0, value=0))]
        some, noted = st.columns(2)
        symbols = some.text_input("Symbols, separated by commas", placeholder="all there are")
        note = noted.text_input("Note", placeholder="kept with the run")
        asked = st.form_submit_button("Run", type="primary")
    if data == "an invented market":
        words.append("--generated")
    symbols, note = clean_text(symbols).strip(), clean_text(note)[:_NOTE]
    words += [*([f"--symbols={symbols[:_NOTE]}"] if symbols else []), *([f"--note={note}"] if note else [])]
    if asked:
        home = parts.record().settings.home_path
        try:
            plans = variants(changed, several)
        except LiuError as error:
            st.error(parts.sentence(error))
            return
        commands = [
            [*words, "--tradeplan", str(_written(one, folder, home / "pages")), "--home", str(home)]  # DSN is inherited
            for _, one in plans
        ]
        st.session_state["started"] = StartedRuns(commands, [change for change, _ in plans], home / "pages")
    if "started" in st.session_state:
        runs = st.session_state["started"]
        _watch(runs) if runs.goes_on() else _say_ended(runs)


def _several(plan: dict[str, Any]) -> list[tuple[tuple[str, str], str]]:
    """Let a person list several values of up to two parameters; return whose they are, and the text."""
    names = [
        (strategy, name)
        for strategy, values in plan.get("strategies", {}).items()
        for name, value in values.items()
        if isinstance(value, (bool, int, float, str)) and name != "filename"
    ]
    told = []
    with st.expander("Several runs: lists of values", expanded=False):
        for n in range(min(_VARIED, len(names))):
            left, right = st.columns([1, 2])
            chosen = left.selectbox(
                f"Parameter {n + 1}", names, None, format_func=": ".join, key=f"varied {n}", placeholder="none"
            )
            text = right.text_input("Its values, separated by commas", key=f"values {n}", placeholder="5, 10, 20")
            if chosen is not None:
                told.append((chosen, text))
        st.caption(
            f"Each value, or each pair of two, is a run of its own, one after the other, {_MOST_RUNS} at most; they are compared at the end."
        )
    return told


def variants(plan: dict[str, Any], several: Sequence[tuple[tuple[str, str], str]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the plan with each combination of the values that are listed, and what is changed in each; without any the plan alone.

    Raises:
        ConfigError: if a list is empty, a value is of another kind than the plan's, or there are too many runs.
    """
    lists = []
    for (strategy, name), text in several:
        usual = plan["strategies"][strategy][name]
        words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
        if not words:
            raise ConfigError(f"no values of {name} are listed: write some, such as 5, 10, or choose no parameter")
        lists.append([(strategy, name, _like(usual, word, name)) for word in words])
    found = []
    for chosen in itertools.product(*lists):
        one = copy.deepcopy(plan)
        for strategy, name, value in chosen:
            one["strategies"][strategy][name] = value
        found.append((", ".join(f"{name} = {value}" for _, name, value in chosen), one))
    if len(found) > _MOST_RUNS:
        raise ConfigError(
            f"that makes {len(found):,} runs, {_MOST_RUNS} at most: list fewer values, or take `optimizer`"
        )
    return found


def _like(usual: Any, word: str, name: str) -> Any:
    """Return a word as a value of the kind that a parameter has in the plan."""
    if isinstance(usual, str):
        return word
    try:
        value = {"true": True, "false": False}[word.lower()] if isinstance(usual, bool) else type(usual)(word)
    except (KeyError, ValueError):
        value = math.nan
    if isinstance(value, float) and not math.isfinite(value):
        kind = (
            "true or false" if isinstance(usual, bool) else "a whole number" if isinstance(usual, int) else "a number"
        )
        raise ConfigError(f"{word[:40]!r} cannot be a value of {name}, which is {kind}")
    return value


@st.fragment(run_every=1.0)
def _watch(runs: StartedRuns) -> None:
    if not runs.goes_on():
        st.rerun()
    if len(runs.changes) > 1:
        place = len(runs.done)
        st.caption(f"Run {place + 1} of {len(runs.changes)}: {parts.sentence(runs.changes[place])}")
    started = runs.running
    at = started.progress()
    done, of = at.get("done", 0), at.get("of", 1)
    left = f", about {started.seconds / done * (of - done):,.0f} s left" if done else ""
    st.progress(done / of, f"{at.get('day', 'loading prices and strategies …')}  {done} of {of} sessions{left}")
    if st.button("Cancel"):
        runs.cancel()


def _say_ended(runs: StartedRuns) -> None:
    """Say how each run ended, and compare them if they were several."""
    parts.listed.clear()
    for one, change in zip(runs.done, runs.changes, strict=False):
        for line in one.said() if one.exit_code != _CANCELLED else ():
            (st.warning if one.exit_code == 0 else st.error)(parts.sentence(line))
        if batch_id := one.batch_id():
            done = "Cancelled: what was played until then is kept." if one.exit_code == _CANCELLED else "Played."
            said = f"{parts.sentence(change)}: {done}" if change else done
            st.success(f"{said} [Its day page](./?batch={batch_id}), [its trades](trades?batch={batch_id})")
        elif one.exit_code == 0:
            st.info("Nothing was played.")
    ids = [one.batch_id() for one in runs.done]
    if len(played := [one for one in parts.listed("BACKTEST") if one.result.batch_id in ids]) > 1:
        played.sort(key=lambda one: ids.index(one.result.batch_id))
        rows = [listed_row(one.result) for one in played]
        st.dataframe(rows, width="stretch", hide_index=True, column_config=table_columns())
        compare(played[:COMPARED])


def _chosen_plan() -> tuple[dict[str, Any] | None, Path]:
    """Return the contents of a tradeplan of this folder, or of one that is uploaded."""
    folder = parts.record().settings.tradeplan_path.parent.absolute()
    usual = parts.record().settings.tradeplan_path.name
    names = sorted(
        (path.name for path in folder.glob("*.toml") if _is_plan(path)), key=lambda name: (name != usual, name)
    )
    left, right = st.columns(2)
    uploaded = right.file_uploader("or upload one; its strategies' files are looked for in the same folder", "toml")
    name = left.selectbox(f"Tradeplan in {parts.sentence(str(folder))}", names, disabled=uploaded is not None)
    try:
        if uploaded is not None:
            return toml.loads(uploaded.getvalue().decode()), folder
        if name is not None:
            return read_tradeplan(folder / name), folder
    except (LiuError, UnicodeDecodeError, toml.TomlDecodeError) as error:
        st.error(parts.sentence(error))
        return None, folder
    st.info("There is no tradeplan in this folder. `liu new strategy NAME` writes one; start `liu ui` in its folder.")
    return None, folder


def _is_plan(path: Path) -> bool:
    """Whether a file may be a tradeplan; one that cannot be read may, and says why once it is chosen."""
    try:
        return path.is_file() and "strategies" in toml.loads(path.read_text())
    except (OSError, UnicodeDecodeError, toml.TomlDecodeError):
        return path.name != "pyproject.toml"


def _parameters(plan: dict[str, Any]) -> dict[str, Any]:
    """Let a person change numbers and words of the strategies and scanners; return the plan with them."""
    changed = copy.deepcopy(plan)
    for kind in ("strategies", "scanners"):
        for name, values in changed.get(kind, {}).items():
            known = {key: value for key, value in values.items() if isinstance(value, (bool, int, float, str))}
            known.pop("filename", None)
            if not known:
                continue
            with st.expander(parts.sentence(name), expanded=kind == "strategies"):
                for column, (key, value) in zip(itertools.cycle(st.columns(4)), known.items()):
                    values[key] = _widget(column, key, value, f"{kind} {name} {key}")
    return changed


def _widget(column: Any, label: str, value: Any, key: str) -> Any:
    label = parts.sentence(label)
    if isinstance(value, bool):
        return column.checkbox(label, value, key=key)
    if isinstance(value, int):
        return int(column.number_input(label, value=value, step=1, key=key))
    if isinstance(value, float):
        return float(column.number_input(label, value=value, format="%.6g", step=abs(value) / 10 or 0.01, key=key))
    return column.text_input(label, value, key=key)


def _written(plan: dict[str, Any], folder: Path, place: Path) -> Path:
    """Write the plan to a file of its own, with its strategies' files where they are, and return the file."""
    for kind in ("strategies", "scanners"):
        for values in plan.get(kind, {}).values():
            if "filename" in values:
                values["filename"] = str(folder / values["filename"])
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"plan-{uuid.uuid4().hex[:8]}.toml"
    replace_file(path, toml.dumps(plan).encode())
    return path
