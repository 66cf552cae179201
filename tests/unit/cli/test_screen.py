"""What a person reads."""

from __future__ import annotations

import datetime as dt
import io
import os
import pty
import subprocess
import sys
from decimal import Decimal

import msgspec
import pytest

from liualgotrader.cli.operate import say_status
from liualgotrader.cli.screen import PlainScreen, TerminalScreen, screen_for, state_line
from liualgotrader.common.clock import NEW_YORK, instant
from liualgotrader.supervisor.view import ProcessView, StrategyView, View


def at(hour, minute):
    return instant(dt.datetime(2024, 6, 3, hour, minute, tzinfo=NEW_YORK))


VIEW = View(
    batch_id="0b5e7a4e",
    environment="SIMULATED",
    day="2024-06-03",
    market_at=at(12, 45),
    opens_at=at(9, 30),
    closes_at=at(16, 0),
    elapsed_seconds=12.0,
    events_per_second=12345.6,
    processes=(
        ProcessView("producer", "ready", 11, 0, {"symbols": 20, "events": 1e6, "dropped_0": 1, "dropped_1": 1}),
        ProcessView("consumer-0", "down", 0, 3, {"lag_ms": 1.25}),
    ),
    strategies=(StrategyView("Breakout", 4, 2, 1, Decimal("-12.50"), "no answer"),),
)


def test_the_state_in_one_line_names_what_matters():
    line = state_line(VIEW)
    for part in ("12:45:00", "symbols=20", "events/s=12346", "lag=1.2ms", "dropped=2", "fills=4", "Breakout=-12.50$"):
        assert part in line
    assert "consumer-0:down" in line
    assert "producer" not in line


@pytest.mark.parametrize(
    ("rate", "lag_ms", "text"),
    [
        (100.0, 0.0, "lag=0.0ms"),
        (100.0, 9_999.0, "lag=9999.0ms"),
        (3.0, 75_000.0, "lag=75s"),
        (3.0, 900_000.0, "lag=15min"),  # the delayed feed
        (3.0, 7.0 * 3600 * 1000, "lag=-"),  # a closed market's last quotes
        (0.0, 0.0, "lag=-"),  # nothing flows
    ],
)
def test_a_lag_is_only_shown_while_new_market_data_flows(rate, lag_ms, text):
    consumer = ProcessView("consumer-0", "ready", 11, 0, {"lag_ms": lag_ms})
    view = msgspec.structs.replace(VIEW, events_per_second=rate, processes=(consumer,))
    assert text in state_line(view).split("  ")


def test_a_terminal_shows_the_same_in_tables():
    from rich.console import Console

    out = io.StringIO()
    screen = TerminalScreen(Console(file=out, force_terminal=True, width=120))
    screen.show(VIEW)
    screen.line("batch [0b5e]")
    screen.close()
    text = out.getvalue()
    for part in (
        "SIMULATED 2024-06-03",
        "50% of the session",
        "consumer-0",
        "Breakout",
        "-12.50",
        "no answer",
        "batch [0b5e]",
    ):
        assert part in text


@pytest.mark.parametrize("kind", [PlainScreen, TerminalScreen])
def test_tables_stay(kind, capsys):
    screen = kind()
    screen.table("Session summary", ("strategy", "P&L $"), [("Breakout", "50.00"), ("total", "50.00")])
    out = capsys.readouterr().out
    assert "Session summary" in out
    assert "Breakout" in out
    assert out.count("50.00") == 2


def test_plain_lines_where_there_is_no_terminal():
    assert isinstance(screen_for(terminal=False).screen, PlainScreen)
    assert isinstance(screen_for(terminal=True).screen, TerminalScreen)


SESSION = """
import sys
from liualgotrader.cli.common import complain, flush_output, guarded
from liualgotrader.cli.operate import say_status
from liualgotrader.cli.screen import screen_for

def body(_):
    screen = screen_for(terminal=sys.argv[1] == "terminal")
    screen.line("the session ends")
    screen.warn("a position is open")
    screen.table("Session summary", ("strategy",), [("Breakout",)])
    screen.close()
    complain("trader: interrupted by Ctrl-C")
    flush_output()
    return 130

guarded("trader", body)
"""


def closed_terminal():
    ours, theirs = pty.openpty()
    os.close(ours)
    return theirs


def closed_pipe():
    theirs, ours = os.pipe()
    os.close(theirs)
    return ours


def full_disk():
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize(
    ("kind", "output"),
    [("terminal", closed_terminal), ("plain", closed_terminal), ("plain", closed_pipe), ("plain", full_disk)],
)
def test_a_session_ends_with_its_own_status_although_nobody_can_read_what_it_says(kind, output):
    nowhere = output()
    command = [sys.executable, "-c", SESSION, kind]
    done = subprocess.run(command, stdout=nowhere, stderr=nowhere, timeout=60, check=False)
    os.close(nowhere)
    assert done.returncode == 130


def test_a_session_ends_with_its_own_status_although_its_output_was_closed():
    call = ["bash", "-c", f'exec {sys.executable} -c "$0" plain >&- 2>&-', SESSION]
    assert subprocess.run(call, timeout=60, check=False).returncode == 130


SAFETY = {
    "kill_switch": {"reason": "by hand", "since": "2024-06-03 10:00:00"},
    "entries_stopped": {"kill_switch": "by hand", "disk": "only 3 MB are free"},
    "quarantined": {"IBM": "the account has 5 shares fewer"},
    "foreign": {"BAC": "7"},
    "account": "4567",
    "equity": "99.50",
    "positions": [{"strategy": "Breakout", "symbol": "IBM", "quantity": "10", "average_price": "9.5", "stop": "9"}],
}
ALERTS = [
    "THE KILL SWITCH IS ON since 2024-06-03 10:00:00 New York (by hand): nothing is opened until `trader resume`",
    "entries are stopped: only 3 MB are free",
    "IBM is quarantined: the account has 5 shares fewer; `liu positions` settles it",
    "not ours and never traded: 7 BAC (`liu positions` adopts or flattens)",
]


def test_what_keeps_orders_back_is_seen_in_the_table_and_in_status(capsys):
    from rich.console import Console

    refused = msgspec.structs.replace(VIEW.strategies[0], refused={"order_value": 12, "flip": 1})
    view = msgspec.structs.replace(VIEW, facts=SAFETY, strategies=(refused,))
    assert view.alerts() == ALERTS
    out = io.StringIO()
    screen = TerminalScreen(Console(file=out, force_terminal=True, width=160))
    screen.show(view)
    screen.close()
    say_status(view, 11)
    status = capsys.readouterr().out
    for alert in ALERTS:
        assert alert in out.getvalue()
        assert f"WARNING {alert}\n" in status
    assert "equity 99.50 $" in out.getvalue()
    assert "account …4567, equity 99.50 $" in status
    assert "12 by order_value, 1 by flip" in status
    assert "WARNING Breakout was stopped: no answer\n" in status
    assert status.splitlines()[-2].split() == ["Breakout", "IBM", "10", "9.5", "9", "-"]
    assert "refused=13" in state_line(view)
