"""The scanners' process, run inside the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from liualgotrader.common.clock import MINUTE, SECOND, machine_now
from liualgotrader.common.config import Secrets
from liualgotrader.common.control import Counters, Ready
from liualgotrader.common.errors import ConfigError, DataUnavailable
from liualgotrader.common.events import Pick
from liualgotrader.common.ports import MarketHistory
from liualgotrader.common.secret import Secret
from liualgotrader.ipc.address import wake_socket
from liualgotrader.ipc.batch_codec import decode_picks
from liualgotrader.ipc.links import LinkReader
from liualgotrader.ipc.session_page import Cell, Life, SessionPage
from liualgotrader.scanners_runner.scanner_marks import FILE, ScannerMarks
from liualgotrader.scanners_runner.scanners_process import ScannerDependencies, ScannersRunner
from tests.fakes.session import HostedChild, make_plan, open_hours

HEAD = """
import asyncio, threading
from pathlib import Path
from liualgotrader.common.clock import block
from liualgotrader.scanners.base import Scanner

HERE = Path(__file__).parent

class Base(Scanner):
    def __init__(self, data_loader, recurrence=None, target_strategy_name=None, data_source=None):
        super().__init__(type(self).__name__, data_loader, recurrence, target_strategy_name, data_source)
        self.runs = 0
"""
OFTEN = 0.001  # minutes


class Data:
    """A data vendor whose broker trades everything, or what it is told."""

    tradable: tuple[str, ...] = ()
    asked = 0

    async def warm_up(self) -> None:
        return

    async def tradable_symbols(self) -> dict[str, None]:
        self.asked += 1
        if not self.tradable:
            raise DataUnavailable("nobody knows")
        return dict.fromkeys(self.tradable)

    async def close(self) -> None:
        return


class Bench:
    """A scanners' process and the producer's end of its link."""

    def __init__(
        self, folder: Path, source: str, scanners: dict[str, dict[str, Any]], *, run_seconds: float = 60.0, **more: Any
    ) -> None:
        (folder / "s.py").write_text(HEAD + source)
        tables = {name: {"filename": "s.py", **table} for name, table in scanners.items()}
        self.plan = make_plan(folder, {"scanners": tables, **more.pop("tradeplan", {})}, **more)
        self.page = SessionPage(self.plan.page_path)
        self.hosted = HostedChild("scanners_runner", self.plan)
        secrets = Secrets(Secret("key-id"), Secret("hidden-secret"), Secret(""))
        self.data = Data()
        dependencies = ScannerDependencies(
            cast(MarketHistory, self.data), lambda: None, secrets, run_seconds=run_seconds, warm_up=self.data.warm_up
        )
        self.runner = ScannersRunner(self.hosted.child, dependencies)
        self.task = asyncio.ensure_future(self.runner.run())
        self.picks: list[Pick] = []
        self.messages: list[list[Pick]] = []
        self.link = LinkReader(self.plan.link_path("picks"), self.page, "picks")

    def produce(self) -> None:
        """Be a producer that is up."""
        self.link.attach(asyncio.get_running_loop(), self._take)

    def _take(self, payload: bytes) -> None:
        picks = decode_picks(payload)
        self.messages.append(picks)
        self.picks += picks
        self.link.handled()

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not true():
                assert not self.task.done(), self.task.exception()
                await asyncio.sleep(0.002)

    @property
    def symbols(self) -> list[str]:
        return [pick.symbol for pick in self.picks]


@asynccontextmanager
async def bench(
    folder: Path, source: str, scanners: dict[str, dict[str, Any]], *, produce: bool = True, **more: Any
) -> AsyncIterator[Bench]:
    made = Bench(folder, source, scanners, **more)
    if produce:
        made.produce()
    try:
        yield made
    finally:
        made.hosted.stop()
        await asyncio.wait({made.task}, timeout=60)
        made.link.close()
        made.hosted.close()
        assert made.task.done()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r")


async def test_picks_go_out_in_capitals_each_once_with_their_scanner_and_strategy(folder: Path) -> None:
    source = "class S(Base):\n    async def run(self, back_time=None):\n        return ['msft', 'AAPL', ' aapl ', 'MSFT', '']\n"
    async with bench(folder, source, {"S": {"target_strategy_name": "Alpha"}}) as run:
        await run.until(lambda: run.picks)
        assert [(p.symbol, p.scanner, p.strategy) for p in run.picks] == [
            ("MSFT", "S", "Alpha"),
            ("AAPL", "S", "Alpha"),
        ]
        assert run.hosted.said(Ready)


async def test_the_first_run_waits_until_a_pick_can_reach_its_strategy_at_once(folder: Path) -> None:
    source = "class S(Base):\n    async def run(self, back_time=None):\n        return ['AAPL']\n"
    async with bench(folder, source, {"S": {}}, tradeplan={"bypass_market_schedule": True}) as run:
        run.data.tradable = ("AAPL",)
        consumer = run.page.process("consumer-0")
        run.page.put(consumer, Cell.LIFE, Life.DOWN)
        await run.until(lambda: run.data.asked)  # the broker's list is at hand before anything is picked
        assert not run.hosted.said(Ready)
        run.page.put(consumer, Cell.LIFE, Life.READY)
        await run.until(lambda: run.picks)
        assert run.data.asked == 1


@pytest.mark.parity(15)
async def test_a_scanner_with_a_recurrence_runs_again_and_one_without_runs_once(folder: Path) -> None:
    source = """
