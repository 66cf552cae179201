"""`liu ui`: serve the pages on this machine and open them in the browser."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from liualgotrader.common.endpoint_address import is_loopback
from liualgotrader.common.errors import ConfigError, OutsideError

_OPTIONS = {
    "global.developmentMode": "false",
    "browser.gatherUsageStats": "false",  # no request beyond this machine
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "type",
    "theme.light.primaryColor": "#0072b2",
    "theme.dark.primaryColor": "#56b4e9",
}


def ui(options: argparse.Namespace) -> int:
    """Serve the pages until Ctrl-C; streamlit takes the place of this process.

    Raises:
        ConfigError: if streamlit or plotly is not installed.
        OutsideError: if the port is in use.
    """
    missing = [name for name in ("streamlit", "plotly") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"the pages need {' and '.join(missing)}: pip install 'liualgotrader[ui]'")
    try:
        with socket.create_server((options.host, options.port)):
            pass
    except OSError as error:
        raise OutsideError(
            f"the pages cannot be served at {options.host}:{options.port} ({error.strerror}): name another --port"
        ) from error
    if options.operate and not (is_loopback(f"http://{options.host}:{options.port}") or options.operate_from_anywhere):
        raise ConfigError(
            f"with --operate whoever reaches {options.host}:{options.port} may stop sessions and close positions, without a"
            " password: leave --host out, or say --operate-from-anywhere too"
        )
    app = Path(__file__).parent.parent / "pages" / "app.py"
    told = _OPTIONS | {
        "server.address": options.host,
        "server.port": str(options.port),
        # Else streamlit names addresses that it has to look for.
        "browser.serverAddress": "localhost" if options.host in ("0.0.0.0", "::") else options.host,  # noqa: S104
        "server.headless": "true" if options.no_browser else "false",
    }
    words = [
        sys.executable,
        "-m",
        "liualgotrader.pages.serve",
        "run",
        str(app),
        *(f"--{name}={value}" for name, value in told.items()),
    ]
    words += ["--", "--operate"] if options.operate else []
    print(f"The pages: http://{options.host}:{options.port}   Ctrl-C ends them.", flush=True)
    os.execv(sys.executable, words)  # noqa: S606
