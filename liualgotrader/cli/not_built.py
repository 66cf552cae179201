"""The programs that are still to come: each says what it is for, and that it is not built yet."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import NoReturn

from liualgotrader.cli.common import guarded, parser_of

PURPOSES = {
    "optimize": """\
Backtests a strategy with every combination of the parameters that [optimizer.hyperparameters] of the
tradeplan spans, and ranks the results.""",
}


def not_built(program: str, purpose: str, arguments: Sequence[str]) -> int:
    """Answer `--help` and `--version` of a program to come; otherwise say plainly that it is not built yet."""
    parser = parser_of(program, purpose + "\n\nIt is not built yet: any use but --help and --version ends with 2.")
    parser.parse_args([word for word in arguments if word in ("-h", "--help", "--version")])
    print(f"{program}: this program is not built yet; `{program} --help` says what it is for", file=sys.stderr)
    return 2


def _run(program: str, word: str) -> NoReturn:
    guarded(program, functools.partial(not_built, program, PURPOSES[word]))


optimizer = functools.partial(_run, "optimizer", "optimize")
