"""`optimizer`: play a strategy with each combination of its parameters, and rank what they come to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from liualgotrader.cli.backtester import account_options, data_options, names_of, output_options, whole
from liualgotrader.cli.common import guarded, parser_of

if TYPE_CHECKING:
    from liualgotrader.analytics.sweep import WalkForward
    from liualgotrader.common.rows import OptimizerRow
    from liualgotrader.supervisor.optimizing import Advance, SearchOutcome
    from liualgotrader.supervisor.view import Screen

DESCRIPTION = """\
Play the strategies of a tradeplan over past sessions with the parameters that its table [optimizer] spans, on all cores,
and rank the combinations. Each is a row of optimizer_run; of the best all orders and fills are stored as a batch.

  [optimizer]
  start_date = "2024-01-02"
  end_date = "2024-06-28"
  [optimizer.hyperparameters.strategies.Breakout]
  lookback = {param_type = "int", min = 5, max = 15}
  stop = {param_type = "float", min = 0.01, max = 0.05, delta = 0.01}

  optimizer --data FOLDER --scale minute
  optimizer --generated --objective calmar_ratio --constraint "trips>=30\""""

EPILOG = """\
exit codes:
  0    all combinations were played
  2    something configured cannot work: no parameters, no combination, no objective, or none could be played
  3    the outside world failed: data, database, disk
  130  ended by Ctrl-C; what was finished is shown and stored, and `optimizer --resume ID` goes on
"""

PROGRAM = "optimizer"
_STATED = ("tradeplan", "home", "dsn", "seed", "fills", "fees")
_LINE_SECONDS = 10.0  # of machine time between two lines of progress
_SHOWN = ("total_return", "sharpe_ratio", "max_drawdown", "trips", "win_rate", "gain")


def main() -> None:
    """Run the program."""
    guarded(PROGRAM, run)


