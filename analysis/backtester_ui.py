"""The original's page of backtests: its place is kept, and the page is not built yet."""

import sys

sys.stderr.write(
    "analysis/backtester_ui.py: the pages are not built yet; meanwhile `backtester from DAY --report` writes an HTML report of a"
    " backtest, and `liu report BATCH` one of any batch (`backtester list` shows them)\n"
)
sys.exit(2)
