"""`python -m tools.vendor_methods`: writes `design/vendor_methods.md`, each method of the vendors' clients and the tests that call it.

A test says so itself: `@pytest.mark.vendor("TradingClient.submit_order")`, and of methods that the simulated market refuses with
which status: `refused=501`. A method of a newer client that is in no test makes a test fail.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from alpaca.common.rest import RESTClient
from alpaca.data.historical import NewsClient, ScreenerClient, StockHistoricalDataClient
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream
from polygon import RESTClient as PolygonClient
from polygon import WebSocketClient

HOUSE = Path(__file__).parents[1]
PAGE = HOUSE / "design" / "vendor_methods.md"
CLIENTS: tuple[type, ...] = (
    *(TradingClient, TradingStream, StockHistoricalDataClient, StockDataStream),
    *(ScreenerClient, NewsClient, CorporateActionsClient),
    *(PolygonClient, WebSocketClient),
)
_TRANSPORT = frozenset(
    [*vars(RESTClient), "time_mult"]
)  # no questions of their own; what has no other method is asked through them


def methods() -> list[str]:
    """Return the public methods of all clients, as `Client.method`."""
    return [
        f"{client.__name__}.{name}"
        for client in CLIENTS
        for name, _ in inspect.getmembers(client, inspect.isroutine)
        if not name.startswith("_") and name not in _TRANSPORT
    ]


def proofs() -> Iterator[tuple[str, str, str]]:
    """Yield the method of each marker in the tests, the test that bears it (file and name), and how it is answered."""
    for file in sorted((HOUSE / "tests").rglob("*.py")):
        if "mark.vendor" not in (text := file.read_text("utf-8")):
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.vendor":
                    where = file.relative_to(HOUSE / "tests").with_suffix("").as_posix()
                    test = f"{where}: {node.name.removeprefix('test_').replace('_', ' ')}"
                    answer = "".join(f"refused: {ast.literal_eval(given.value)}" for given in mark.keywords)
                    for method in mark.args:
                        yield ast.literal_eval(method), test, answer or "served"


def page() -> str:
    """Return the page."""
    found: dict[str, list[str]] = {}
    answers: dict[str, str] = {}
    for method, test, answer in proofs():
        found.setdefault(method, []).append(test)
        answers[method] = answer
    lines = [
        "# Methods of the vendors' clients on the simulated market",
        "",
        "Made by `python -m tools.vendor_methods` from the clients as they are installed and from the markers in the tests;"
        " do not edit.",
        "",
        "| method | answer | proved by |",
        "|---|---|---|",
    ]
    for method in methods():
        lines.append(f"| `{method}` | {answers.get(method, '')} | {'<br>'.join(found.get(method, ()))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