def run(arguments: Sequence[str], program: str = PROGRAM) -> int:
    """Do what the command line says and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    options = _parser(program).parse_args(arguments)
    return _optimize(options, program)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = parser_of(program, DESCRIPTION, EPILOG)
    add = parser.add_argument_group("search").add_argument
    add("--objective", metavar="NAME|FILE:FUNCTION", help="what is to be large (default sharpe_ratio)")
    text = "what a combination must meet, like trips>=30, max_drawdown>-0.2 or fast<slow; may be repeated"
    add("--constraint", metavar="RULE", action="append", default=[], help=text)
    add("--sampler", choices=("grid", "random", "tpe"), default="grid", help="which combinations (default grid: all)")
    add("--samples", metavar="N", type=_count, default=100, help="with random and tpe: so many (default 100)")
    add("--patience", metavar="N", type=whole, default=0, help="end when N combinations in turn were no better")
    windows = "cut the days in N+1 parts, and play what is best in each over the next one"
    add("--walk-forward", metavar="N", type=whole, default=0, help=windows)
    add("--most", metavar="N", type=_count, default=100_000, help="refuse a larger product (default 100000)")
    add("-c", "--jobs", "--concurrency", metavar="N", type=whole, default=0, help="processes (default: all cores)")
    where = "where: this machine (loky), or a dask or ray cluster"
    add("--backend", choices=("loky", "dask", "ray"), default="loky", help=where)
    where = "of the dask or ray cluster (default: one on this machine)"
    add("--scheduler", metavar="ADDRESS", default="", help=where)
    add("--resume", metavar="ID", default="", help="go on with a search that was cut off")
    add("--keep", metavar="N", type=whole, default=1, help="store the best N as batches (default 1)")
    add("--top", metavar="N", type=_count, default=10, help="show the best N (default 10)")
    span = parser.add_argument_group("days")
    span.add_argument("--from", metavar="DAY", dest="first", help="the first day (default start_date of [optimizer])")
    span.add_argument("--to", metavar="DAY", dest="last", help="the last day (default end_date of [optimizer])")
    span.add_argument("--scale", choices=("day", "minute"), default="day", help="length of the bars (default day)")
    span.add_argument("--strats", metavar="A,B", type=names_of, default=(), help="only these of the strategies")
    span.add_argument("--scanners", metavar="A,B", type=names_of, default=(), help="only these of the scanners")
    parser.set_defaults(fresh_daily=False, asset="equity", detail="")
    data_options(parser.add_argument_group("data"))
    account_options(parser.add_argument_group("account"))
    output_options(parser.add_argument_group("plan and output"), saves=False)
    return parser


def _count(text: str) -> int:
    if not (value := whole(text)):
        raise argparse.ArgumentTypeError("0 are none: name a number of 1 or more")
    return value


def _optimize(options: argparse.Namespace, program: str) -> int:
    from liualgotrader.cli.backtest_run import Aside, request_from
    from liualgotrader.cli.common import complain, flush_output
    from liualgotrader.cli.screen import screen_for
    from liualgotrader.cli.trader_arguments import configured
    from liualgotrader.common.errors import ConfigError
    from liualgotrader.supervisor.optimizing import Optimizing, SearchRequest

    settings, plan = configured({name: getattr(options, name, None) for name in _STATED})
    table = plan.optimizer
    if not table:
        raise ConfigError(
            f"{settings.tradeplan_path} has no table [optimizer], so there is nothing to vary: `{program} --help` shows one"
        )
    for name, key in (("first", "start_date"), ("last", "end_date")):
        stated = getattr(options, name) or str(table.get(key, ""))
        if not stated:
            option = {"first": "--from", "last": "--to"}[name]
            raise ConfigError(f"name the {name} day with {option}, or with {key} in [optimizer]")
        setattr(options, name, stated)
    options.first = [options.first]
    asked = SearchRequest(
        backtest=request_from(options, settings.seed or 0),
        objective=options.objective or str(table.get("objective", "sharpe_ratio")),
        constraints=(*map(str, table.get("constraints", ())), *options.constraint),
        sampler=options.sampler,
        samples=options.samples,
        patience=options.patience,
        walk_forward=options.walk_forward,
        backend=options.backend,
        scheduler=options.scheduler,
        jobs=options.jobs,
        most=options.most,
        keep=options.keep,
        resume=options.resume,
    )
    screen: Screen = Aside() if options.json else screen_for()
    with Optimizing(asked, settings, plan, screen) as optimizing:
        with _progress(asked.jobs, program) as advance:
            outcome = optimizing.run(advance)
        if options.json:
            print(_document(outcome))
        else:
            _say(screen, outcome, asked.objective, options.top)
        if options.report is not None:
            screen.line(f"report: {_report(options.report, outcome, asked.objective)}")
    if outcome.sentence:
        complain(f"{program}: {outcome.sentence}")
    flush_output()
    return outcome.exit_code


@contextmanager
def _progress(jobs: int, program: str) -> Iterator[Advance]:
    """Show how far a search is, what the best so far came to, and how long the rest takes: a bar, or lines where no terminal is."""
    best: list[float] = []

    def text(row: OptimizerRow | None) -> str:
        if row is not None and row.objective is not None:
            best[:] = [max([row.objective, *best])]
        return f"best {best[0]:,.4g}" if best else ""

    if not sys.stderr.isatty():
        from liualgotrader.cli.common import complain
        from liualgotrader.supervisor.optimizing import duration

        first = last = perf_counter()

        def tell(done: int, total: int, row: OptimizerRow | None) -> None:
            nonlocal first, last
            shown, now = text(row), perf_counter()
            first = now if done <= 1 else first
            if done > 1 and now - last > _LINE_SECONDS and row is not None:
                last = now
                left = duration((now - first) / (done - 1) * (total - done))
                complain(f"{program}: {done:,} of {total:,}, {shown}, about {left} to go")

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("")
        yield lambda done, total, row: shown.update(task, completed=done, total=total, description=text(row))


def _say(screen: Screen, outcome: SearchOutcome, objective: str, top: int) -> None:
    """Show the ranking, and what is to be thought of the best."""
    from liualgotrader.analytics.sweep import broken

    figures = [name for name in (objective, *(n for n in _SHOWN if n != objective))]
    rows = []
    for place, row in enumerate(outcome.rows[:top], 1):
        values = [row.objective, *(row.figures.get(name) for name in figures[1:])]
        note = row.failure or ", ".join(f"not {one}" for one in broken(row, outcome.constraints))
        rows.append((f"{place}", *map(str, row.point.values()), *map(_number, figures, values), note))
    title = f"The best of {len(outcome.rows):,} combinations"
    screen.table(title, ("", *outcome.names, *(name.replace("_", " ") for name in figures), "note"), rows)
    if outcome.plateau is not None:
        around = outcome.plateau
        near = f"its {around.known} neighbours come to {around.score or 0:.2f} of it on average"
        screen.line(
            f"plateau: {near if around.score is not None else 'none, as the best is not above 0 or stands alone'}"
        )
        sure = outcome.deflated_sharpe
        told = "not known" if sure is None else f"{100 * sure:.1f} % likely"
        screen.line(
            f"deflated Sharpe: to be better than the luckiest of {len(outcome.rows):,} worthless ones is {told}"
        )
    if outcome.walk_forward is not None:
        _say_walk(screen, outcome.walk_forward, objective)
    screen.line(f"search {outcome.session_id}")


def _say_walk(screen: Screen, walk: WalkForward, objective: str) -> None:
    rows = []
    for place, (best, after) in enumerate(walk.windows, 1):
        values = (best.objective, after.objective)
        point = " ".join(f"{name}={value}" for name, value in best.point.items())
        rows.append((f"{place}", point, *(_number(objective, value) for value in values), after.failure))
    screen.table("Walk forward", ("window", "its best", f"{objective} in it", "in the next days", "note"), rows)
    figures = _number("sharpe_ratio", walk.sharpe_ratio), _number("total_return", walk.total_return)
    efficiency = "not known" if walk.efficiency is None else f"{walk.efficiency:.2f} of the growth in sample"
    screen.line("out of sample: Sharpe {}, return {}; efficiency {}".format(*figures, efficiency))


def _report(name: str, outcome: SearchOutcome, objective: str) -> Path:
    """Write the heat maps of a search, and return where."""
    from liualgotrader.analytics.heat_map import heat_map_page
    from liualgotrader.common.errors import OutsideError
    from liualgotrader.common.files import replace_file
    from liualgotrader.supervisor.reporting import place_of

    path = place_of(name, outcome.session_id)
    title = f"{objective} of {len(outcome.rows):,} combinations, search {outcome.session_id[:8]}"
    try:
        replace_file(path, heat_map_page(outcome.rows, outcome.names, objective, title).encode())
    except OSError as error:
        raise OutsideError(f"the report cannot be written to {path} ({error.strerror}): name another file") from error
    return path


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name in ("total_return", "max_drawdown", "win_rate", "annual_growth"):
        return f"{100 * value:,.2f} %"
    return f"{value:,.0f}" if name == "trips" else f"{value:,.2f}"


def _document(outcome: SearchOutcome) -> str:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(outcome)
    walked = plain["walk_forward"]["windows"] if plain["walk_forward"] else ()
    for row in (*plain["rows"], *(one for pair in walked for one in pair)):
        del row["equity"]
    return msgspec.json.format(msgspec.json.encode(plain)).decode()
