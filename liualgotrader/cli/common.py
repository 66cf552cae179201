"""What all console programs do alike: `--version`, one sentence for an error, documented exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TextIO

from liualgotrader import __version__
from liualgotrader.common.environment import environment, shield_imports, warn_once_a_file
from liualgotrader.common.errors import LiuError, OutsideError, nearest

_STDERR = 2
FILLS = ("strict", "paper", "touch", "siis")  # FillProfile, which takes a while to import
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)  # of a file behind our output
EXIT_CODES = """\
exit codes:
  0    it ended as it should
  2    something configured cannot work: nothing was started, or no strategy could run
  3    the outside world failed: broker, data, database, disk
  4    money needs a person to look, or every strategy was stopped before its time
  5    the session ran to its end, but no scanner did, or every order was refused
  130  ended in order by Ctrl-C
"""


class Parser(argparse.ArgumentParser):
    """Names the nearest option or word when one is unknown."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return what `argparse` does; an unknown option is said before anything that follows from it."""
        for given in args if args is not None and self._subparsers is None else ():
            name = given.partition("=")[0]
            if name.startswith("--") and name not in ("--", *self._option_string_actions):
                self.error(f"unknown option {name}{nearest(name, self._option_string_actions)}")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End the program with 2 and a sentence that says where the usage stands."""
        if bad := re.match(r"argument (.*): invalid choice: '(.*)' \(choose from (.*)\)", message):
            words = [word.strip("' ") for word in bad[3].split(",")]
            wrong = f"{bad[1]} cannot be '{bad[2]}'" if bad[1].startswith("-") else f"unknown command '{bad[2]}'"
            message = f"{wrong}{nearest(bad[2], words)} (choose from {', '.join(words)})"
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def parser_of(program: str, description: str, epilog: str = EXIT_CODES) -> argparse.ArgumentParser:
    """Return a parser with `--version`, in the style of all our programs."""
    parser = Parser(
        prog=program,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{program} {__version__}")
    return parser


def amount(text: str, *, least: float = 0, most: float = 1e9) -> str:
    """Return the text of a number between both bounds; what it is for wants it exactly."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from {least:g} to {most:,.0f}")
    return text


def guarded(program: str, body: Callable[[Sequence[str]], int], arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `body` and end the process with what it returns; errors of ours are one sentence on stderr.

    A traceback is shown for bugs, and for every error with LIU_DEBUG_ENABLED=1.
    """
    status = 1
    open_standard_streams()
    shield_imports()
    warn_once_a_file()
    try:
        status = body(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except LiuError as error:
        if environment().get("LIU_DEBUG_ENABLED", "").lower() in ("1", "true"):
            raise
        complain(f"{program}: {error}")
        status = error.exit_code
    except KeyboardInterrupt:
        complain(f"{program}: interrupted")
        status = 130
    except BrokenPipeError as error:  # `| head`: the reader is gone
        give_up_output(error)
        status = 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        _send_nowhere(sys.stdout)
        complain(f"{program}: the output cannot be written ({error.strerror})")
        status = OutsideError.exit_code
    sys.exit(status)


def open_standard_streams() -> None:
    """Give standard input, output and error a place where the caller has closed them (`>&-`): nowhere.

    Else the next file or socket of ours would get their number, and what is printed would be written into it.
    """
    while (fresh := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(fresh, True)  # our processes need them no less
    os.close(fresh)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w", encoding="utf-8", closefd=False)


def complain(sentence: str) -> None:
    """Print a sentence on stderr, as far as that can be done."""
    try:
        print(sentence, file=sys.stderr, flush=True)
    except OSError:
        _send_nowhere(sys.stderr)


def flush_output() -> None:
    """Write out what was printed, as far as that can be done: that changes no exit status. For a program's end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _send_nowhere(stream)


_GONE = (errno.EIO, errno.EPIPE, errno.ENXIO)  # of a terminal that was closed, of a pipe without a reader


def give_up_output(error: OSError) -> None:
    """After an error in printing, let what is printed from now on vanish if it can never be read.

    After another error, of a full disk for example, the next line may be shown again.
    """
    if error.errno in _GONE:
        flush_output()


def _send_nowhere(stream: TextIO) -> None:
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
