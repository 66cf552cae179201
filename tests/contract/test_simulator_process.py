"""The simulated market as a process of its own, as the supervisor starts it."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import MarketOrderRequest

from liualgotrader.common.clock import MINUTE, SECOND, block, machine_now
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.simulator.main import run
from tests.fakes.simulated_market import KEY, SECRET
from tests.fakes.tapes import at

pytestmark = pytest.mark.integration
SOON = 60


@dataclass
class MarketProcess:
    """The process, and the supervisor's end of its control link."""

    process: BaseProcess
    control: Connection

    def hear(self, key: str) -> Any:
        """Return the next message that says `key`."""
        while True:
            assert self.control.poll(60), f"nothing about {key}"
            message = msgspec.msgpack.decode(self.control.recv_bytes())
            if key in message:
                return message

    def tell(self, **message: Any) -> None:
        self.control.send_bytes(msgspec.msgpack.encode(message))

    def ends_within(self, seconds: float) -> int | None:
        self.process.join(seconds)
        return self.process.exitcode


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., MarketProcess]]:
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    started: list[MarketProcess] = []

    def make(**changes: Any) -> MarketProcess:
        fields: dict[str, Any] = {
            "kind": "generated",
            "day": "2024-03-08",
            "starts_at": at("09:30"),
            "ends_at": at("09:32"),
            "symbol_count": 3,
            "seed": 7,
        }
        path = tmp_path / f"market-{len(started)}.json"
        path.write_bytes(msgspec.json.encode(MarketSpec(**(fields | changes))))
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=run, args=(str(path), theirs))
        process.start()
        theirs.close()
        started.append(MarketProcess(process, ours))
        return started[-1]

    yield make
    for market in started:
        if market.process.is_alive():
            market.process.kill()
        market.process.join(60)
        market.process.close()
        market.control.close()


def test_it_names_its_port_reports_each_second_says_that_it_ended_and_serves_on(start: Any, tmp_path: Path) -> None:
    market = start(state=str(tmp_path / "accounts"))
    port = market.hear("port")["port"]
    client = TradingClient(KEY, SECRET, url_override=f"http://127.0.0.1:{port}")
    report = market.hear("market")
    assert set(report) == {"market", "speed_seen", "events", "waiting_for"}  # orders are the gateway's to count
    assert market.hear("ended") == {"ended": True}
    assert client.get_clock().timestamp.isoformat() == "2024-03-08T09:32:00-05:00"
    assert (tmp_path / "accounts").stat().st_mode & 0o777 == 0o600
    market.tell(stop=True)
    assert market.ends_within(SOON) == 0


def test_it_ends_within_a_second_when_its_parent_is_gone_and_not_by_ctrl_c(start: Any) -> None:
    market = start(free_run=True, speed=1.0, ends_at=at("16:00"))
    port = market.hear("port")["port"]
    assert market.process.pid is not None
    os.kill(market.process.pid, signal.SIGINT)
    connection = socket.create_connection(("127.0.0.1", port))  # an idle client does not keep it
    market.hear("market")
    market.control.close()
    assert market.ends_within(SOON) == 0
    connection.close()


def test_a_port_in_use_is_one_sentence_and_exit_3(start: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        market = start(port=port)
        failed = market.hear("failed")
        assert failed == {"failed": f"Port {port} is in use; name another one, or 0 for any free one.", "exit_code": 3}
        assert market.ends_within(SOON) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"day": "2024-03-09"}, "2024-03-09"),
        ({"fill_profile": "lucky"}, "Unknown fill profile lucky"),
        ({"fees": "many"}, "Unknown fees many"),
        ({"kind": "recorded", "folder": "/nowhere/at/all"}, "/nowhere/at/all"),
    ],
)
def test_what_cannot_be_played_is_one_sentence_and_exit_2(start: Any, changes: dict[str, Any], words: str) -> None:
    market = start(**changes)
    failed = market.hear("failed")
    assert words in failed["failed"]
    assert failed["exit_code"] == 2
    assert market.ends_within(SOON) == 2


def test_accounts_outlive_the_process_in_the_state_file(start: Any, tmp_path: Path) -> None:
    state = str(tmp_path / "accounts")
    first = start(state=state, speed=60.0, free_run=True, ends_at=at("09:50"))
    client = TradingClient(KEY, SECRET, url_override=f"http://127.0.0.1:{first.hear('port')['port']}")
    symbol = client.get_all_assets()[0].symbol
    client.submit_order(MarketOrderRequest(symbol=symbol, qty=1, side="buy", time_in_force="day"))
    deadline = machine_now() + 60 * SECOND
    while not client.get_all_positions():
        assert machine_now() < deadline
        block(0.05)
    first.tell(stop=True)
    assert first.ends_within(SOON) == 0
    second = start(state=state, starts_at=at("09:50"), ends_at=at("09:50") + MINUTE)
    client = TradingClient(KEY, SECRET, url_override=f"http://127.0.0.1:{second.hear('port')['port']}")
    assert [(p.symbol, p.qty) for p in client.get_all_positions()] == [(symbol, "1")]
    second.tell(stop=True)
    assert second.ends_within(SOON) == 0


