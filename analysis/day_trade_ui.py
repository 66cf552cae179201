"""The original's page of a day's sessions: its place is kept, and the page is not built yet."""

import sys

sys.stderr.write(
    "analysis/day_trade_ui.py: the pages are not built yet; meanwhile `backtester list` shows the sessions, and `liu report BATCH`"
    " writes an HTML report of one\n"
)
sys.exit(2)
