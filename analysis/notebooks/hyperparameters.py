# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A search for parameters
#
# What `optimizer` tried. Empty, `SEARCH` is the newest; else the beginning of its id.

# %%
from liualgotrader.analytics.sweep import ranked
from liualgotrader.common.config import Settings
from liualgotrader.pages import charts
from liualgotrader.pages.record_reader import RecordReader

SEARCH = ""
reader = RecordReader(Settings.resolve({}))
database, search = next(pair for pair in reader.searches() if pair[1].optimizer_session_id.startswith(SEARCH))
rows = ranked(row for row in reader.combinations(database, search.optimizer_session_id) if not row.fold)
objective = search.configuration["objective"]
search.result

# %% [markdown]
# ## Ranking

# %%
import pandas as pd

table = pd.DataFrame([{**row.point, objective: row.objective, **row.figures} for row in rows])
table

# %% [markdown]
# ## Heat map over the first two parameters

# %%
names = list(rows[0].point)
charts.search_map(rows, names[:2], objective)

# %%
charts.coordinates(table, names, objective)

# %%
reader.close()
