"""Saves a backtest as a file, plays a saved one again, and names the first thing in which two of them differ."""

from __future__ import annotations

import ast
import csv
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

import liualgotrader
from liualgotrader.common.clock import WallClock, as_datetime, as_utc
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.folder_imports import loaded_files
from liualgotrader.common.market_columns import BarColumns, mean_price
from liualgotrader.common.order_id import OrderId, batch_part
from liualgotrader.common.rows import OrderRow
from liualgotrader.common.secret import HIDDEN, without_secrets
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.supervisor.backtest_outcome import BacktestOutcome
from liualgotrader.supervisor.backtesting import Backtesting, BacktestRequest, Progress, narrowed
from liualgotrader.supervisor.plan_inspection import imported_files
from liualgotrader.supervisor.saved_result import (
    CHECKS,
    CODE,
    FORMAT,
    PACKAGE,
    TABLES,
    BarsRead,
    Circumstances,
    SavedResult,
    Statement,
    encoded,
    flat,
    plain_name,
    seals_of,
    sha256_of,
)
from liualgotrader.supervisor.view import Screen

_COLUMNS = ("opened_at", "closed_at", "open", "high", "low", "close", "volume", "average", "count")
_WORDS = {"opened_at": "its time", "closed_at": "its end"}
_PRIME = 65_521  # the largest below 2 ** 16
_OURS = Path(liualgotrader.__file__).resolve().parent
_ORDER = (
    "order", "strategy", "symbol", "side", "quantity", "type", "time_in_force", "limit_price", "stop_price", "state",
    "filled_quantity", "average_price", "reason", "planned_stop", "planned_target", "decided_at",
)  # fmt: skip
_FILL = ("at", "strategy", "symbol", "operation", "quantity", "price", "fee", "stop", "target", "because")
_SHOWN_SECRET = 8  # letters of a secret that cannot stand in a file by chance
_BEFORE = 30  # letters of a line that are shown before what differs
_PLACES = {"data": "", "kept": ""}


class Difference(msgspec.Struct, frozen=True):
    """What two results differ in: the part (settings, code, data, orders, fills, equity, figures), and a sentence."""

    part: str
    what: str


# --- saving ---------------------------------------------------------------------------------------------


def saved_result(backtesting: Backtesting, outcome: BacktestOutcome, command: Sequence[str] = ()) -> SavedResult:
    """Return a backtest that was played as it is saved; secrets are left out.

    Raises:
        ConfigError: if it did not play all sessions, or a file of its strategies cannot be handed on.
    """
    request, settings = backtesting.request, backtesting.settings
    if outcome.run.ended:
        raise ConfigError("the result is not saved: it was ended early, so that nobody can play the same again")
    folder, files = _code_files(settings, backtesting.plan)
    texts = {name: _handed_on(name, path, settings) for name, path in files.items()}
    tradeplan = _placed(backtesting.plan, folder)
    said = _settings_of(request, settings)
    checks = {symbol: checks_of(bars) for symbol, bars in sorted(backtesting.played.bars.items())}
    members = {CODE + name: text for name, text in texts.items() if not name.startswith(PACKAGE)}
    members |= {CHECKS: b"".join(found.tobytes() for found in checks.values())}
    members |= {f"{name}.csv": table for name, table in zip(TABLES, _tables(outcome), strict=True)}
    home = settings.tradeplan_path.absolute().parent.resolve()
    statement = Statement(
        format=FORMAT,
        settings=said,
        tradeplan=tradeplan,
        folder=home.relative_to(folder).as_posix(),
        code={name: sha256_of(text) for name, text in sorted(texts.items())},
        data=_bars_read(backtesting),
        tables={name: sha256_of(data) for name, data in sorted(members.items()) if not name.startswith(CODE)},
        figures=_figures(outcome),
        seals=seals_of(said, tradeplan),
    )
    run = Circumstances(
        batch_id=backtesting.batch_id,
        saved_at=f"{as_utc(WallClock().now()):%Y-%m-%dT%H:%M:%SZ}",
        command=without_secrets(" ".join(_without_places(command))),
        versions=versions(),
        package=package_hash(),
        data=request.bars.data,
        kept=request.bars.kept,
    )
    return SavedResult(msgspec.json.decode(encoded(statement), type=Statement), run, members)