class Once(Base):
    async def run(self, back_time=None):
        self.runs += 1
        return [f"ONCE{self.runs}"]

class Often(Base):
    async def run(self, back_time=None):
        self.runs += 1
        return [f"OFTEN{self.runs}"]
"""
    async with bench(folder, source, {"Once": {}, "Often": {"recurrence": OFTEN}}) as run:
        await run.until(lambda: "OFTEN4" in run.symbols)
        assert [s for s in run.symbols if s.startswith("ONCE")] == ["ONCE1"]
        assert [s for s in run.symbols if s.startswith("OFTEN")][:4] == ["OFTEN1", "OFTEN2", "OFTEN3", "OFTEN4"]


async def test_one_that_blocks_and_one_that_raises_do_not_delay_the_others(folder: Path) -> None:
    source = """
class Blocks(Base):
    async def run(self, back_time=None):
        block(3)

class Works(Base):
    async def run(self, back_time=None):
        self.runs += 1
        return [f"W{self.runs}"]
"""
    scanners = {"Works": {"recurrence": OFTEN}, "Blocks": {"recurrence": OFTEN}}
    async with bench(folder, source, scanners, run_seconds=0.3) as run:
        await run.until(lambda: "W3" in run.symbols)
        await run.until(lambda: run.hosted.notices)
        assert run.hosted.notices[0].startswith("scanner Blocks did not return within 0.3 seconds and was abandoned")


@pytest.mark.slow
async def test_an_error_names_file_and_line_and_three_in_a_row_end_the_scanner(folder: Path) -> None:
    source = """
class Wrong(Base):
    async def run(self, back_time=None):
        self.runs += 1
        (HERE / "runs").write_text(str(self.runs))
        if self.runs == 2:
            return ["FINE"]
        raise ValueError("as hidden-secret said")

class Works(Base):
    async def run(self, back_time=None):
        self.runs += 1
        return [f"W{self.runs}"]
"""
    line = (HEAD + source).splitlines().index('        raise ValueError("as hidden-secret said")') + 1
    async with bench(folder, source, {"Wrong": {"recurrence": OFTEN}, "Works": {"recurrence": OFTEN}}) as run:
        await run.until(lambda: any("will not run again" in text for text in run.hosted.notices))
        assert (
            run.hosted.notices[0]
            == f"scanner Wrong failed at s.py:{line}: ValueError: as *** said; it is tried again when it is due next"
        )
        assert run.hosted.notices[-1] == "scanner Wrong failed 3 times in a row and will not run again this session"
        assert len([n for n in run.hosted.notices if "hidden" in n or "as ***" in n]) == 1  # one cause, four failures
        assert ScannerMarks(folder).stopped["Wrong"].reason == "failed 3 times in a row"
        assert (folder / "runs").read_text() == "5"  # one failure, one success, three failures
        count = len(run.symbols)
        await run.until(lambda: len(run.symbols) > count + 3)
        assert (folder / "runs").read_text() == "5"


async def test_what_is_not_a_list_of_symbols_is_refused(folder: Path) -> None:
    source = "class S(Base):\n    async def run(self, back_time=None):\n        return [('AAPL', 1)]\n"
    async with bench(folder, source, {"S": {}}) as run:
        await run.until(lambda: run.hosted.notices)
        assert run.hosted.notices == [
            "scanner S returned a list with ('AAPL', 1) in it, but a symbol is a string like 'AAPL'"
        ]


async def test_a_symbol_that_the_broker_does_not_trade_is_left_out_and_named(folder: Path) -> None:
    source = "class S(Base):\n    async def run(self, back_time=None):\n        return ['aapl', 'NOSUCH', 'no/such!']\n"
    async with bench(folder, source, {"S": {}}) as run:
        run.data.tradable = ("AAPL", "MSFT")
        await run.until(lambda: run.symbols)
        assert run.symbols == ["AAPL"]
        told = "scanner S picked NOSUCH, NO/SUCH!, which the broker does not trade; left out"
        assert run.hosted.notices == [told]


async def test_a_text_that_no_message_can_hold_costs_the_other_picks_nothing(folder: Path) -> None:
    source = r"""
