# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Anchored VWAP
#
# The volume-weighted price since a moment that mattered: the open, a low, the news.

# %%
import pandas as pd
import plotly.graph_objects as go

from liualgotrader.common.data_loader import DataLoader
from liualgotrader.common.types import TimeScale
from liualgotrader.fincalcs.vwap import anchored_vwap

SYMBOL, DAY, ANCHORS = "SPY", "2024-01-03", ("09:30", "11:00", "13:30")
bars = DataLoader(TimeScale.minute)[SYMBOL][f"{DAY} 09:30" : f"{DAY} 16:00"]
bars.tail()

# %%
lines = {
    anchor: anchored_vwap(bars, pd.Timestamp(f"{DAY} {anchor}", tz="America/New_York").to_pydatetime())
    for anchor in ANCHORS
}
pd.DataFrame(lines).tail()

# %%
price = go.Candlestick(
    x=bars.index, open=bars["open"], high=bars["high"], low=bars["low"], close=bars["close"], name=SYMBOL
)
figure = go.Figure(
    [price, *(go.Scatter(x=line.index, y=line, name=f"VWAP since {anchor}") for anchor, line in lines.items())]
)
figure.update_layout(xaxis_rangeslider_visible=False, yaxis_title="$", xaxis_title="New York")
