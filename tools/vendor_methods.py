"""`python -m tools.vendor_methods`: writes `design/vendor_methods.md`, each method of the vendors' clients and the tests that call it.

A test says so itself: `@pytest.mark.vendor("TradingClient.submit_order")`. What the simulated market refuses stands in
`REFUSED` with the answer; a method of a newer client that is in no test and not here makes a test fail.
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
REFUSED = {
    "TradingClient.exercise_options_position": 501,
    "TradingClient.get_option_contract": 501,
    "TradingClient.get_option_contracts": 501,
    **dict.fromkeys(
        [
            "RESTClient.get_ema",
            "RESTClient.get_etf_global_analytics",
            "RESTClient.get_etf_global_constituents",
            "RESTClient.get_etf_global_fund_flows",
            "RESTClient.get_etf_global_profiles",
            "RESTClient.get_etf_global_taxonomies",
            "RESTClient.get_futures_contract_details",
            "RESTClient.get_futures_product_details",
            "RESTClient.get_futures_snapshot",
            "RESTClient.get_last_crypto_trade",
            "RESTClient.get_last_forex_quote",
            "RESTClient.get_macd",
            "RESTClient.get_options_contract",
            "RESTClient.get_real_time_currency_conversion",
            "RESTClient.get_related_companies",
            "RESTClient.get_rsi",
            "RESTClient.get_sma",
            "RESTClient.get_snapshot_crypto_book",
            "RESTClient.get_snapshot_indices",
            "RESTClient.get_snapshot_option",
            "RESTClient.get_summaries",
            "RESTClient.get_ticker_events",
            "RESTClient.list_benzinga_analyst_insights",
            "RESTClient.list_benzinga_analysts",
            "RESTClient.list_benzinga_consensus_ratings",
            "RESTClient.list_benzinga_earnings",
            "RESTClient.list_benzinga_firms",
            "RESTClient.list_benzinga_guidance",
            "RESTClient.list_benzinga_news",
            "RESTClient.list_benzinga_news_v2",
            "RESTClient.list_benzinga_ratings",
            "RESTClient.list_financials_balance_sheets",
            "RESTClient.list_financials_cash_flow_statements",
            "RESTClient.list_financials_income_statements",
            "RESTClient.list_financials_ratios",
            "RESTClient.list_futures_aggregates",
            "RESTClient.list_futures_contracts",
            "RESTClient.list_futures_market_statuses",
            "RESTClient.list_futures_products",
            "RESTClient.list_futures_quotes",
            "RESTClient.list_futures_schedules",
            "RESTClient.list_futures_schedules_by_product_code",
            "RESTClient.list_futures_trades",
            "RESTClient.list_inflation",
            "RESTClient.list_options_contracts",
            "RESTClient.list_short_interest",
            "RESTClient.list_short_volume",
            "RESTClient.list_snapshot_options_chain",
            "RESTClient.list_ticker_news",
            "RESTClient.list_tmx_corporate_events",
            "RESTClient.list_treasury_yields",
        ],
        404,
    ),
}
"""Methods that the simulated market refuses, and with which HTTP status."""
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


def proofs() -> Iterator[tuple[str, str]]:
    """Yield the method of each marker in the tests, with the test that bears it: file and name."""
    for file in sorted((HOUSE / "tests").rglob("*.py")):
        if "mark.vendor" not in (text := file.read_text("utf-8")):
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.vendor":
                    where = file.relative_to(HOUSE / "tests").with_suffix("").as_posix()
                    for method in mark.args:
                        yield ast.literal_eval(method), f"{where}: {node.name.removeprefix('test_').replace('_', ' ')}"


def page() -> str:
    """Return the page."""
    found: dict[str, list[str]] = {}
    for method, test in proofs():
        found.setdefault(method, []).append(test)
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
        answer = f"refused: {REFUSED[method]}" if method in REFUSED else "served"
        lines.append(f"| `{method}` | {answer} | {'<br>'.join(found.get(method, ()))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
