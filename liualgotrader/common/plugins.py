"""Loads a user's class by file and name and makes an instance. Nothing else looks things up by name."""

from __future__ import annotations

import ast
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from liualgotrader.common.errors import ConfigError, nearest
from liualgotrader.common.folder_imports import folder_of, forget_plain_names, load_file, without_private_names
from liualgotrader.common.interpreter import kept_interpreter, own_context

T = TypeVar("T")

_TAKEN_BEFORE = ("filename", "recurrence", "own_process")  # keys of a table that no constructor need declare

_CLOCKS = {
    "datetime": ("now", "utcnow", "today"),
    "date": ("today",),
    "Timestamp": ("now",),
    "time": ("time", "time_ns", "monotonic", "perf_counter"),
}
_INSTEAD = {
    f"{owner}.{name}": "the `now` argument or ctx.now" for owner, names in _CLOCKS.items() for name in names
} | {
    "time.sleep": "on_timer",
    "np.random": "ctx.rng",
    "numpy.random": "ctx.rng",
    "requests": "the data_loader",
}
_LABELS_ONLY = 3  # the first pandas in which a number in brackets is never a place
_BY_PLACE = "pandas 3 takes a number in brackets for a label; write .iloc[-1], or pip install 'pandas<3'"
_LONGEST_TEXT = 300  # characters of an error of the user's
_CONTEXT = "__liu_context__"  # in a module: the context in which its file was run


def load_class(base: type[T], name: str, filename: object, folder: Path, *, table: str) -> type[T]:
    """Return class `name`, a subclass of `base`, from a Python file given relative to `folder` or absolute.

    `table` is the tradeplan's table that asked for it, for the error's sentence.

    Raises:
        ConfigError: no such file, the file does not run, no such class, not a subclass, methods missing.
    """
    if not isinstance(filename, str) or not filename:
        raise ConfigError(f"[{table}] needs `filename`, the Python file that holds class {name}")
    path = (folder / Path(filename).expanduser()).resolve()
    if not path.is_file():
        raise ConfigError(
            f"[{table}] filename {filename!r}: there is no file {path}; write the file there, or name the one that holds class {name}"
        )
    found = getattr(_module(path, table), name, None)
    if not inspect.isclass(found):
        raise ConfigError(f"[{table}] {path.name} has no class {name}; it must be named like the table")
    if not issubclass(found, base):
        raise ConfigError(f"[{table}] class {name} of {path.name} must extend {base.__module__}.{base.__name__}")
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise ConfigError(f"[{table}] class {name} of {path.name} does not define {', '.join(missing)}")
    return found


def load_function(place: str) -> Callable[..., Any]:
    """Return the function that `place` names, like `own.py:score`.

    Raises:
        ConfigError: no such file, the file does not run, no such function.
    """
    filename, _, name = place.rpartition(":")
    path = Path(filename).expanduser().resolve()
    if not path.is_file():
        raise ConfigError(f"{place!r}: there is no file {path}; name one as FILE.py:FUNCTION")
    found = getattr(_module(path, place), name, None)
    if not callable(found):
        raise ConfigError(f"{path.name} has no function {name or '(none is named)'}; name one like own.py:score")
    return found  # type: ignore[no-any-return]


