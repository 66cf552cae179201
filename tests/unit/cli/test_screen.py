"""What a person reads."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from liualgotrader.cli.operate import say_status
from liualgotrader.cli.screen import PlainScreen, TerminalScreen, drawn, screen_for, state_line
from liualgotrader.common.clock import NEW_YORK, instant
from liualgotrader.supervisor.view import PositionLine, ProcessView, StrategyView, View
from tests.fakes.supervisor import gateway_facts


def at(hour: int, minute: int) -> int:
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


def test_the_state_in_one_line_names_what_matters() -> None:
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
def test_a_lag_is_only_shown_while_new_market_data_flows(rate: float, lag_ms: Any, text: str) -> None:
    consumer = ProcessView("consumer-0", "ready", 11, 0, {"lag_ms": lag_ms})
    view = msgspec.structs.replace(VIEW, events_per_second=rate, processes=(consumer,))
    assert text in state_line(view).split("  ")


def test_a_terminal_shows_the_same_in_tables() -> None:
    from rich.console import Console

    out = io.StringIO()
    screen = TerminalScreen(Console(file=out, force_terminal=True, width=120))
    screen.show(VIEW)
    screen.line("batch [0b5e]")
    screen.close()
    text = out.getvalue()
    for part in (
        "SIMULATED 2024-06-03",
        "50%  3 h 15 min to the close",
        "consumer-0",
        "Breakout",
        "-12.50",
        "no answer",
        "batch [0b5e]",
    ):
        assert part in text


def held(count: int) -> tuple[PositionLine, ...]:
    return tuple(
        PositionLine("Breakout", f"S{i:02}", Decimal(100), Decimal(20), Decimal(20) + i, Decimal(19))
        for i in range(count)
    )


def shown(view: View, width: int, height: int = 24) -> list[str]:
    """Return the lines of the live table as a terminal of that size has them."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    console.print(drawn(view, width, height))
    return out.getvalue().splitlines()


BUSY = msgspec.structs.replace(
    VIEW,
    strategies=tuple(StrategyView(f"Strategy{i}", i, i, 1, Decimal(i), "", {}, Decimal(1)) for i in range(20)),
    positions=held(60),
    facts=gateway_facts(
        equity="101250.50",
        day_gain="-812.25",
        account_gain="1250.50",
        activities=["withdrawal of 6.00 $"],
        quarantined={s: "x" * 70 for s in "ABCDEF"},
    ),
    speed=1450.4,
)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("height", [16, 24, 60])
def test_the_live_table_never_fills_more_than_one_small_screen(width: int, height: int) -> None:
    quiet = msgspec.structs.replace(BUSY, facts=gateway_facts(equity="1"), processes=())
    for view in (VIEW, quiet, *([BUSY] if height >= 24 and width >= 80 else [])):
        lines = shown(view, width, height)
        assert len(lines) <= min(height, 24) - 2
        assert max(map(len, lines)) <= width


def test_open_positions_stand_in_a_table_of_their_own_with_the_stop_and_the_gain() -> None:
    short = PositionLine("Reversion", "IBM", Decimal(-5), Decimal("180.5"), Decimal("181.75"), None, Decimal(170))
    unknown = PositionLine("Reversion", "XYZ", Decimal(5), Decimal("1000"))
    view = msgspec.structs.replace(VIEW, positions=(*held(2), short, unknown))
    rows = [line.split() for line in shown(view, 100)]
    assert ["position", "strategy", "shares", "entry", "last", "stop", "target", "P&L", "$"] in rows
    assert ["IBM", "Reversion", "-5", "180.50", "181.75", "none", "170.00", "-6.25"] in rows
    rows = [line.split() for line in shown(view, 80)]
    assert ["position", "strategy", "shares", "entry", "last", "stop", "P&L", "$"] in rows
    assert ["S01", "Breakout", "100", "20.00", "21.00", "19.00", "+100.00"] in rows
    assert ["IBM", "Reversion", "-5", "180.50", "181.75", "none", "-6.25"] in rows
    assert ["XYZ", "Reversion", "5", "1,000.00", "-", "none", "-"] in rows


def test_where_not_all_positions_fit_those_that_matter_most_are_shown() -> None:
    quiet = msgspec.structs.replace(VIEW, processes=(), positions=held(60))
    lines = [line.split() for line in shown(quiet, 80)]
    assert lines[-2][0] == "S59"
    assert lines[-1] == ["…", "44", "more"]


def test_the_total_the_day_and_the_time_left_are_shown() -> None:
    lines = shown(BUSY, 100)
    assert lines[0] == "SIMULATED 2024-06-03  market 12:45:00  50%  x1,450  8 s left"
    assert lines[1] == (
        "equity 101,250.50 $  today:  our positions -812.25 $  the account +1,250.50 $  withdrawal of 6.00 $"
    )
    rows = [line.split() for line in lines]
    assert ["…", "13", "more", "169", "169", "13", "0", "+156.00", "+13.00", "+169.00"] in rows
    assert ["total", "190", "190", "20", "0", "+170.00", "+20.00", "+190.00"] in rows


def test_processes_are_shown_when_something_is_wrong_or_for_debugging_only() -> None:
    well = msgspec.structs.replace(VIEW, processes=VIEW.processes[:1])
    assert not any("producer" in line for line in shown(well, 80))
    assert any("producer" in line for line in shown(msgspec.structs.replace(well, debug=True), 80))
    assert any(line.split()[:2] == ["consumer-0", "down"] for line in shown(VIEW, 80))


