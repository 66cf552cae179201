"""What the summary says of an account over two sessions: positions nobody traded today, and shares that are not ours."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from datetime import date

import psutil
import pytest

from tests.session.audit import market_books
from tests.session.running import TraderRun, start_kept, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]


def buy_by_hand(run: TraderRun, symbol: str, quantity: int) -> None:
    """Do what the account's owner may do at any time in the broker's own program."""
    keys = psutil.Process(run.pid("order_gateway")).environ()
    address = re.search(r"serves (http://\S+);", run.output)
    assert address
    order = {"symbol": symbol, "qty": str(quantity), "side": "buy", "type": "market", "time_in_force": "day"}
    names = {"APCA-API-KEY-ID": "APCA_API_KEY_ID", "APCA-API-SECRET-KEY": "APCA_API_SECRET_KEY"}
    headers = {header: keys[name] for header, name in names.items()} | {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{address[1]}/v2/orders", json.dumps(order).encode(), headers)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.status == 200


def test_yesterdays_positions_and_shares_that_are_not_ours_stand_in_the_summary() -> None:
    with trader() as run:
        start_kept(run, "overnight_buy.toml", "2024-06-03", until="16:00")
        run.wait_for_market("09:34:00")
        run.process.send_signal(signal.SIGINT)
        assert run.ended() == 130, run.output
        first, second = sorted(market_books(run.state).positions)
        for symbol in (first, second):
            for strategy in ("Holder", "Leftover"):
                assert re.search(
                    rf"open position: {strategy} \+3 {symbol} at [\d.]+, last [\d.]+, P&L [-+.\d]+ \$, stop 0.25, ",
                    run.output,
                )

        start_kept(run, "overnight_keep.toml", "2024-06-04", until="09:40")
        run.wait_for_market("09:32:00", day=date(2024, 6, 4))
        buy_by_hand(run, first, 5)
        assert run.ended() == 4, run.output
        assert market_books(run.state).positions == {first: 8, second: 3}, "the day trades are closed, nothing else"
        summary = run.output.partition("Session summary")[2]
        for symbol in (first, second):
            assert re.search(
                rf"^open position: Holder \+3 {symbol} at [\d.]+, last [\d.]+, P&L [-+.\d]+ \$, stop 0.25, target [\d.]+, kept overnight$",
                summary,
                re.M,
            )
        assert "Leftover +" not in summary
        rows = {line.split()[0]: line for line in summary.splitlines() if line.startswith(("Holder", "Leftover"))}
        assert re.search(r" 2 +market close", rows["Holder"])
        assert re.search(r" 0 +market close", rows["Leftover"])
        assert (
            f"WARNING {first} is quarantined: the broker holds 5 shares more than our books say. Check its orders"
            in summary
        )
        assert f"trader: the account differs from our books in {first}: see the warnings of the summary" in summary
        run.nothing_is_left()
