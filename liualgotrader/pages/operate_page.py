"""The page that acts on running sessions, by the requests that the command line sends; only `liu ui --operate` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import streamlit as st

from liualgotrader.common.errors import LiuError, OutsideError
from liualgotrader.orders.desk_messages import Resolution
from liualgotrader.pages import parts
from liualgotrader.pages.batch_rows import BatchRows
from liualgotrader.supervisor.operator_socket import THROUGH, ListedSession, ask, running_sessions
from liualgotrader.supervisor.view import GatewayFacts, View, equity_text, masked_account, refusals_text, today_text

_LIVE_SECONDS = 2
_COMMANDS = (
    "Sessions are started with `trader`. What is in the account and not ours is closed by"
    " `liu kill-switch --flatten --whole-account LAST4`."
)
_HOW = (
    f"{Resolution.ADOPT}: our books take it over as it is in the account",
    f"{Resolution.FLATTEN}: the same, and what is there is closed at market",
    f"{Resolution.IGNORE}: it is not ours",
)
_PRICES = ("entry", "last", "stop", "target", "limit")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person wants of a session and has not confirmed yet; `sentence` says what it does."""

    session: ListedSession
    request: Mapping[str, Any]
    sentence: str


def operate() -> None:
    """Show the sessions that run, and do what a person wants of them and has confirmed."""
    st.title("Operate")
    home = parts.record().settings.home_path
    sessions = running_sessions(home)
    if (answered := st.session_state.pop("answered", None)) is not None:
        done, text = answered
        (st.success if done else st.error)(parts.sentence(text))
    if (wanted := st.session_state.get("wanted")) is not None:
        _confirm(wanted, alive=wanted.session in sessions)
    if not sessions:
        folder = parts.sentence(home)
        st.info(
            f"No session is running with the data folder {folder}. `trader --simulate` starts one beside this page."
        )
        return
    session = sessions[0]
    if len(sessions) > 1:
        names = [f"{one.environment} {one.day} {one.batch_id[:8]}, pid {one.pid}" for one in sessions]
        session = sessions[st.selectbox("Session", range(len(sessions)), format_func=names.__getitem__)]
    _live(session)
    view = _view(session)
    if isinstance(view, str):
        st.subheader("Act")
        _offer("Stop the session", session, {"do": "stop"}, "The session, which has not begun yet, ends.")
    else:
        _actions(session, view)
    st.caption(f"Each action is kept in the table operator_action with who asked for it. {_COMMANDS}")


def _confirm(wanted: Wanted, *, alive: bool) -> None:
    if not alive:
        del st.session_state["wanted"]
        st.error(f"The session of batch {parts.sentence(wanted.session.batch_id)} has ended: nothing was done.")
        return
    session = wanted.session
    st.warning(f"{parts.sentence(wanted.sentence)} Batch {parts.sentence(session.batch_id)}, {session.environment}.")
    yes, no, _ = st.columns([2, 2, 8])
    if yes.button("Yes, do it", type="primary"):
        address = st.context.ip_address  # none from this machine
        through = f"page, from {address}" if isinstance(address, str) else "page"
        try:
            answer = ask(session, {**wanted.request, THROUGH: through})
        except OutsideError as error:
            answer = {"error": str(error)}
        st.session_state["answered"] = "done" in answer, next(iter(answer.values()))
    elif not no.button("No"):
        return
    del st.session_state["wanted"]
    st.rerun()


def _view(session: ListedSession) -> View | str:
    """Return how the session is; while it is being prepared, what it does in words."""
    answer = ask(session, {"do": "status"})
    return msgspec.convert(answer["view"], View, strict=False) if "view" in answer else str(next(iter(answer.values())))


