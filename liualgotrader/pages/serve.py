"""Runs streamlit: `python -m liualgotrader.pages.serve` takes what `streamlit` takes, asks no other machine and ends when told to."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Any

from streamlit import cli_util, net_util
from streamlit.web import bootstrap, cli

_END_SECONDS = 5.0  # of machine time until what does not end in order is ended


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    said, handled = cli_util.print_to_cli, bootstrap._set_up_signal_handler

    def say(message: str, **style: Any) -> None:
        with suppress(OSError):  # nobody reads any more; "Stopping..." must not keep it from stopping
            said(message, **style)

    def handle(server: Any) -> None:
        handled(server)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _limited(signal.getsignal(number)))

    # To compare the origin of a foreign page with, it would ask a host outside for this machine's address. Without,
    # such a page is refused, and one that comes from the host that was asked is let in as before.
    net_util.get_internal_ip = net_util.get_external_ip = lambda: None
    cli_util.print_to_cli = say
    bootstrap._set_up_signal_handler = handle
    cli.main(prog_name="streamlit")


def _limited(handler: Any) -> Any:
    """Return a handler after which the process ends in time: also one that waits for a reader, or for a browser."""

    def handle(number: int, frame: Any) -> None:
        timer = threading.Timer(_END_SECONDS, os._exit, (0,))
        timer.daemon = True
        timer.start()
        handler(number, frame)

    return handle


if __name__ == "__main__":
    main()
