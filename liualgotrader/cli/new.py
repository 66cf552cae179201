"""`liu new strategy NAME` and `liu new scanner NAME`: files that run as they are, with a tradeplan."""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from importlib import resources
from pathlib import Path

from liualgotrader.common.config import program_call
from liualgotrader.common.errors import ConfigError

TEMPLATES = resources.files("liualgotrader.cli") / "templates"


def new(kind: str, name: str, folder: str) -> int:
    """Write the files of a new `strategy` or `scanner` and say what to do next; return the exit status.

    Raises:
        ConfigError: if the name is not a class name, a file is there already, or the folder cannot be written.
    """
    written = write(kind, name, folder)
    plan = shlex.quote(str(written[1]))
    print(f"wrote {', '.join(map(str, written))}")
    print(f"try it: {program_call('trader')} --simulate --tradeplan {plan} --from 09:30 --to 10:30")
    if kind == "strategy":
        backtester = f"{program_call('backtester')} from 2024-01-02 --to 2024-01-31 --scale minute --generated"
        print(f"backtest it: {backtester} --tradeplan {plan}")
        print(f"test it: {program_call('python')} {shlex.quote(str(written[2]))}  (pytest runs it as well)")
    return 0


def files_of(kind: str, name: str, folder: str) -> list[Path]:
    """Return the files of a new strategy or scanner: its class, a tradeplan, and of a strategy its test.

    Raises:
        ConfigError: if the name is not a class name, or the folder cannot be read.
    """
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) or keyword.iskeyword(name):
        raise ConfigError(f"'{name}' is not a class name; write it like OpeningBreakout")
    module = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if module in sys.stdlib_module_names:
        raise ConfigError(f"{module}.py would hide Python's own module {module}; choose another name")
    here = Path(folder)
    plan = here / f"{module}.toml"
    if kind == "strategy" and not _is_there(here / "tradeplan.toml"):
        plan = here / "tradeplan.toml"
    return [here / f"{module}.py", plan, *([here / f"test_{module}.py"] if kind == "strategy" else [])]


def write(kind: str, name: str, folder: str) -> list[Path]:
    """Write the files of a new strategy or scanner, all of them or none, and return them.

    Raises:
        ConfigError: as `files_of`, or if a file is there already, or the folder cannot be written.
    """
    files = files_of(kind, name, folder)
    for path in files:
        if _is_there(path):
            raise ConfigError(f"{path} already exists; choose another name or another --folder")
    written: list[Path] = []
    try:
        for path, suffix in zip(files, (".py", ".toml", "_test.py"), strict=False):
            text = (TEMPLATES / f"{kind}{suffix}.txt").read_text("utf-8")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text.format(name=name, module=files[0].stem, plan=files[1].name))
    except BaseException as error:
        for half_done in written:
            half_done.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise ConfigError(f"{path} cannot be written ({error.strerror}); choose another --folder") from error
    return files


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); choose another --folder") from error