def _without_places(command: Sequence[str]) -> Iterable[str]:
    """Return a command line without what names the database and the data folder."""
    words = iter(command)
    for word in words:
        if word in ("--dsn", "--home"):
            next(words, "")
        elif not word.startswith(("--dsn=", "--home=")):
            yield word


@cache
def versions() -> dict[str, str]:
    """Return the versions of what computes a backtest."""
    found = {"liualgotrader": liualgotrader.__version__, "python": platform.python_version()}
    for name in ("numpy", "pandas", "msgspec", "numba", "TA-Lib"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found | {"machine": f"{platform.system()} {platform.machine()}"}


@cache
def package_hash() -> str:
    """Return a hash of all files of this package."""
    files = sorted(path for path in _OURS.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".nbi", ".nbc"))
    return sha256_of(
        b"".join(f"{p.relative_to(_OURS).as_posix()} {sha256_of(p.read_bytes())}\n".encode() for p in files)
    )


def _settings_of(request: BacktestRequest, settings: Settings) -> dict[str, Any]:
    """Return all that decides what is played, and neither ids nor places of this machine."""
    bars = msgspec.structs.replace(request.bars, **_PLACES)
    again = request.repeats and msgspec.structs.replace(request.repeats, batch_id="", runs={}, simulated=False)
    told = msgspec.to_builtins(msgspec.structs.replace(request, bars=bars, repeats=again))
    told["debug"] = sorted(told["debug"])
    del told["note"], told["database"]
    return {**told, "exchange": {"fills": settings.fills, "fees": settings.fees, "debug": settings.debug}}


def _code_files(settings: Settings, plan: TradePlan) -> tuple[Path, dict[str, Path]]:
    """Return the folder that holds tradeplan and files, and the files of the user's by their names in a result."""
    named = [
        Path(t["filename"]).resolve() for t in (*plan.strategies.values(), *plan.scanners.values()) if "filename" in t
    ]
    beside = [path for path in map(Path, loaded_files()) if any(path.resolve().is_relative_to(n.parent) for n in named)]
    files = [Path(name) for name in imported_files([*named, *beside])]
    own = [path for path in files if not path.is_relative_to(_OURS)]
    home = settings.tradeplan_path.absolute().parent.resolve()
    folder = Path(os.path.commonpath([home, *(path.parent for path in own)]))
    return folder, {_name_of(path, folder): path for path in files}


def _name_of(path: Path, folder: Path) -> str:
    if path.is_relative_to(_OURS):
        return PACKAGE + path.relative_to(_OURS).as_posix()
    name = Path(os.path.relpath(path, folder)).as_posix()
    if not plain_name(name):
        raise ConfigError(f"the result is not saved: {path} is in a place that a result cannot name; move it")
    return name


def _placed(plan: TradePlan, folder: Path) -> dict[str, Any]:
    """Return a tradeplan without secrets, its files by their names in a result."""
    values: dict[str, Any] = without_secrets(plan.as_dict())
    for kind in ("strategies", "scanners"):
        values[kind] = {
            name: {k: _name_of(Path(v).resolve(), folder) if k == "filename" else v for k, v in table.items()}
            for name, table in values[kind].items()
        }
    return values


def _handed_on(name: str, path: Path, settings: Settings) -> bytes:
    """Return a file's contents.

    Raises:
        ConfigError: if it cannot be read, or a secret stands in it.
    """
    try:
        text = path.read_bytes()
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"the result is not saved: {path} cannot be read any more ({error})") from None
    if name.startswith(PACKAGE):
        return text
    ours = [s.reveal() for s in (settings.key_id, settings.secret_key, settings.polygon_key, settings.dsn)]
    known = [secret.encode() for secret in ours if len(secret) >= _SHOWN_SECRET]
    lines = [n for n, line in enumerate(text.splitlines(), 1) if any(secret in line for secret in known)]
    if lines := sorted([*lines, *_secrets_in(tree)]):
        raise ConfigError(
            f"the result is not saved: {name}:{lines[0]} holds what looks like a secret, and a result carries the strategy's"
            " files; read it from the environment instead"
        )
    return text


