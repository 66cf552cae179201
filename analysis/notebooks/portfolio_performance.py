# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A portfolio: its value at each close, risk and return
#
# Empty, `PORTFOLIO` is the newest. Closes come from the configured data (`DATA_CONNECTOR`), by way of the market-data store.

# %%
from liualgotrader.analytics import analysis, performance
from liualgotrader.models.connection import create_db_connection
from liualgotrader.models.portfolio import Portfolio

PORTFOLIO = ""
await create_db_connection()
portfolios = await Portfolio.list_portfolios()
portfolio = PORTFOLIO or portfolios["portfolio_id"].iloc[-1]
portfolios

# %% [markdown]
# ## Value at the close of each session, US dollars

# %%
returns = await analysis.calc_portfolio_returns(portfolio)
returns

# %%
import plotly.graph_objects as go

go.Figure([go.Scatter(x=returns.index, y=returns[name], name=name) for name in ("totals", "cash", "equity")])

# %% [markdown]
# ## Return and risk

# %%
totals = returns["totals"].to_numpy(float)
worst = performance.worst_drawdown(totals)
{
    "total return": performance.total_return(totals),
    "Sharpe": performance.sharpe_ratio(performance.returns_of(totals)),
    "Sortino": performance.sortino_ratio(performance.returns_of(totals)),
    "max drawdown": worst and worst.depth,
}

# %% [markdown]
# ## What it traded

# %%
await analysis.load_trades_by_portfolio(portfolio)
