# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A backtest in a notebook
#
# A strategy, a quarter of an invented market, and what came of it. `data="FOLDER"` plays recorded days, neither plays the market-data store.

# %%
from liualgotrader.backtest import run_backtest
from liualgotrader.strategies.base import Strategy


class Crossing(Strategy):
    """Long while the fast average lies above the slow one."""

    def __init__(self, fast=10, slow=30, **base):
        super().__init__(**base)
        self.fast, self.slow = fast, slow

    def on_bar(self, ctx, bar):
        close = ctx.bars.close
        if len(close) < self.slow or ctx.open_orders:
            return
        above = close[-self.fast :].mean() > close[-self.slow :].mean()
        if above and not ctx.position:
            ctx.buy(ctx.shares(stop=bar.close * 0.99), stop_price=bar.close * 0.99)
        elif ctx.position and not above:
            ctx.close(reason="fast below slow")


result = run_backtest(Crossing, "2024-01-02", "2024-01-31", scale="minute", generated=3, fees="all")
result.summary

# %%
result.equity.tail()

# %% [markdown]
# ## Round trips

# %%
result.trips

# %% [markdown]
# ## Is it luck?
# The share of draws in which trades without any edge gain as much, and how large the drawdown is in 95 % of all orders of the same trades.

# %%
import numpy as np

from liualgotrader.analytics.performance import significance

significance(result.trips["gain"].to_numpy(np.float64), seed=0)
