# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # DataLoader
#
# Bars of any symbol, as if all of them were in memory: what the market-data store lacks is asked of the vendor, once.
# `liu data import FOLDER` and `liu data fetch SPY --from 2024-01-02` fill the store; `liu data list` shows what it holds.

# %%
from datetime import date

from liualgotrader.common.data_loader import DataLoader
from liualgotrader.common.types import TimeScale

SYMBOL, DAY = "SPY", date(2024, 1, 3)
minutes = DataLoader(TimeScale.minute)
spy = minutes[SYMBOL]

# %% [markdown]
# ## A day, a span, a moment

# %%
spy.close[DAY]

# %%
spy.close["2024-01-03 09:45":"2024-01-03 09:50"]

# %%
spy["2024-01-03 10:00"]

# %% [markdown]
# ## As frames and arrays

# %%
spy["2024-01-03 09:45":"2024-01-03 10:00"]

# %%
import numpy as np

closes = np.array(spy.close["2024-01-03 09:30":"2024-01-03 16:00"])
closes.mean(), closes.std()
