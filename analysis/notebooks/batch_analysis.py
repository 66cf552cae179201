# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A batch: what it came to, and each trade
#
# Of a session or a backtest. Empty, `BATCH` is the newest; else the beginning of its id.

# %%
from liualgotrader.analytics.equity import curve_of
from liualgotrader.common.config import Settings
from liualgotrader.pages import charts
from liualgotrader.pages.batch_rows import BatchRows
from liualgotrader.pages.record_reader import RecordReader

BATCH = ""
reader = RecordReader(Settings.resolve({}))
listed = next(one for one in reader.results() if one.result.batch_id.startswith(BATCH))
rows = BatchRows(reader, listed.database, listed.result.batch_id)
listed.name

# %% [markdown]
# ## By strategy, symbol and exit reason
# Dollars, all fees paid; `gain` is of what was closed.

# %%
import pandas as pd

figures = rows.figures()
pd.DataFrame([f for name in ("strategy", "symbol", "exit reason", "total") for f in figures[name]])

# %% [markdown]
# ## The account

# %%
curve = curve_of(reader.equity(listed.database, rows.batch_id))
charts.equity({"account": curve}) if len(curve.at) else "the account's value was not kept"

# %% [markdown]
# ## Round trips
# Times are New York's.

# %%
trips = rows.trips([], [], [], most=1000)
trips

# %% [markdown]
# ## What was refused, by rule

# %%
rows.refused()

# %%
reader.close()
