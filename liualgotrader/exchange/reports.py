"""The account and its positions as their owner sees them."""

from __future__ import annotations

from liualgotrader.common.money import ZERO
from liualgotrader.exchange.account_ledger import Holding, is_above
from liualgotrader.exchange.exchange_values import AccountView, HeldPosition
from liualgotrader.exchange.units import dollars, per_share, price, ratio, shares
from liualgotrader.exchange.venue import ExchangeVenue, TradedAccount


def account_view(venue: ExchangeVenue, account: TradedAccount) -> AccountView:
    """Return the account's figures at current prices."""
    ledger, rules = account.ledger, venue.rules
    multiplier = venue.multiplier(ledger)
    figures = venue.valuation(ledger, multiplier)
    reserved = venue.reserved(account, multiplier)
    power = max(figures.equity * multiplier - figures.weighted - reserved, 0)
    margin_allowed = is_above(figures.equity, rules.minimum_margin_equity)
    return AccountView(
        account_id=ledger.account_id,
        cash=dollars(ledger.cash),
        equity=dollars(figures.equity),
        last_equity=dollars(ledger.last_equity),
        buying_power=dollars(power),
        regt_buying_power=dollars(min(power, max(figures.equity - figures.initial, 0) * 2)),
        non_marginable_buying_power=dollars(power // multiplier),
        portfolio_value=dollars(figures.equity),
        long_market_value=dollars(figures.long),
        short_market_value=dollars(figures.short),
        initial_margin=dollars(figures.initial),
        maintenance_margin=dollars(figures.maintenance),
        last_maintenance_margin=dollars(ledger.last_maintenance),
        sma=dollars(max(figures.equity - figures.initial, 0)),
        multiplier=str(multiplier),
        shorting_enabled=margin_allowed and rules.margin_multiplier > 1 and not ledger.settings.no_shorting,
        trading_blocked=False,
        trade_suspended_by_user=ledger.settings.suspend_trade,
        created_at=ledger.created_at,
        reserved=dollars(reserved),
        realized_pl=dollars(ledger.realized),
        fees_paid=dollars(ledger.fees),
    )


def position_view(venue: ExchangeVenue, account: TradedAccount, symbol: str, holding: Holding) -> HeldPosition:
    """Return one position at the current price."""
    mark = venue.mark_for(account.ledger)(symbol)
    lastday = venue.previous_close(symbol)
    quantity = holding.quantity
    worth = quantity * mark
    gain, day_gain = worth - holding.cost, worth - holding.day_cost
    asset = venue.assets.get(symbol)
    available = max(abs(quantity) - venue.held_shares(account, symbol), 0)
    return HeldPosition(
        symbol=symbol,
        exchange=asset.exchange if asset else "",
        side="long" if quantity > 0 else "short",
        quantity=shares(quantity),
        quantity_available=shares(available),
        average_entry_price=per_share(abs(holding.cost), abs(quantity)),
        cost_basis=dollars(holding.cost),
        market_value=dollars(worth),
        current_price=price(mark),
        lastday_price=None if lastday is None else price(lastday),
        change_today=ratio(mark - lastday, lastday) if lastday else ZERO,
        unrealized_pl=dollars(gain),
        unrealized_plpc=ratio(gain, abs(holding.cost)),
        unrealized_intraday_pl=dollars(day_gain),
        unrealized_intraday_plpc=ratio(day_gain, abs(holding.day_cost)),
        asset_marginable=asset.marginable if asset else False,
        realized_pl=dollars(holding.realized),
    )
