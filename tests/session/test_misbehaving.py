"""User code on a bad day: each strategy and scanner that fails is stopped alone, with one sentence; the others trade."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.session.audit import audit
from tests.session.running import trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

FATES = {
    "RaisesWhenMade": "could not be made: RuntimeError: no such model file",
    "RaisesInCreate": "raised in create: LookupError: nothing to begin with",
    "RaisesInRun": "raised: ZeroDivisionError: division by zero (misbehaving.py:",
    "ExitsInRun": "raised: SystemExit: I have had enough (misbehaving.py:",
    "ExitsAfterAWait": "raised: SystemExit: 7 (misbehaving.py:",
    "EndsItsProcess": "its process ended with exit status 9 during a call",
    "Spins": "no answer",
    "Sleeps": "no answer",
    "AwaitsForEver": "no answer",
    "ReturnsNonsense": "market close",
    "Flipper": "market close",
    "FlipperAlone": "market close",
    "HarmsInRun": "market close",
    "OrdersFromAThread": "market close",
    "Rotator": "market close",
}
SENTENCES = (
    "scanner PicksUnknown picked NOSUCHTHING, NO/SUCH:SYMBOL!, which the broker does not trade; left out",
    "scanner Raises failed 3 times in a row and will not run again this session",
    "scanner LeavesAtOnce will not run again this session: its process ended with exit status 3 while it ran",
    "New York: failed 3 times in a row",
    "scanner LeavesAtOnce was off since 09:3",
    "scanner ReturnsNumbers returned a list with 1 in it, but a symbol is a string like 'AAPL'",
    "scanner NeverReturns did not return within 2 seconds and was abandoned",
    "strategy Spins did not answer",
    "strategy HarmsInRun has changed the warnings filters, the root logger, signal handlers and the working directory",
    "strategy RaisesInRun is stopped, the others go on: raised: ZeroDivisionError",
)


def test_whatever_user_code_does_it_is_stopped_alone_and_the_others_trade_on() -> None:
    with trader("--from", "09:30", "--to", "09:50", "--seed", "1", plan="misbehaving.toml") as run:
        assert run.start().ended() == 0, run.output
        assert [s for s in SENTENCES if s not in run.output] == []
        assert "Traceback" not in run.output
        run.nothing_is_left()
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
        logs = "".join(path.read_text() for path in (run.home / "logs").rglob("consumer-*.log*"))
    reasons = defaultdict(set)
    for row in record.rows("algo_run"):
        reasons[row["algo_name"]].add(row["end_reason"])
    assert {name: told for name, told in FATES.items() if not all(told in reason for reason in reasons[name])} == {}
    names = {row["algo_run_id"]: row["algo_name"] for row in record.rows("algo_run")}
    assert {names[row["algo_run_id"]] for row in record.rows("new_trades")} == {"Flipper", "FlipperAlone", "Rotator"}
    assert len([row for row in record.rows("algo_run") if row["algo_name"] == "FlipperAlone"]) == 1
    assert "strategy OrdersFromAThread uses its ctx outside a call of its own" in logs