def _secrets_in(tree: ast.Module) -> Iterable[int]:
    """Yield the lines in which a text is given to a name that sounds secret, or holds an address with a password."""
    for node in ast.walk(tree):
        pairs: list[tuple[ast.expr | str | None, ast.expr | None]] = []
        match node:
            case ast.Assign(targets=targets):
                pairs = [(target, node.value) for target in targets]
            case ast.AnnAssign() | ast.NamedExpr():
                pairs = [(node.target, node.value)]
            case ast.keyword():
                pairs = [(node.arg, node.value)]
            case ast.Dict():
                pairs = list(zip(node.keys, node.values, strict=True))
            case ast.Constant(value=str(said)) if without_secrets(said) != said:
                yield node.lineno
        for named, value in pairs:
            match named:
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)) | str(name):
                    text = value.value if isinstance(value, ast.Constant) else None
                    if isinstance(text, str) and without_secrets({name: text}) != {name: text}:
                        yield getattr(value, "lineno", 0)


def _figures(outcome: BacktestOutcome) -> dict[str, Any]:
    """Return what a run came to, numbers to six digits: the last ones of a sum are the machine's."""
    told = msgspec.to_builtins(outcome.figures())
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in told.items()}


def _tables(outcome: BacktestOutcome) -> Iterable[bytes]:
    """Yield orders, fills and the account's value at each close."""
    run = outcome.run
    batch, names = batch_part(run.batch_id), {slot.algo_run_id: slot.strategy for slot in run.slots}
    newest = {row.client_order_id: row for row in run.rows if isinstance(row, OrderRow)}
    ordered = sorted(newest.values(), key=lambda row: OrderId.parse(row.client_order_id) or ())

    def plain(row: OrderRow, name: str) -> Any:
        if name in ("order", "strategy"):
            return row.client_order_id.partition(f"{batch}-")[2] if name == "order" else names.get(row.algo_run_id, "")
        value = getattr(row, name)
        return value.replace(batch, "batch") if isinstance(value, str) else value

    yield _csv(_ORDER, ([plain(row, name) for name in _ORDER] for row in ordered))
    yield _csv(_FILL, ([getattr(trade, name) for name in _FILL] for trade in outcome.executions))
    closes = zip(run.session_closes.tolist(), run.equity.tolist(), strict=True)
    yield _csv(("at", "equity"), ((at, f"{value:.4f}") for at, value in closes))


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Return a table; instants, in columns that end so, are New York's."""
    times = [n for n, name in enumerate(head) if name == "at" or name.endswith("_at")]
    held = StringIO()
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        cells: list[Any] = [
            "" if value is None else f"{value:f}" if hasattr(value, "as_tuple") else value for value in row
        ]
        for n in times:
            cells[n] = f"{as_datetime(cells[n]):%Y-%m-%d %H:%M:%S.%f}"
        writer.writerow(cells)
    return held.getvalue().encode()


# --- the bars -------------------------------------------------------------------------------------------


def _bars_read(backtesting: Backtesting) -> dict[str, BarsRead]:
    played = backtesting.played
    return {
        symbol: BarsRead(
            len(bars.opened_at),
            sha256_of(b"".join(np.ascontiguousarray(getattr(bars, name)).tobytes() for name in _COLUMNS)),
            [str(split) for split in played.splits.get(symbol, ())],
            [f"{one.amount:g} $ on {one.day}" for one in played.dividends.get(symbol, ())],
        )
        for symbol, bars in sorted(played.bars.items())
    }


