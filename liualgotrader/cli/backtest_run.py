"""What `backtester` does with a command line: the run, what is shown of it, its rows."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.backtest.array_prefixes import MOST_ENDS
from liualgotrader.cli.backtest_screen import say_backtest, say_check, say_results
from liualgotrader.cli.common import complain, flush_output
from liualgotrader.cli.screen import screen_for
from liualgotrader.cli.trader_arguments import configured
from liualgotrader.common.borrow import read_borrow
from liualgotrader.common.calendar import TradingSession, day_of
from liualgotrader.common.clock import MINUTE, WallClock, as_utc
from liualgotrader.common.config import Settings
from liualgotrader.common.day_words import day_from
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.supervisor import reporting
from liualgotrader.supervisor.backtest_bars import SCALES, BarsWanted
from liualgotrader.supervisor.backtest_outcome import BacktestOutcome
from liualgotrader.supervisor.backtesting import Backtesting, BacktestRequest, Progress
from liualgotrader.supervisor.honesty import LOOKAHEAD, WARMUP, HonestyChecks, Told
from liualgotrader.supervisor.repeating import bars_of, find_batch, from_kept, newest_results, repeated, with_duration
from liualgotrader.supervisor.saved_result import SavedResult, result_place, write_result
from liualgotrader.supervisor.verifying import saved_result
from liualgotrader.supervisor.view import Screen, View

_MOST_WARNINGS = 5
_STATED = ("tradeplan", "home", "dsn", "seed", "fills", "fees", "latency_ms")


def backtest(options: argparse.Namespace, program: str) -> int:
    """Run what the command line asks for and return the exit status, of several backtests the first that is not 0.

    Raises:
        LiuError: in one sentence.
    """
    stated = {name: getattr(options, name, None) for name in _STATED}
    if options.word == "batch" and options.batch_list:
        return list_batches(Settings.resolve(stated), as_document=options.json)
    if options.word == "list":
        return list_results(options, Settings.resolve(stated))
    settings, plan = configured(stated)
    if options.word in (LOOKAHEAD, WARMUP):
        return check(request_from(options, settings.seed or 0), settings, plan, options, program)
    if options.word == "from":
        return play(request_from(options, settings.seed or 0), settings, plan, options, program)
    if options.save and len(options.batches) > 1:
        raise ConfigError("--save takes the result of one batch: name one")
    if options.duration is not None:
        plan = with_duration(plan, options.duration)
    statuses = [
        play(repeating_request(options, settings, plan, beginning), settings, plan, options, program)
        for beginning in options.batches
    ]
    return next(filter(None, statuses), 0)


@contextmanager
def _begun(
    request: BacktestRequest, settings: Settings, plan: TradePlan, options: argparse.Namespace
) -> Iterator[tuple[Screen, Backtesting, Callable[..., None]]]:
    """Yield the screen, the backtest, and what writes its report if one is wanted; a wrong place is refused before."""
    screen: Screen = Aside() if options.json else screen_for()
    script = b"" if options.report is None else reporting.plotly_script()
    with Backtesting(request, settings, plan, screen) as backtesting:
        place = reporting.place_of(options.report or "", backtesting.batch_id)

        def report(outcome: BacktestOutcome, mark: str = "") -> None:
            if script:
                reporting.write_report(place, reporting.source_of_backtest(backtesting, outcome, mark), script)
                screen.line(f"report: {place}")

        yield screen, backtesting, report


def play(
    request: BacktestRequest, settings: Settings, plan: TradePlan, options: argparse.Namespace, program: str
) -> int:
    """Run a backtest, show its summary, store its rows and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    place = result_place(options.save)
    with _begun(request, settings, plan, options) as (screen, backtesting, report):
        played = "bars" if request.bars.period >= MINUTE else "trades and quotes"
        with progress_bar(len(request.bars.sessions()), played, told=options.progress) as progress:
            outcome = backtesting.play(progress)
        saved, refused = _saved(backtesting, outcome, options)
        mark = "" if saved is None else saved.fingerprint
        if options.json:
            print(document(backtesting.batch_id, outcome, mark))
        else:
            screen.line(f"{settings.tradeplan_path}: {', '.join(request.strategies or plan.strategies)}")
            say_backtest(screen, outcome.summary, played)
            warnings = list(dict.fromkeys(outcome.run.warnings))
            for text in warnings[:_MOST_WARNINGS]:
                screen.warn(text)
            if len(warnings) > _MOST_WARNINGS:
                screen.warn(f"{len(warnings) - _MOST_WARNINGS} more warnings: --json lists all of them")
        report(outcome, mark)
        backtesting.save(outcome)
        if backtesting.record is not None:
            screen.line(f"batch {backtesting.batch_id}; its rows: {backtesting.record.how_to_look(settings.home_path)}")
    if saved is not None:
        write_result(place, saved)
        screen.line(f"result: {place}, fingerprint {mark}; `liu verify {place}` plays it again")
    if outcome.sentence:
        complain(f"{program}: {outcome.sentence}")
    if refused is not None:
        complain(f"{program}: {refused}")
    flush_output()
    return outcome.exit_code or (0 if refused is None else refused.exit_code)


