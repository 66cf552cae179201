# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # How probable is such a result without any skill?
#
# The trades of a batch against 10,000 draws of trades without an edge. Empty, `BATCH` is the newest batch with at least two trades.

# %%
import numpy as np
import plotly.graph_objects as go

from liualgotrader.analytics.performance import significance
from liualgotrader.common.config import Settings
from liualgotrader.pages.batch_rows import BatchRows
from liualgotrader.pages.record_reader import RecordReader

BATCH = ""
reader = RecordReader(Settings.resolve({}))
listed = next(
    one
    for one in reader.results()
    if one.result.batch_id.startswith(BATCH) and one.result.figures and one.result.figures.trips > 1
)
gains = (
    BatchRows(reader, listed.database, listed.result.batch_id).trips([], [], [], most=100_000)["gain"].to_numpy(float)
)
listed.name

# %% [markdown]
# `p_value` is the share of draws that gain as much or more; `low` and `high` bound the gain of a trade, in dollars, with 95 % confidence.

# %%
found = significance(gains, seed=0)
found

# %%
figure = go.Figure(go.Histogram(x=gains, nbinsx=60))
figure.update_layout(xaxis_title="gain of a round trip, $", yaxis_title="round trips")
figure.add_vline(np.mean(gains), annotation_text=f"mean {np.mean(gains):+.2f} $")

# %%
reader.close()