def test_in_a_narrow_terminal_a_table_is_one_paragraph_a_row() -> None:
    from rich.console import Console

    out = io.StringIO()
    screen = TerminalScreen(Console(file=out, width=22, force_terminal=True, color_system=None))
    screen.table(
        "Session summary", ("strategy", "trades", "ended"), [("Breakout", "5", "market close"), ("total", "5", "")]
    )
    told = " ".join(out.getvalue().split())
    assert told == "Session summary Breakout: trades 5, ended market close total: trades 5"


@pytest.mark.parametrize(("width", "kind"), [(70, "boxed"), (46, "plain"), (30, "paragraphs")])
def test_no_number_of_a_table_is_ever_cut(width: int, kind: str) -> None:
    from rich.console import Console

    out = io.StringIO()
    screen = TerminalScreen(Console(file=out, width=width, force_terminal=True, color_system=None))
    header, row = (
        ("strategy", "profit factor", "P&L $", "ended"),
        ("Breakout", "12.25 %", "-1,234,567.89", "market close"),
    )
    screen.table("Session summary", header, [row])
    assert max(len(line.rstrip()) for line in out.getvalue().splitlines()) <= width
    told = " ".join(out.getvalue().split())
    for part in ("Breakout", "12.25 %", "-1,234,567.89", "market", "close", "profit", "factor"):
        assert part in told
    assert ("┃" in told, "ended market close" in told) == (kind == "boxed", kind == "paragraphs")


@pytest.mark.parametrize("kind", [PlainScreen, TerminalScreen])
def test_tables_stay(kind: Any, capsys: pytest.CaptureFixture[str]) -> None:
    screen = kind()
    screen.table("Session summary", ("strategy", "P&L $"), [("Breakout", "50.00"), ("total", "50.00")])
    out = capsys.readouterr().out
    assert "Session summary" in out
    assert "Breakout" in out
    assert out.count("50.00") == 2


@pytest.mark.parametrize("width", [60, 120])
def test_brackets_in_a_table_are_shown_as_they_are_and_end_nothing(width: int) -> None:
    from rich.console import Console

    out = io.StringIO()
    rows = [("Breakout", "ValueError: [/x]"), ("Other", "[strategies.Other] no")]
    TerminalScreen(Console(file=out, force_terminal=True, width=width)).table("[/summary]", ("strategy", "ended"), rows)
    for part in ("[/summary]", "ValueError: [/x]", "[strategies.Other] no"):
        assert part in out.getvalue()


def test_plain_lines_where_there_is_no_terminal() -> None:
    assert isinstance(screen_for(terminal=False).screen, PlainScreen)
    assert isinstance(screen_for(terminal=True).screen, TerminalScreen)


SAFETY = {
    "kill_switch": {"reason": "by hand", "since": "2024-06-03 10:00:00"},
    "entries_stopped": {"kill_switch": "by hand", "disk": "only 3 MB are free"},
    "quarantined": {"IBM": "the account has 5 shares fewer"},
    "foreign": {"BAC": "7"},
    "account": "4567",
    "equity": "99.50",
}
ALERTS = [
    "THE KILL SWITCH IS ON since 2024-06-03 10:00:00 New York (by hand): nothing is opened until `trader resume`",
    "entries are stopped: only 3 MB are free",
    "IBM is quarantined: the account has 5 shares fewer; `liu positions` settles it",
    "not ours and never traded: 7 BAC (`liu positions` adopts or flattens)",
]


def test_an_equity_that_the_broker_does_not_state_is_shown_as_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    view = msgspec.structs.replace(VIEW, facts=gateway_facts(account="4567", day_gain="12.00"))
    say_status(view, 11)
    told = "account …4567, equity unknown; today: our positions +12.00 $, the account unknown\n"
    assert told in capsys.readouterr().out
    assert shown(view, 80)[1] == "equity unknown  today:  our positions +12.00 $  the account unknown"


def test_what_keeps_orders_back_is_seen_in_the_table_and_in_status(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    refused = msgspec.structs.replace(VIEW.strategies[0], refused={"order_value": 12, "flip": 1})
    position = PositionLine("Breakout", "IBM", Decimal(10), Decimal("9.5"), Decimal(10), Decimal(9))
    view = msgspec.structs.replace(VIEW, facts=gateway_facts(**SAFETY), strategies=(refused,), positions=(position,))
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
    assert status.splitlines()[-2].split() == ["IBM", "Breakout", "10", "9.5000", "10.0000", "9", "-", "+5.00"]
    assert "refused=13" in state_line(view)


@pytest.mark.parametrize("width", [60, 80])
def test_a_long_reason_gives_way_to_the_numbers_in_a_narrow_terminal(width: int) -> None:
    ended = StrategyView("Breakout", 41, 27, 3, Decimal("-1234.50"), "raised: ValueError: " + "no " * 40)
    lines = shown(msgspec.structs.replace(VIEW, strategies=(ended,)), width)
    [row] = [line.split() for line in lines if line.startswith("Breakout")]
    assert row[:6] == ["Breakout", "41", "27", "3", "0", "-1,234.50"]
    assert any(line.split() == ["strategy", "fills", "trades", "open", "refused", "P&L", "$"] for line in lines)
