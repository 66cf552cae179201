"""Pages about backtests: to play one, all results, runs beside each other, searches; and what the market-data store holds."""

from __future__ import annotations

import copy
import itertools
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import streamlit as st
import toml

from liualgotrader.analytics.equity import curve_of
from liualgotrader.analytics.page_parts import percent, plain
from liualgotrader.analytics.sweep import ranked
from liualgotrader.common.clock import SECOND, WallClock, as_datetime
from liualgotrader.common.errors import LiuError
from liualgotrader.common.files import replace_file
from liualgotrader.common.rows import BatchResult, OptimizerRow, OptimizerSession
from liualgotrader.common.tradeplan import parse_tradeplan, read_tradeplan
from liualgotrader.data.market_checks import checked, stored_series
from liualgotrader.data.market_store import MarketStore
from liualgotrader.pages import charts, parts
from liualgotrader.pages.sheet_page import tear_sheet

if TYPE_CHECKING:
    import pandas as pd

FILLS = ("strict", "paper", "touch", "siis")
FEES = ("none", "regulatory", "commission", "all")
_COMPARED = 8
_CANCELLED = 130


def history() -> None:
    """Show all backtests, the newest first, and those that are chosen beside each other."""
    import pandas as pd

    st.title("Backtests")
    found = parts.listed("BACKTEST")
    if not found:
        st.info(
            "No backtest is recorded yet. `backtester from 2024-01-02 --to 2024-03-28 --scale minute --generated` plays one."
        )
        return
    table = pd.DataFrame([_listed(one.result) for one in found])
    event: Any = st.dataframe(
        table, on_select="rerun", selection_mode="multi-row", width="stretch", hide_index=True, key="backtests",
        column_config={
            "P&L $": st.column_config.NumberColumn(format="%+.2f"),
            "return": st.column_config.NumberColumn(format="percent"),
            "win rate": st.column_config.NumberColumn(format="percent"),
            "played": st.column_config.DatetimeColumn("played (UTC)", format="YYYY-MM-DD HH:mm"),
        },
    )  # fmt: skip
    chosen = [found[place] for place in event.selection.rows[:_COMPARED]]
    if not chosen:
        st.caption(f"Choose rows at the left to see them beside each other, up to {_COMPARED}.")
        return
    curves = {
        one.result.batch_id[:8]: curve_of(parts.record().equity(one.database, one.result.batch_id)) for one in chosen
    }
    known = {name: curve for name, curve in curves.items() if len(curve.amount)}
    st.plotly_chart(charts.equity(known, percent=True), width="stretch")
    st.caption("The account's value, in percent of its start. Times are New York's.")
    differences = _differences([one.result for one in chosen])
    if len(chosen) > 1:
        st.subheader("What differs")
        if differences.empty:
            st.caption("Nothing that the record keeps: the same parameters and the same command.")
        else:
            st.dataframe(differences, width="stretch")
    for one in chosen:
        name, batch_id = one.result.batch_id[:8], one.result.batch_id
        st.markdown(f"{name}: [day](./?batch={batch_id}), [trades](trades?batch={batch_id})")
    tear_sheet(chosen[0].result.batch_id, [one.result.batch_id for one in chosen[1:]])


def market_data() -> None:
    """Show which series the market-data store holds, and of the one that is chosen gaps and what cannot be true."""
    st.title("Market data")
    store = MarketStore(parts.record().settings.home_path / "market")
    damaged = list[LiuError]()
    rows = stored_series(store, store.files(), damaged.append)
    for error in damaged:
        st.error(parts.sentence(error))
    if not rows:
        st.info("The store is empty. `liu data import FOLDER` and `liu data fetch SPY --from 2024-01-02` fill it.")
        return
    st.dataframe([msgspec.structs.asdict(row) for row in rows], width="stretch", hide_index=True)
    st.caption("Days are New York's; a span is a time of which everything is there.")
    symbol = st.selectbox("Check", list(dict.fromkeys(row.symbol for row in rows)), None, placeholder="a symbol")
    if symbol is not None:
        paths = [path for path in store.files() if store.series_of(path)[0] == symbol]
        found = [msgspec.structs.asdict(one) for path in paths for one in checked(store, path)]
        if found:
            st.dataframe(found, width="stretch", hide_index=True)
        else:
            st.success(f"Nothing wrong in {len(paths)} files.")


def _listed(result: BatchResult) -> dict[str, Any]:
    import pandas as pd

    figures = result.figures
    return {
        "batch": result.batch_id[:8],
        "strategies": ", ".join(result.parameters),
        "from": figures.first_day if figures else result.session_date,
        "to": figures.last_day if figures else None,
        "symbols": figures.symbols if figures else None,
        "trades": figures.trips if figures else None,
        "win rate": figures.win_rate if figures else None,
        "P&L $": float(figures.gain) if figures else None,
        "return": figures.total_return if figures else None,
        "end": result.end_reason or parts.NO_END,
        "note": str(result.asked.get("note") or ""),
        "played": pd.Timestamp(result.recorded_at, tz="UTC"),
    }