def checks_of(bars: BarColumns) -> NDArray[np.uint16]:
    """Return two checksums of each bar: the sum of its columns' hashes, and the same with each times its number.

    Where two bars differ in one column only, the quotient of both differences is its number: so four bytes tell which bar
    was changed, and which price of it, without the prices themselves, which may not be handed on.
    """
    columns = [np.ascontiguousarray(getattr(bars, name)) for name in _COLUMNS]
    made_up = bars.average == mean_price((bars.open, bars.high, bars.low, bars.close))  # it follows from the others
    columns[_COLUMNS.index("average")] = np.where(made_up, 0.0, bars.average)
    mixed = np.stack([column.view(np.uint64) for column in columns], axis=1)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashes = (mixed ^ (mixed >> np.uint64(31))) % np.uint64(_PRIME)
    sums = np.stack([hashes.sum(axis=1), hashes @ np.arange(1, len(_COLUMNS) + 1, dtype=np.uint64)], axis=1)
    found: NDArray[np.uint16] = (sums % np.uint64(_PRIME)).astype("<u2")
    return found


def _column_changed(theirs: Sequence[int], mine: Sequence[int]) -> str:
    """Return in which column two bars differ; empty if in several."""
    first, second = ((m - t) % _PRIME for m, t in zip(mine, theirs, strict=True))
    number = second * pow(first, -1, _PRIME) % _PRIME if first else 0
    return _COLUMNS[number - 1] if 1 <= number <= len(_COLUMNS) else ""


def _bars_difference(symbol: str, theirs: NDArray[np.uint16], bars: BarColumns) -> str:
    """Return in which bar two series of a symbol differ first."""
    mine = checks_of(bars)
    shared = min(len(theirs), len(mine))
    differing = np.flatnonzero((theirs[:shared] != mine[:shared]).any(axis=1))
    place = int(differing[0]) if len(differing) else shared

    def bar(at: int) -> str:
        return f"{symbol}, bar of {as_datetime(int(bars.opened_at[at])):%Y-%m-%d %H:%M} New York"

    more = len(mine) - len(theirs)
    if more > 0 and (place == shared or (theirs[place] == mine[place + more]).all()):
        return f"{bar(place)}: it is here, and was not in the result ({more:,} more)"
    if more < 0 and (place == shared or (mine[place] == theirs[place - more]).all()):
        before = f"after the {bar(place - 1)}" if place else f"before the first bar of {symbol} here"
        return f"{before}: {-more:,} bars of the result are not here"
    if place == shared:
        return f"{symbol}: the bars differ"
    name = _column_changed(theirs[place].tolist(), mine[place].tolist())
    if not name:
        return f"{bar(place)}: several prices are not those of the result"
    value = "" if name in _WORDS else f" is {float(getattr(bars, name)[place]):.10g} here, and"
    return f"{bar(place)}: {_WORDS.get(name, name)}{value} was another in the result"


# --- comparing ------------------------------------------------------------------------------------------


def differences(theirs: SavedResult, mine: SavedResult, bars: Mapping[str, BarColumns]) -> list[Difference]:
    """Return the first difference of each part, in the order of cause and effect; `bars` are those of `mine`."""
    found = _of_settings(theirs.statement, mine.statement) + _of_code(theirs, mine.statement.code, mine.members)
    found += _of_data(theirs, mine.statement.data, bars)
    for name in TABLES:
        found += _of_table(name, theirs.members[f"{name}.csv"], mine.members[f"{name}.csv"])
    ours = mine.statement.figures
    wrong = [n for n, value in theirs.statement.figures.items() if ours.get(n) != value]
    said = (f"{n} is {theirs.statement.figures[n]!r} in the result, and {ours.get(n)!r} here" for n in wrong[:1])
    return found + [Difference("figures", what) for what in said]


def _of_settings(theirs: Statement, mine: Statement) -> list[Difference]:
    ours = {**flat(mine.settings), **flat(mine.tradeplan, "tradeplan.")}
    said = {**flat(theirs.settings), **flat(theirs.tradeplan, "tradeplan.")}
    for name in [*said, *(name for name in ours if name not in said)]:
        if said.get(name) != ours.get(name):
            texts = (repr(one[name])[:80] if name in one else "not set" for one in (said, ours))
            return [Difference("settings", "{}: {} in the result, {} here".format(name, *texts))]
    for kind in ("strategies", "scanners"):
        was, now = (", ".join(one.tradeplan.get(kind, ())) for one in (theirs, mine))
        if was != now:
            return [Difference("settings", f"the order of {kind}: {ascii(was)[1:-1]} in the result, {now} here")]
    return []