class S(Base):
    async def run(self, back_time=None):
        return ["\ud83d", "A\0", "AAPL"]
"""
    async with bench(folder, source, {"S": {}}) as run:
        await run.until(lambda: run.picks)
        assert run.symbols == ["AAPL"], "the broker's list is not known here"
        [told] = run.hosted.notices
        assert told == r"scanner S picked '\ud83d', 'A\x00', which the broker does not trade; left out"


@pytest.mark.parametrize("pick", ["*", "../X", "%s", "A\0", "X" * 300, "A B", "-3"], ids=repr)
async def test_a_pick_that_can_be_no_symbol_is_left_out_though_nobody_knows_what_the_broker_trades(
    folder: Path, pick: str
) -> None:
    source = f"class S(Base):\n    async def run(self, back_time=None):\n        return [{pick!r}, 'AAPL']\n"
    async with bench(folder, source, {"S": {}}) as run:
        await run.until(lambda: run.picks)
        assert run.symbols == ["AAPL"]
        assert len(run.hosted.notices) == 1


async def test_a_symbol_is_named_once_and_never_at_length(folder: Path) -> None:
    source = """
class S(Base):
    async def run(self, back_time=None):
        self.runs += 1
        return ["AAPL", "NOSUCH", "X" * 300] + (["LATER"] if self.runs > 1 else [])
"""
    async with bench(folder, source, {"S": {"recurrence": OFTEN}}) as run:
        run.data.tradable = ("AAPL",)
        await run.until(lambda: len(run.symbols) > 4)
        assert run.hosted.notices == [
            f"scanner S picked NOSUCH, {'X' * 20}, which the broker does not trade; left out",
            "scanner S picked LATER, which the broker does not trade; left out",
        ]


async def test_the_marks_say_who_runs_and_a_scanner_that_is_off_is_not_made_again(folder: Path) -> None:
    source = """
class Off(Base):
    def __init__(self, *args, **more):
        (HERE / "made").touch()

class On(Base):
    async def run(self, back_time=None):
        (HERE / "seen").write_text((HERE / "scanners.json").read_text())
        return ["AAPL"]
"""
    ScannerMarks(folder).stop("Off", 1, "its process ended with exit status 3 while it ran")
    async with bench(folder, source, {"Off": {}, "On": {}}) as run:
        await run.until(lambda: run.picks)
        assert not (folder / "made").exists()
        assert '"running":["On"]' in (folder / "seen").read_text()
    assert ScannerMarks(folder).blame(1, "nobody ran") == ""
    assert list(ScannerMarks(folder).stopped) == ["Off"]


def test_marks_that_the_loss_of_the_machine_left_broken_say_nothing(folder: Path) -> None:
    (folder / FILE).write_bytes(b'{"running":["A"')
    assert (ScannerMarks(folder).stopped, ScannerMarks(folder).suspects) == ({}, [])


async def test_suspects_run_one_after_another(folder: Path) -> None:
    source = """
class S(Base):
    async def run(self, back_time=None):
        marked = (HERE / "scanners.json").read_text()
        await asyncio.sleep(0.02)
        with (HERE / "together").open("a") as file:
            file.write(marked.split('"running":')[1].split("]")[0] + "\\n")
        return []

class R(S):
    pass