def takes(kind: type[Any]) -> set[str]:
    """Return the names of all arguments that a class's constructor takes, those that it passes on included."""
    names = set[str]()
    for one in kind.__mro__:
        if "__init__" in vars(one):
            parameters = inspect.signature(vars(one)["__init__"]).parameters.values()
            names.update(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
            if all(p.kind is not p.VAR_KEYWORD for p in parameters):
                break
    return names - {"self"}


def context_for(kind: type[Any], seed: str) -> Context:
    """Return the context in which an instance of a user's class runs; its random numbers begin with `seed`."""
    return own_context(seed, getattr(sys.modules.get(kind.__module__), _CONTEXT, None))


def build(kind: type[T], arguments: dict[str, Any], *, table: str, context: Context | None = None) -> T:
    """Return `kind(**arguments)`, made in `context` if one is given.

    Raises:
        ConfigError: an argument that the constructor does not take or needs, or the constructor raised.
    """
    check_arguments(kind, arguments, table=table)
    try:
        with user_code(f"[{table}] {kind.__name__} was made", kind):
            return kind(**arguments) if context is None else context.run(kind, **arguments)
    except ConfigError:
        raise
    except (Exception, SystemExit) as e:
        where = where_raised(e, written_in(kind))
        raise ConfigError(f"[{table}] {kind.__name__} could not be made: {one_line(e)} ({where})") from e


def check_arguments(kind: type[Any], arguments: Mapping[str, Any], *, table: str) -> None:
    """Check that a constructor takes these arguments, and needs no others.

    Raises:
        ConfigError: naming the argument.
    """
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    source = written_in(kind)
    file = source.name if source is not None else "this session"
    unknown = [key for key in arguments if key not in named]
    if unknown and not takes_any:
        hint = nearest(unknown[0], [*named, *_TAKEN_BEFORE])
        raise ConfigError(f"[{table}] class {kind.__name__} of {file} takes no argument `{unknown[0]}`{hint}")
    missing = [n for n, p in named.items() if p.default is p.empty and n not in arguments]
    if missing:
        raise ConfigError(f"[{table}] class {kind.__name__} of {file} needs `{missing[0]}`, which the table lacks")


def outside_reads(filename: Path) -> list[str]:
    """Return a sentence for each place of a file that reads a clock, random numbers or the network without the engine.

    Such a strategy works, but a replay of its session may differ.
    """
    try:
        tree = ast.parse(filename.read_bytes(), filename=str(filename))
    except (OSError, SyntaxError, ValueError):
        return []
    found: dict[int, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names = [alias.name.partition(".")[0] for alias in node.names]
            case ast.ImportFrom(module="time"):
                names = [f"time.{alias.name}" for alias in node.names]
            case ast.ImportFrom(module=str(module)):
                names = [module.partition(".")[0]]
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner)):
                names = [f"{owner}.{node.attr}"]
            case _:
                continue
        for name in names:
            if name in _INSTEAD:
                found.setdefault(
                    node.lineno, f"{filename.name}:{node.lineno} uses {name}; take {_INSTEAD[name]} instead"
                )
    return [found[line] for line in sorted(found)]


def source_of(value: object) -> Path | None:
    """Return the file in which the class of `value` was written, None if there is none."""
    return written_in(type(value))


def written_in(kind: type[Any]) -> Path | None:
    """Return the file in which a class was written, None if there is none."""
    try:
        return Path(inspect.getfile(kind))
    except (OSError, TypeError):
        return None


def one_line(error: BaseException) -> str:
    """Return an error's type and text in one line of limited length, even if the user's error raises when it is read."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be read)"
    said = f"{type(error).__name__}: {' '.join(without_private_names(text).split())[:_LONGEST_TEXT]}"
    return f"{said}: {_BY_PLACE}" if _by_place(error) else said


def _by_place(error: BaseException) -> bool:
    """Whether pandas 3 took a number in the brackets of a Series for a label, where pandas 2 counted places."""
    if not isinstance(error, KeyError) or not isinstance(next(iter(error.args), None), int):
        return False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "__getitem__" and frame.f_globals.get("__name__") == "pandas.core.series":
            labels: Any = frame.f_locals["self"].index
            return int(version("pandas").partition(".")[0]) >= _LABELS_ONLY and labels.dtype.kind not in "iu"
    return False


def where_raised(error: BaseException, filename: Path | None) -> str:
    """Return `file:line` of the innermost frame inside `filename`, or of the innermost frame at all."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if filename is not None and Path(f.filename) == filename]
    chosen = (inside or list(frames))[-1:]
    return f"{Path(chosen[0].filename).name}:{chosen[0].lineno}" if chosen else "no line known"


@contextmanager
def user_code(whose: str, kind: type[Any] | None = None) -> Iterator[None]:
    """Run user code, of class `kind`, in the block, and restore what it changes for its process."""
    folder = folder_of(kind.__module__) if kind is not None else None
    try:
        with kept_interpreter(whose):
            yield
            if folder is not None:
                folder.take_path()
    finally:
        forget_plain_names()


def _module(path: Path, table: str) -> ModuleType:
    if path.suffix != ".py":
        raise ConfigError(f"[{table}] {path} is not a Python file")
    context = own_context(path.stem)
    try:
        with user_code(f"{path.name} was imported"):
            module = context.run(load_file, path)
    except SyntaxError as e:
        file = Path(e.filename).name if e.filename else path.name
        raise ConfigError(f"[{table}] {file}:{e.lineno} is not valid Python: {e.msg}") from e
    except (Exception, SystemExit) as e:
        raise ConfigError(f"[{table}] {path.name} cannot be imported: {one_line(e)} ({where_raised(e, path)})") from e
    module.__dict__.setdefault(_CONTEXT, context)
    return module