def _saved(
    backtesting: Backtesting, outcome: BacktestOutcome, options: argparse.Namespace
) -> tuple[SavedResult | None, ConfigError | None]:
    """Return the result as it is to be saved, or why it cannot be: that ends nothing else."""
    try:
        return (saved_result(backtesting, outcome, options.command) if options.save else None), None
    except ConfigError as error:
        return None, error


def check(
    request: BacktestRequest, settings: Settings, plan: TradePlan, options: argparse.Namespace, program: str
) -> int:
    """Check a backtest's honesty, show what was found, store it with the backtest's rows and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    with _begun(request, settings, plan, options) as (screen, backtesting, report):
        with steps_bar() as told:
            checks = HonestyChecks(backtesting, told)
            if options.word == WARMUP:
                checked = checks.warm_up()
            else:
                checked = checks.look_ahead(sys.maxsize if options.every_bar else MOST_ENDS)
        backtesting.save(checked.outcome)
        backtesting.save_check(checked.check)
        if options.json:
            named = {"check": checked.check, "batch_id": checked.batch_id, "differences": checked.differences}
            print(_text_of(named | {"notes": checked.notes}))
        else:
            say_check(screen, checked)
        report(checked.outcome)
        if backtesting.record is not None:
            screen.line(f"batch {backtesting.batch_id}: the report of any batch of this plan shows the check")
    if checked.outcome.sentence:
        complain(f"{program}: {checked.outcome.sentence}")
    flush_output()
    return checked.exit_code


def request_from(options: argparse.Namespace, seed: int) -> BacktestRequest:
    """Return the backtest that the command line asks for.

    Raises:
        ConfigError: for options that cannot be meant together, and days that are none.
    """
    if options.data and options.generated is not None:
        raise ConfigError("--data and --generated exclude each other: choose one market")
    today = day_of(WallClock().now())
    bars = BarsWanted(
        first=day_from(" ".join(options.first), today),
        last=day_from(options.last, today),
        period=SCALES[options.scale],
        data=str(Path(options.data).expanduser()) if options.data else "",
        generated=options.generated,
        symbols=options.symbols,
        crypto=options.asset == "crypto",
        seed=seed,
        detail=options.detail,
    )
    request = BacktestRequest(bars=bars, strategies=options.strats, scanners=options.scanners)
    request = msgspec.structs.replace(request, fresh_daily=options.fresh_daily)
    return _with_account(request, options)


def repeating_request(
    options: argparse.Namespace, settings: Settings, plan: TradePlan, beginning: str
) -> BacktestRequest:
    """Return the backtest that plays a recorded batch again.

    Raises:
        LiuError: if there is no such batch, or nothing of it can be played.
    """
    found = asyncio.run(find_batch(settings, beginning))
    bars = bars_of(found)
    if options.data:
        folder = str(Path(options.data).expanduser())
        bars = msgspec.structs.replace(bars, data=folder, generated=None, of_session=False)
    if options.scale:
        bars = msgspec.structs.replace(bars, period=SCALES[options.scale])
    symbols = tuple(dict.fromkeys(options.symbol))
    bars, again = repeated(found, bars, plan, symbols=symbols, strict=options.strict)
    if not options.data and bars.period >= MINUTE:
        bars = from_kept(bars, again.batch_id, settings.home_path)
    return _with_account(BacktestRequest(bars=bars, repeats=again, debug=frozenset(options.debug)), options)


def _with_account(request: BacktestRequest, options: argparse.Namespace) -> BacktestRequest:
    """Return the request with what the command line says of account, benchmark and record."""
    names = (
        "fee_per_share",
        "slippage_bps",
        "buy_fee_percentage",
        "sell_fee_percentage",
        *(["cash"] if options.cash else []),
    )
    money: dict[str, Any] = {name: Decimal(getattr(options, name)) for name in names}
    borrow = read_borrow(Path(options.borrow)) if options.borrow else ()
    return msgspec.structs.replace(
        request,
        borrow=borrow,
        benchmark=options.benchmark,
        database=not options.no_database,
        note=options.note,
        **money,
    )


def list_batches(settings: Settings, *, as_document: bool) -> int:
    """Print the newest batches, as a table or as JSON."""
    found = [
        {
            "batch_id": batch.batch_id,
            "environment": batch.environment,
            "day": batch.session_date,
            "strategies": [*batch.parameters],
            "started_at": f"{as_utc(batch.started_at):%Y-%m-%d %H:%M}",
            "build": batch.build_number,
        }
        for batch in asyncio.run(newest_results(settings))
    ]
    if as_document:
        print(_text_of(found))
        return 0
    rows = [[v if isinstance(v, str) else ", ".join(v) for v in batch.values()] for batch in found]
    header = ("batch_id", "environment", "day", "strategies", "start (UTC)", "build")
    screen_for().table("Batches", header, rows)
    return 0


def list_results(options: argparse.Namespace, settings: Settings) -> int:
    """Print the newest batches with what they came to, as a table or as one JSON document."""
    found = asyncio.run(newest_results(settings, options.limit, options.kind))
    if options.json:
        print(_text_of(found))
    else:
        say_results(screen_for(), found)
    return 0


def report_of_batch(options: argparse.Namespace) -> int:
    """Write the report of a recorded batch or portfolio.

    Raises:
        LiuError: in one sentence.
    """
    settings = Settings.resolve({"home": options.home, "dsn": options.dsn})
    script = reporting.plotly_script()
    source = asyncio.run(reporting.source_of_record(settings, options.batch, options.benchmark, options.beside))
    path = reporting.place_of(options.output, source.batch_id)
    reporting.write_report(path, source, script)
    print(path)
    return 0


def document(batch_id: str, outcome: BacktestOutcome, fingerprint: str = "") -> str:
    """Return the figures of a run as JSON: those of the summary, why it ended, what was refused, and as what it is saved."""
    run = outcome.run
    names = {slot.slot: slot.strategy for slot in run.slots}
    told = {
        "batch_id": batch_id,
        "ended": run.ended,
        "stopped": {names[slot]: reason for slot, reason in run.stopped.items()},
        "failures": run.failures,
        "refusals": dict(sorted(run.refusals.items())),
        "warnings": list(dict.fromkeys(run.warnings)),
        "summary": outcome.summary,
        **({"fingerprint": fingerprint} if fingerprint else {}),
    }
    return _text_of(told)


def _text_of(told: object) -> str:
    return msgspec.json.format(_encoder.encode(told)).decode()


_encoder = msgspec.json.Encoder(decimal_format="number")


@contextmanager
def progress_bar(sessions: int, played: str = "bars", *, told: bool = False) -> Iterator[Progress]:
    """Show, in a terminal, how far a run is, at which day, and how long the rest takes; `told` as lines of JSON."""
    if told:
        done = itertools.count(1)

        def tell(session: TradingSession, bars: int) -> None:
            line = {"done": next(done), "of": sessions, "day": session.day, played: bars}
            print(_encoder.encode(line).decode(), file=sys.stderr, flush=True)

        yield tell
        return
    if not sys.stderr.isatty():
        yield lambda session, bars: True
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=sessions)

        def advance(session: TradingSession, bars: int) -> None:
            shown.update(task, advance=1, description=f"{session.day}  {bars:,} {played}")

        yield advance


@contextmanager
def steps_bar() -> Iterator[Told]:
    """Show, in a terminal, what a check is at, and how long that takes."""
    if not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} of {task.total:,}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as shown:
        tasks: dict[str, TaskID] = {}

        def told(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=of)
            shown.update(tasks[what], completed=done)

        yield told


class Aside:
    """Lines on standard error, where standard output is a document."""

    def line(self, text: str) -> None:
        complain(text)

    def warn(self, text: str) -> None:
        complain(f"WARNING {text}")

    def show(self, view: View) -> None:
        """There is no session to show."""

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The document has it."""

    def close(self) -> None:
        """There is nothing to take away."""
