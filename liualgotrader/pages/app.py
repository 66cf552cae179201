"""The app that `liu ui` opens: which pages there are, and what is said where one cannot be shown."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import streamlit as st

from liualgotrader.common.errors import LiuError
from liualgotrader.pages import backtest_pages, day_pages, operate_page, parts, run_page, sheet_page

OPERATE = "--operate"  # the word after which sessions may be acted on
_PAGES = {
    "Results": [
        ("Day", day_pages.day, "today"),
        ("Trades", day_pages.trades, "candlestick_chart"),
        ("Refused", day_pages.refused, "block"),
        ("Calendar", day_pages.calendar, "calendar_month"),
        ("Journal", day_pages.journal, "edit_note"),
        ("Portfolios", sheet_page.portfolios, "account_balance"),
        ("Scanner picks", day_pages.picks, "filter_alt"),
    ],
    "Research": [
        ("New backtest", run_page.run, "play_arrow"),
        ("Backtests", backtest_pages.history, "history"),
        ("Searches", backtest_pages.searches, "grid_on"),
        ("Market data", backtest_pages.market_data, "database"),
    ],
}


_SIDEBAR = 360  # pixels: room for the name of a batch


def main(first: str = "day") -> None:
    """Show the page that is chosen, at the beginning the `first`."""
    st.set_page_config("LiuAlgoTrader", str(Path(__file__).with_name("icon.svg")), "wide", _SIDEBAR)
    offered = {
        **_PAGES,
        "Sessions": [("Operate", operate_page.operate, "front_hand")] if OPERATE in sys.argv[1:] else [],
    }
    pages = {
        section: [
            st.Page(_guarded(show), title=title, icon=f":material/{icon}:", url_path=show.__name__, default=show.__name__ == first)
            for title, show, icon in named
        ]
        for section, named in offered.items() if named
    }  # fmt: skip
    st.navigation(pages).run()


def _guarded(show: Callable[[], None]) -> Callable[[], None]:
    @wraps(show)
    def shown() -> None:
        try:
            show()
        except LiuError as error:
            st.error(parts.sentence(error))

    return shown


if __name__ == "__main__":
    main()