def _differences(results: list[BatchResult]) -> pd.DataFrame:
    """Return parameters and options that are not the same in all, a column a batch."""
    import pandas as pd

    told = {
        one.batch_id[:8]: {
            f"{s}: {n}": _comparable(v) for s, values in one.parameters.items() for n, v in values.items()
        }
        | {name: _comparable(v) for n, v in one.asked.items() if n != "note" for name, v in _flat(n, v)}
        for one in results
    }
    table = pd.DataFrame(told).fillna("")
    return table[table.nunique(axis=1) > 1]


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    return [(f"{name}: {n}", v) for n, v in value.items()] if isinstance(value, dict) else [(name, value)]


def _comparable(value: Any) -> str:
    """Return a value as text, 100000 and 100000.0 as the same."""
    try:
        return f"{float(value):.15g}"
    except (TypeError, ValueError):
        return str(value)


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


def run() -> None:
    """Choose a tradeplan, change its parameters, play it, and see how far it is."""
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
    words += [*(["--symbols", symbols] if symbols.strip() else []), *([f"--note={note}"] if note else [])]
    if asked:
        home = parts.record().settings.home_path
        words += [
            "--tradeplan",
            str(_written(changed, folder, home / "pages")),
            "--home",
            str(home),
        ]  # DSN is inherited
        st.session_state["started"] = StartedBacktest(words, home / "pages")
    if "started" in st.session_state:
        _watch(st.session_state["started"])


@st.fragment(run_every=1.0)
def _watch(started: StartedBacktest) -> None:
    code, at = started.exit_code, started.progress()
    if code is None:
        done, of = at.get("done", 0), at.get("of", 1)
        left = f", about {started.seconds / done * (of - done):,.0f} s left" if done else ""
        st.progress(done / of, f"{at.get('day', 'loading prices and strategies …')}  {done} of {of} sessions{left}")
        if st.button("Cancel"):
            started.cancel()
        return
    for line in started.said() if code != _CANCELLED else ():
        (st.warning if code == 0 else st.error)(parts.sentence(line))
    if batch_id := started.batch_id():
        done = "Cancelled: what was played until then is kept." if code == _CANCELLED else "Played."
        st.success(f"{done} [Its day page](./?batch={batch_id}), [its trades](trades?batch={batch_id})")
        parts.listed.clear()
    elif code == 0:
        st.info("Nothing was played.")


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


def searches() -> None:
    """Show what a search for parameters came to: the ranking, heat maps, and how far its best is to be believed."""
    import pandas as pd

    st.title("Searches for parameters")
    found = parts.record().searches()
    if not found:
        st.info("No search is recorded yet. `optimizer` plays what `[optimizer]` of the tradeplan spans.")
        return
    ids = [one.optimizer_session_id for _, one in found]
    names = {
        one.optimizer_session_id: f"{as_datetime(one.started_at):%Y-%m-%d %H:%M} · {one.optimizer_session_id[:8]}"
        for _, one in found
    }
    chosen = st.sidebar.selectbox("Search", ids, format_func=names.__getitem__)
    database, session = found[ids.index(chosen)]
    rows = parts.record().combinations(database, chosen)
    whole = ranked(row for row in rows if not row.fold)
    objective = str(session.configuration.get("objective", "objective"))
    _search_headline(session, whole)
    if not whole:
        st.info("No combination is finished yet.")
        return
    table = pd.DataFrame(
        [{**row.point, objective: row.objective, **row.figures, "failure": row.failure} for row in whole]
    )
    varied = [name for name in whole[0].point if table[name].astype(str).nunique() > 1]
    map_tab, lines_tab, ranking_tab, folds_tab = st.tabs(
        ["Heat map", "Parallel coordinates", "Ranking", "Walk forward"]
    )
    with map_tab:
        if varied:
            pair = st.columns(2)
            across = pair[0].selectbox("Across", varied)
            up = pair[1].selectbox("Up", [name for name in varied if name != across] or [across])
            st.plotly_chart(charts.search_map(whole, list(dict.fromkeys([across, up])), objective), width="stretch")
            st.caption("A cell has the best of all combinations with its two values.")
        else:
            st.info("All combinations are the same.")
    with lines_tab:
        st.plotly_chart(charts.coordinates(table, varied, objective), width="stretch")
    with ranking_tab:
        st.dataframe(table, width="stretch", hide_index=True)
    with folds_tab:
        folds = [row for row in rows if row.fold]
        if not folds:
            st.info("The search had no walk forward: `optimizer --walk-forward 4` plays one.")
        else:
            best = {(row.fold, row.out_of_sample): row for row in reversed(ranked(folds))}
            st.plotly_chart(charts.strips(best, objective), width="stretch")
            st.caption("What was best in each part of the time, and what it came to over the next part.")


def _search_headline(session: OptimizerSession, whole: Sequence[OptimizerRow]) -> None:
    result = session.result or {}
    ended = session.end_reason or parts.NO_END
    st.caption(f"Search {session.optimizer_session_id}. {len(whole):,} combinations. End: {parts.sentence(ended)}.")
    walked = result.get("walk_forward") or {}
    shown = {
        "Best": plain(whole[0].objective, digits=4) if whole else "-",
        "Plateau (1 is flat)": plain((result.get("plateau") or {}).get("score")),
        "Deflated Sharpe": percent(result.get("deflated_sharpe")),
        "Walk-forward Sharpe": plain(walked.get("sharpe_ratio")),
    }
    for column, (name, value) in zip(st.columns(len(shown)), shown.items(), strict=True):
        column.metric(name, value, border=True)
    if whole:
        st.caption("Best: " + ", ".join(f"{name} = {value}" for name, value in whole[0].point.items()))