def _of_code(theirs: SavedResult, code: Mapping[str, str], members: Mapping[str, bytes]) -> list[Difference]:
    said = theirs.statement.code
    for name in sorted({*said, *code}):
        if said.get(name) == code.get(name):
            continue
        if name not in code or name not in said:
            where = "the result" if name in said else "what is here"
            return [Difference("code", f"{name} is a file of {where} alone")]
        texts = [held.get(CODE + name) for held in (theirs.members, members)]
        if None in texts:  # of this package
            return [Difference("code", f"{name.replace(PACKAGE, 'liualgotrader/')} is another file in this version")]
        lines = zip_longest(*((text or b"").decode("utf-8", "replace").splitlines() for text in texts))
        number, pair = next(((n, pair) for n, pair in enumerate(lines, 1) if pair[0] != pair[1]), (0, ("", "")))
        letters = enumerate(zip_longest(*(line or "" for line in pair)))
        start = max(0, next((n for n, (was, now) in letters if was != now), 0) - _BEFORE)
        shown = [
            ascii((line[start:] if start else line.strip())[:70]) if line is not None else "nothing" for line in pair
        ]
        told = (
            f", line {number}: {shown[0]} in the result, {shown[1]} here" if number else " differs in its ends of lines"
        )
        return [Difference("code", f"{name}{told}")]
    return []


def _of_data(theirs: SavedResult, ours: Mapping[str, BarsRead], bars: Mapping[str, BarColumns]) -> list[Difference]:
    said = theirs.statement.data
    start = 0
    for symbol in said:  # in the order of the checksums
        read, there = said[symbol], ours.get(symbol)
        rows = np.frombuffer(theirs.members[CHECKS], "<u2")[2 * start : 2 * (start + read.bars)].reshape(-1, 2)
        start += read.bars
        if read == there:
            continue
        if there is None:
            return [Difference("data", f"{symbol} was played, and is not here")]
        if read.sha256 == there.sha256:
            what = "splits" if read.splits != there.splits else "dividends"
            texts = (", ".join(getattr(one, what)) or "none" for one in (read, there))
            return [Difference("data", "{} of {}: {:.100} in the result, {:.100} here".format(what, symbol, *texts))]
        return [Difference("data", _bars_difference(symbol, rows, bars[symbol]))]
    return [Difference("data", f"{symbol} is here, and was not played") for symbol in sorted(ours.keys() - said)[:1]]


def _of_table(name: str, theirs: bytes, mine: bytes) -> list[Difference]:
    if theirs == mine:
        return []
    rows = (list(csv.reader(StringIO(data.decode("utf-8", "replace")))) for data in (theirs, mine))
    (head, *said), (_, *ours) = ([*found] or [[]] for found in rows)
    for number, (was, now) in enumerate(zip_longest(said, ours), 1):
        if was == now:
            continue
        row = dict(zip(head, was or now or (), strict=False))
        which = ", ".join(
            ascii(row[key])[1:-1] for key in ("order", "symbol", "side", "operation", "at") if row.get(key)
        )
        word = {"orders": "order", "fills": "fill", "equity": "close"}[name]
        if was is None or now is None:
            where = "the result" if now is None else "what was played here"
            return [Difference(name, f"{word} {number} ({which}) is in {where} alone")]
        column, before, after = next(cell for cell in zip(head, was, now, strict=False) if cell[1] != cell[2])
        return [
            Difference(name, f"{word} {number} ({which}): {column} is {before!r} in the result, and {after!r} here")
        ]
    return [Difference(name, "the tables differ")]


# --- playing it again -----------------------------------------------------------------------------------


