"""`python -m tools.parity`: writes `design/parity_checklist.md`, what the original could do and which test proves it of us.

A test says so itself: `@pytest.mark.parity(43)`. Rows without such a test say why in `NOTES`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

HOUSE = Path(__file__).parents[1]
PAGE = HOUSE / "design" / "parity_checklist.md"

ROWS = (
    "Six programs are installed, each with help and a version",
    "`trader` finds its tradeplan in `TRADEPLAN_DIR`, and says so where there is none",
    "The batch's id stands at the beginning and at the end of a session",
    "A session waits for the open and ends five minutes after the close",
    "`bypass_market_schedule` trades at any time",
    "`test_scanners` runs the scanners alone and shows their picks",
    "Positions left open are taken up again with stop and target, or not, with `skip_existing`",
    "`events` chooses what is subscribed",
    "`portfolio_value` and `risk` reach the strategies",
    "Day trades are closed before the close, swings are kept",
    "Round trips are worked out at the end of the day",
    "Producer, consumers and scanners are processes of their own",
    "The number of consumers: as set, by cores, by `CPU_FACTOR`, at least one",
    "All events of a symbol go to one consumer, evenly shared",
    "A scanner runs again after its `recurrence`",
    "Picks are stored with their time and scanner",
    "`target_strategy_name` sends a pick to one strategy, live and in backtests",
    "A scanner of one's own is loaded by file and class, with its arguments",
    "The momentum scanner, by either name of its change",
    "A strategy of one's own is loaded by file and class, with arguments and schedule",
    "A strategy whose `create` says False is left out",
    "`run` is called with each event of each symbol",
    "`run_all` is called once a period in the whole session",
    "What `run` returns becomes an order, a reject or nothing",
    "Callbacks hear of fills, by the older and the newer signature",
    "`is_buy_time` and `is_sell_time` follow the windows of the schedule",
    "`common.trading_data` shows the session to strategies",
    "The key-store is shared by processes, kept apart by strategy",
    "`calc_qty`, and parts of shares",
    "An order's whole life: parts, late and repeated news, the end of its minute, refusals",
    "No second order while one is in flight",
    "Old events call nobody, are counted, and never cost a trade update",
    "Trades become seconds and minutes, each trade once",
    "Quotes, and the imbalance of their volumes",
    "Executions are stored with indicators, stop, target and fee",
    "A broker is an adapter of one interface",
    "Alpaca: orders, data and streams",
    "Orders on behalf of sub-accounts",
    "Gemini",
    "Tradier",
    "Polygon",
    "Finnhub",
    "`DataLoader` takes every form of index",
    "`DataLoader` fetches what is missing, once, and many symbols at a time",
    "`DataLoader`: rows are put by `loc`, columns are series",
    "The history of a symbol that changed its name goes on under the new one",
    "`backtester from` with all of its options",
    "Days in words",
    "Days and minutes, sessions and the days of crypto currencies",
    "Fees in percent of what is bought and sold",
    "`backtester batch --batch-list`",
    "`backtester batch` plays recorded batches again: strict, by symbol, by duration, with debug",
    "A backtest is a batch of its own in the database",
    "Scanners of a backtest are told the time it plays",
    "A backtest shows no strategy what comes later",
    "`optimizer` plays all combinations of parameters, portfolios among them",
    "`optimizer` plays several at a time",
    "`optimizer` ranks what it found",
    "`portfolio` and its six commands",
    "`liu create portfolio` and `liu quickstart`",
    "Accounts: balance, credit, movements",
    "Fills are booked to the account of a strategy's portfolio",
    "Trade plans in the database start once, also while a session runs",
    "`market_miner` runs the miners of its file in order",
    "The gainloss miner works batches out again",
    "The miners of companies, daily bars and portfolios",
    "Companies by sector and industry",
    "Constituents of an index, as of a day",
    "Indicators and patterns of `fincalcs`",
    "`analytics`: revenue, returns, the value of a portfolio",
    "A round trip's gain in dollars, percent and R",
    "Page: what a batch traded",
    "Page: the day's session",
    "Page: a backtest begun from the browser",
    "A tear sheet beside a benchmark, offline",
    "Notebooks for batches, portfolios, parameters and the loader",
    "Lines of `tlog`",
    "Tracebacks and traces when they are asked for",
    "The decorator `timeit`",
    "A database of the original is taken over without loss",
    "Least quantities and digits of crypto currencies",
    "Short positions",
    "Linux, macOS and Windows: processes are started anew, not forked",
    "Two strategies in one symbol have positions of their own",
)
NOTES = {
    38: "a session trades for one account; at the sandbox of the Broker API, not with real money",
    39: "not built: neither its history and stream nor its orders; DATA_CONNECTOR and LIU_BROKER refuse it in a sentence",
    40: "not built: neither its history nor its orders; DATA_CONNECTOR and LIU_BROKER refuse it in a sentence",
    46: "of mergers no ratio is applied, as in the original; a vendor answers by earlier names itself",
    78: "spans are lines of the log; the original sent them to Google Cloud Trace",
    83: 'proved on Linux; macOS is not tried, Windows has none of the sockets between processes (`link = "queue"` is the way there)',
}


def proofs() -> Iterator[tuple[int, str]]:
    """Yield the row of each marker in the tests, with the test that bears it: file and name."""
    for file in sorted((HOUSE / "tests").rglob("*.py")):
        if "mark.parity" not in (text := file.read_text("utf-8")):
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.parity":
                    where = file.relative_to(HOUSE / "tests").with_suffix("").as_posix()
                    for row in mark.args:
                        yield ast.literal_eval(row), f"{where}: {node.name.removeprefix('test_').replace('_', ' ')}"


def page() -> str:
    """Return the page."""
    found: dict[int, list[str]] = {}
    for row, test in proofs():
        found.setdefault(row, []).append(test)
    unproved = sum(row not in found for row in range(1, len(ROWS) + 1))
    lines = [
        "# What the original could do",
        "",
        "Made by `python -m tools.parity` from the markers in the tests; do not edit. "
        f"{len(ROWS) - unproved} of {len(ROWS)} rows have tests, of the others the page says why not.",
        "",
        "| | capability | proved by | |",
        "|--:|---|---|---|",
    ]
    for row, title in enumerate(ROWS, 1):
        lines.append(f"| {row} | {title} | {'<br>'.join(found.get(row, ()))} | {NOTES.get(row, '')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