@st.fragment(run_every=_LIVE_SECONDS)
def _live(session: ListedSession) -> None:
    """Show how the session is, again and again; what is in the way is said in place of it."""
    try:
        view = _view(session)
    except LiuError as error:
        st.error(parts.sentence(error))
        return
    if isinstance(view, str):
        st.info(f"The {session.environment} session {parts.sentence(view)}.")
        return
    st.caption(f"{session.environment} session of {view.day}, batch {view.batch_id}, pid {session.pid}.")
    for alert in view.alerts():
        st.warning(parts.sentence(alert))
    facts, gain = view.facts, sum(s.gain for s in view.strategies)
    if facts is not None:
        columns = st.columns(4)
        columns[0].metric(
            "Equity, $", equity_text(facts.equity).removeprefix("equity ").removesuffix(" $"), border=True
        )
        columns[1].metric("P&L of this batch, $", f"{gain:+,.2f}", border=True)
        columns[2].metric("P&L of our positions today, $", f"{facts.day_gain:+,.2f}", border=True)
        columns[3].metric("Account", masked_account(facts), border=True)
        st.caption(parts.sentence(f"Since the previous close: {today_text(facts)}"))
    _table(
        "Strategies",
        [
            {
                "strategy": s.name, "P&L $": s.gain, "realized $": s.realized, "open $": s.open_gain, "fills": s.fills,
                "trades": s.trips, "open": s.open_positions, "refused": refusals_text(s.refused), "stopped": s.ended,
            }
            for s in view.strategies
        ],
    )  # fmt: skip
    _table(
        "Positions",
        [
            {
                "symbol": p.symbol, "strategy": p.strategy, "shares": p.quantity, "entry $": p.entry, "last $": p.last,
                "stop $": p.stop, "target $": p.target, "P&L $": p.gain,
            }
            for p in view.positions
        ],
    )  # fmt: skip
    _table(
        "Working orders",
        [
            {
                "symbol": o.symbol, "strategy": o.strategy, "side": o.side, "shares": o.quantity, "filled": o.filled,
                "type": o.type, "limit $": o.limit_price, "stop $": o.stop_price, "state": o.state, "order": o.client_order_id,
            }
            for o in (facts.open_orders if facts is not None else ())
        ],
    )  # fmt: skip
    database = next((one.database for one in parts.listed() if one.result.batch_id == view.batch_id), "")
    if database and len(done := BatchRows(parts.record(), database, view.batch_id).operator_actions()):
        st.subheader("What operators did")
        st.dataframe(done, width="stretch", hide_index=True)


def _table(title: str, rows: list[dict[str, Any]]) -> None:
    """Show money to the cent, prices as they are."""
    st.subheader(title)
    if not rows:
        st.caption("None now.")
        return
    money = {name: "%+.2f" for name in ("P&L $", "realized $", "open $")} | {f"{name} $": "%.4f" for name in _PRICES}
    shown = [{k: float(v) if k in money and v is not None else v for k, v in row.items()} for row in rows]
    formats = {k: st.column_config.NumberColumn(format=money[k]) for k in rows[0] if k in money}
    st.dataframe(shown, width="stretch", hide_index=True, column_config=formats)


def _actions(session: ListedSession, view: View) -> None:
    st.subheader("Act")
    left, middle, right = st.columns(3)
    with left:
        flatten = st.checkbox("and close our positions at market")
        request = {"do": "kill_switch", "flatten": flatten}
        what = "closed at market" if flatten else "kept"
        text = f"All our orders are cancelled, positions are {what}, and nothing is opened until it is lifted."
        _offer("Kill switch", session, request, text)
        text = "The kill switch and a stop by the day's loss are lifted: strategies may open positions again."
        _offer("Lift the kill switch", session, {"do": "resume"}, text)
    with middle:
        flatten = st.checkbox("and close DAY_TRADE positions first")
        what = "DAY_TRADE positions are closed" if flatten else "positions stay open"
        text = f"The session ends: entries are cancelled, {what}."
        _offer("Stop the session", session, {"do": "stop", "flatten": flatten}, text)
    with right:
        running = [s.name for s in view.strategies if not s.ended]
        name = st.selectbox("Strategy", running)
        flatten = st.checkbox("and close its positions at market")
        request = {"do": "stop_strategy", "strategy": name, "flatten": flatten}
        what = "its positions are closed at market" if flatten else "its positions stay until their stop or target"
        text = f"Strategy {name} is stopped for the rest of this session: its entries are cancelled, {what}."
        _offer("Stop the strategy", session, request, text, possible=bool(running))
    if view.facts is not None:
        _orders_and_differences(session, view, view.facts)


def _orders_and_differences(session: ListedSession, view: View, facts: GatewayFacts) -> None:
    left, right = st.columns(2)
    with left:
        orders = {o.client_order_id: f"{o.side} {o.quantity:f} {o.symbol}, {o.strategy}" for o in facts.open_orders}
        order = st.selectbox("Working order", list(orders), format_func=lambda one: f"{orders.get(one, '')} · {one}")
        text = f"The order {orders.get(order, '')} is cancelled."
        _offer("Cancel the order", session, {"do": "cancel", "order": order}, text, possible=bool(orders))
    with right:
        differs = sorted({*facts.foreign, *facts.quarantined})
        symbol = st.selectbox("Symbol in which account and books differ", differs)
        how = str(st.selectbox("What becomes of the difference", _HOW))
        taker = st.selectbox("Strategy that takes it over, if several could", ["", *(s.name for s in view.strategies)])
        request = {"do": "positions", "symbol": symbol, "how": how.partition(":")[0], "strategy": taker}
        _offer("Settle the difference", session, request, f"{symbol}: {how}.", possible=bool(differs))


def _offer(
    label: str, session: ListedSession, request: Mapping[str, Any], sentence: str, *, possible: bool = True
) -> None:
    """Show a button after which a person is asked whether it is meant."""
    if st.button(label, disabled=not possible):
        st.session_state["wanted"] = Wanted(session, request, sentence)
        st.rerun()