def local_differences(saved: SavedResult, settings: Settings, plan: TradePlan) -> list[Difference]:
    """Return in what a tradeplan of this machine, and the files that it names, differ from those of a result."""
    stated, up = saved.statement, len(PurePosixPath(saved.statement.folder).parts)
    home = settings.tradeplan_path.absolute().parent.resolve()
    folder = Path(*home.parts[: len(home.parts) - up] or home.parts)
    try:
        plan = narrowed(plan, request_of(saved, ""))
        here = msgspec.structs.replace(stated, tradeplan=_placed(plan, folder))
    except ConfigError as error:
        return [Difference("settings", str(error))]
    members: dict[str, bytes] = {}
    for name in stated.code:
        path = _OURS / name.removeprefix(PACKAGE) if name.startswith(PACKAGE) else folder / name
        with suppress(OSError):
            members[CODE + name] = path.read_bytes()
    code = {name.removeprefix(CODE): sha256_of(text) for name, text in members.items()}
    return _of_settings(stated, here) + _of_code(saved, code, members)


def unpacked(saved: SavedResult, folder: Path) -> TradePlan:
    """Write the files of a result into a folder, and return its tradeplan with these.

    Raises:
        ConfigError: if the result leaves out a secret that its tradeplan had, or has no tradeplan.
    """
    values = saved.statement.tradeplan
    if hidden := [name for name, value in flat(values).items() if value == HIDDEN]:
        raise ConfigError(
            f"the result leaves out `{hidden[0]}`, a secret: verify it beside the tradeplan that has it (--tradeplan)"
        )
    for name in saved.statement.code:
        if not name.startswith(PACKAGE):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(saved.members[CODE + name])

    def found(name: str) -> str:
        if name not in saved.statement.code:
            raise ConfigError(
                f"the result has no file {name!r:.80} that its tradeplan names: get it as `--save` wrote it"
            )
        return str(_OURS / name.removeprefix(PACKAGE) if name.startswith(PACKAGE) else folder / name)

    try:
        tables = {
            kind: {
                name: {k: found(v) if k == "filename" else v for k, v in table.items()}
                for name, table in values[kind].items()
            }
            for kind in ("strategies", "scanners")
        }
        return TradePlan.from_dict({**values, **tables})
    except (msgspec.ValidationError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the tradeplan of the result cannot be read ({error}): get it as `--save` wrote it"
        ) from None


def request_of(saved: SavedResult, data: str) -> BacktestRequest:
    """Return the backtest that a result is of, on the bars of a folder, else of where they were.

    Raises:
        ConfigError: if it cannot be read, or its bars are nowhere.
    """
    told = {name: value for name, value in saved.statement.settings.items() if name != "exchange"}
    try:
        request = msgspec.convert(told, BacktestRequest)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the settings of the result cannot be read ({error}): get it as `--save` wrote it") from None
    bars, stated = request.bars, saved.statement
    if bars.generated is not None and not bars.symbols and bars.generated != len(stated.data):
        raise ConfigError(
            "the result names another number of invented symbols than it has: get it as `--save` wrote it"
        )
    if bars.generated is None:
        bars = msgspec.structs.replace(bars, data=data or saved.run.data, kept="" if data else saved.run.kept)
    return msgspec.structs.replace(request, bars=bars, database=False)


def play_again(
    saved: SavedResult,
    request: BacktestRequest,
    settings: Settings,
    plan: TradePlan,
    screen: Screen,
    progress: Progress,
) -> tuple[SavedResult, list[Difference]]:
    """Play a result again and return what came of it, and in what it differs.

    Raises:
        LiuError: if it cannot be played.
    """
    for place in filter(None, (request.bars.data, request.bars.kept)):
        if not Path(place).expanduser().exists():
            raise ConfigError(
                f"the result was played on {place!r:.200}, which is not here: name a copy of it with --data"
            )
    stated = saved.statement.settings.get("exchange")
    stated = {
        **(stated if isinstance(stated, dict) else {}),
        "home": settings.home,
        "tradeplan": str(settings.tradeplan_path),
    }
    with Backtesting(request, Settings.resolve(stated, environment={}), plan, screen) as backtesting:
        outcome = backtesting.play(progress)
        mine = saved_result(backtesting, outcome)
    return mine, differences(saved, mine, backtesting.played.bars)
