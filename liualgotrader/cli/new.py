"""`liu new strategy NAME` and `liu new scanner NAME`: files that run as they are, with a tradeplan."""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from importlib.resources import files
from pathlib import Path

from liualgotrader.common.config import program_call
from liualgotrader.common.errors import ConfigError

TEMPLATES = files("liualgotrader.cli") / "templates"


def new(kind: str, name: str, folder: str) -> int:
    """Write the files of a new `strategy` or `scanner` and say what to do next; return the exit status.

    Raises:
        ConfigError: if the name is not a class name, a file is there already, or the folder cannot be written.
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
    test = here / f"test_{module}.py"
    templates = {here / f"{module}.py": f"{kind}.py", plan: f"{kind}.toml"}
    if kind == "strategy":
        templates[test] = "strategy_test.py"
    texts = {path: (TEMPLATES / f"{template}.txt").read_text("utf-8") for path, template in templates.items()}
    for path in texts:
        if _is_there(path):
            raise ConfigError(f"{path} already exists; choose another name or another --folder")
    written: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text.format(name=name, module=module, plan=plan.name))
    except OSError as error:
        for half_done in written:  # all files or none
            half_done.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written ({error.strerror}); choose another --folder") from error
    print(f"wrote {', '.join(str(p) for p in texts)}")
    print(f"try it: {program_call('trader')} --simulate --tradeplan {shlex.quote(str(plan))} --from 09:30 --to 10:30")
    if test in texts:
        backtester = f"{program_call('backtester')} from 2024-01-02 --to 2024-01-31 --scale minute --generated"
        print(f"backtest it: {backtester} --tradeplan {shlex.quote(str(plan))}")
        print(f"test it: {program_call('python')} {shlex.quote(str(test))}  (pytest runs it as well)")
    return 0


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); choose another --folder") from error