"""
    (folder / "scanners.json").write_text('{"running":["S","R"]}')  # as a process that has died leaves it
    assert ScannerMarks(folder).blame(1, "ended") == ""
    assert ScannerMarks(folder).suspects == ["R", "S"]
    async with bench(folder, source, {"S": {}, "R": {}}) as run:
        await run.until(lambda: (folder / "together").exists() and len((folder / "together").read_text().split()) == 2)
        assert sorted((folder / "together").read_text().split()) == ['["R"', '["S"']


async def test_picks_of_one_instant_leave_in_the_order_of_the_tradeplan(folder: Path) -> None:
    source = """
class Slow(Base):
    async def run(self, back_time=None):
        block(0.15)
        return ["SLOW"]

class Quick(Base):
    async def run(self, back_time=None):
        return ["QUICK"]
"""
    async with bench(folder, source, {"Slow": {}, "Quick": {}}) as run:
        await run.until(lambda: len(run.picks) == 2)
        assert run.symbols == ["SLOW", "QUICK"]


async def test_picks_wait_for_a_producer_that_is_down_and_hold_the_market(folder: Path) -> None:
    source = "class S(Base):\n    async def run(self, back_time=None):\n        return ['AAPL']\n"
    async with bench(folder, source, {"S": {}}, produce=False) as run:
        await run.until(lambda: run.hosted.said(Ready))
        await run.until(lambda: run.page.under_way(0) == ["scanners_runner is busy"])
        run.produce()
        await run.until(lambda: run.symbols == ["AAPL"])
        await run.until(lambda: not run.page.under_way(0))


@pytest.mark.slow
async def test_under_test_scanners_picks_are_shown_and_no_producer_is_needed(folder: Path) -> None:
    source = "class S(Base):\n    async def run(self, back_time=None):\n        return ['aapl', 'IBM']\n"
    async with bench(folder, source, {"S": {}}, produce=False, tradeplan={"test_scanners": True}) as run:
        await run.until(lambda: run.hosted.notices == ["scanner S picks 2: AAPL, IBM"])
        await run.until(lambda: run.hosted.said(Counters))


@pytest.mark.slow
async def test_before_the_open_nothing_runs_unless_the_schedule_is_bypassed(folder: Path) -> None:
    source = "class S(Base):\n    async def run(self, back_time=None):\n        return [f'M{self.minutes_from_open():.0f}']\n"
    hours = open_hours()
    later = msgspec.structs.replace(
        hours, opens_at=hours.opens_at + 90 * MINUTE, closes_at=hours.closes_at + 90 * MINUTE
    )
    async with bench(folder, source, {"S": {}}, hours=later) as run:
        await run.until(lambda: run.hosted.said(Ready) and run.hosted.said(Counters))
        assert run.picks == []
    async with bench(folder, source, {"S": {}}, hours=msgspec.structs.replace(later, bypass=True)) as run:
        await run.until(lambda: run.symbols == ["M-30"])


async def test_a_scanner_that_cannot_be_made_ends_the_process_with_one_sentence(folder: Path) -> None:
    made = Bench(folder, "", {"Missing": {}})
    with pytest.raises(ConfigError, match=r"s\.py has no class Missing"):
        await asyncio.wait_for(made.task, 60)
    made.hosted.close()


async def test_on_the_simulated_market_scanners_run_at_market_instants_and_the_market_waits(folder: Path) -> None:
    """Every run happens while the market stands at its instant, however long the scanner takes."""
    source = "class S(Base):\n    async def run(self, back_time=None):\n        block(0.02)\n        return [f'{self.minutes_from_open():g}']\n"
    hours = open_hours()
    async with bench(folder, source, {"S": {"recurrence": 5}}, hours=hours, simulated_clock=True) as run:
        await run.until(lambda: run.hosted.said(Ready))
        row = run.page.process("scanners_runner")
        at, stop = hours.opens_at, hours.opens_at + 21 * MINUTE
        while at < stop:
            run.page.set_anchor(at, machine_now(), 0.0)
            _wake(run)
            await run.until(partial(_is_quiet, run.page, at))
            at = max(at + 100_000_000, min(run.page.get(row, Cell.DEADLINE), stop))
        await run.until(lambda: not run.page.under_way(stop - SECOND))
        assert run.symbols == ["0", "5", "10", "15", "20"]
        assert [pick.at for pick in run.picks] == [hours.opens_at + n * 5 * MINUTE for n in range(5)]


def _is_quiet(page: SessionPage, at: int) -> bool:
    return not page.under_way(at)


def _wake(run: Bench) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        try:
            bell.sendto(b"!", str(wake_socket(run.page.path, "scanners_runner")))
        except OSError:
            return