def test_kept_accounts_are_split_and_it_says_what_was_odd_and_left_out(start: Any, tmp_path: Path) -> None:
    """A share bought at 70 $ the day before is seven after the 7:1 split of the morning."""
    a_day, opens = 1440 * MINUTE, at("09:30")
    seconds = range(-SECOND, 59 * SECOND, SECOND)
    times = [*((opens - a_day + n, 70) for n in seconds), *((opens + n, 10) for n in seconds)]
    quotes = [f"ABC,{t},{p - 0.01},500,{p + 0.01},500" for t, p in times]
    (tmp_path / "quotes.csv").write_text(
        "\n".join(["symbol,at,bid,bid_size,ask,ask_size", *quotes, f"ABC,{opens + 1},12,1,10,1\n"])
    )
    (tmp_path / "trades.csv").write_text(
        "\n".join(["symbol,at,price,size", *(f"ABC,{t},{p},9" for t, p in times)]) + "\n"
    )
    (tmp_path / "splits.csv").write_text("symbol,day,ratio\nABC,2024-03-08,7\n")
    common = {"kind": "recorded", "folder": str(tmp_path), "state": str(tmp_path / "accounts")}
    first = start(
        day="2024-03-07", starts_at=opens - a_day, ends_at=opens - a_day + MINUTE, speed=5.0, free_run=True, **common
    )
    client = TradingClient(KEY, SECRET, url_override=f"http://127.0.0.1:{first.hear('port')['port']}")
    client.submit_order(MarketOrderRequest(symbol="ABC", qty=1, side="buy", time_in_force="day"))
    deadline = machine_now() + 20 * SECOND
    while not client.get_all_positions():
        assert machine_now() < deadline
        block(0.05)
    first.tell(stop=True)
    assert first.ends_within(SOON) == 0
    second = start(starts_at=opens, ends_at=opens + SECOND, **common)
    about = second.hear("port")
    client = TradingClient(KEY, SECRET, url_override=f"http://127.0.0.1:{about['port']}")
    [position] = client.get_all_positions()
    assert (position.qty, float(position.avg_entry_price)) == ("7", pytest.approx(10.0, abs=0.01))
    assert about["notes"] == ["History is adjusted as of 2024-03-08 for splits: ABC 7:1 on 2024-03-08."]
    assert about["doubts"] == []
    assert [text.split(";")[0] for text in about["skipped"]] == ["1 of 61 quotes of ABC are crossed and were left out"]
    second.tell(stop=True)
    assert second.ends_within(SOON) == 0


def test_no_secret_stands_in_its_log(start: Any, tmp_path: Path) -> None:
    market = start()
    market.hear("ended")
    market.tell(stop=True)
    assert market.ends_within(SOON) == 0
    written = "".join(p.read_text() for p in tmp_path.glob("*.log"))
    assert "market_serves" in written
    assert SECRET not in written and KEY not in written


def first_quoted(names: dict[str, str], symbol: str) -> str:
    stream = StockDataStream(names["APCA_API_KEY_ID"], names["APCA_API_SECRET_KEY"], url_override=names["data"])
    quoted: list[str] = []

    async def on_quote(quote: Any) -> None:
        quoted.append(quote.symbol)
        await stream.stop_ws()

    stream.subscribe_quotes(on_quote, symbol)
    stream.run()
    return quoted[0]


def test_any_program_of_the_vendors_client_trades_on_the_market_alone_and_its_account_is_kept(tmp_path: Path) -> None:
    def serve() -> tuple[subprocess.Popen[str], dict[str, str]]:
        words = ["simulate", "--symbols", "3", "--speed", "30", "--state", str(tmp_path / "kept")]
        command = [sys.executable, "-c", "from liualgotrader.cli.liu import main; main()", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = list(iter(process.stdout.readline, "# Ctrl-C ends the market\n"))
        assert all(line.startswith(("export ", "#")) for line in lines)  # a shell may take them all
        streams = re.findall(r"'(ws://\S+)'", next(line for line in lines if line.startswith("# its streams")))
        said = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if line.startswith("export"))
        return process, said | dict(zip(("data", "orders"), streams, strict=True))

    for held in ("3", "6"):
        process, names = serve()
        client = TradingClient(
            names["APCA_API_KEY_ID"], names["APCA_API_SECRET_KEY"], url_override=names["APCA_API_BASE_URL"]
        )
        while not client.get_clock().is_open:
            block(0.01)
        symbol = str(min(asset.symbol for asset in client.get_all_assets()))
        sent = MarketOrderRequest(symbol=symbol, qty=3, side="buy", time_in_force="day")
        order = client.submit_order(sent)
        while client.get_order_by_id(order.id).status != "filled":
            block(0.01)
        assert [(p.symbol, p.qty) for p in client.get_all_positions()] == [(symbol, held)]
        assert first_quoted(names, symbol) == symbol
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 0
