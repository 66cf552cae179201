"""Everything the exchange knows, as bytes and back. JSON, as its sums exceed 64 bits."""

from __future__ import annotations

import heapq
from typing import TypeVar

import msgspec

from liualgotrader.common.events import Quote, TradeTick
from liualgotrader.exchange.account_ledger import AccountLedger
from liualgotrader.exchange.exchange_order import ExchangeOrder
from liualgotrader.exchange.exchange_values import Update
from liualgotrader.exchange.market import MarketBook
from liualgotrader.exchange.rules import ExchangeSession, Phase
from liualgotrader.exchange.timeline import Scheduled, Timeline
from liualgotrader.exchange.venue import ExchangeVenue, TradedAccount

Value = TypeVar("Value")
VERSION = 2
_FINER = 100  # version 1 counted prices in 1e-4 dollars
_ORDER_FIGURES = ("limit", "stop", "trail", "hwm", "collar", "check_price", "filled_value", "notional", "fee")
_LEDGER_FIGURES = ("cash", "last_equity", "last_maintenance", "realized", "fees")
_HOLDING_FIGURES = ("cost", "day_cost", "realized")
WORKING = ("new", "partially_filled", "pending_cancel", "pending_replace")


class Watched(msgspec.Struct, frozen=True):
    """A market's quote in units and what was taken of it."""

    quote_at: int
    synthetic: bool
    touch: list[int]
    shown: list[int]
    taken: list[int]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The whole exchange beside assets, rules and seed."""

    version: int
    now: int
    session_number: int
    session: ExchangeSession
    quotes: dict[str, Quote]
    trades: dict[str, TradeTick]
    halted: list[str]
    ledgers: list[AccountLedger]
    orders: list[ExchangeOrder]
    heap: list[Scheduled]
    waiting: list[str]
    updates: list[Update]
    watched: dict[str, Watched]
    resumed: dict[str, int] = {}


class _Versioned(msgspec.Struct, frozen=True):
    version: int


def _finer(data: bytes) -> bytes:
    """Return a state of version 1 with its prices and values in today's units."""
    state = msgspec.json.decode(data)
    ledgers = state["ledgers"]
    holdings = [holding for ledger in ledgers for holding in ledger["holdings"].values()]
    for names, owners in (
        (_ORDER_FIGURES, state["orders"]),
        (_LEDGER_FIGURES, ledgers),
        (_HOLDING_FIGURES, holdings),
    ):
        for owner in owners:
            owner |= {name: owner[name] * _FINER for name in names if owner.get(name)}
    for market in state["watched"].values():
        market["touch"] = [price * _FINER for price in market["touch"]]
    return msgspec.json.encode(state)


def save(venue: ExchangeVenue, timeline: Timeline) -> bytes:
    """Return the state of the exchange."""
    watched = {
        market.symbol: Watched(market.quote_at, market.synthetic, market.touch, market.shown, market.taken)
        for market in venue.markets.values()
    }
    state = State(
        version=VERSION,
        now=venue.now,
        session_number=venue.session_number,
        session=venue.session,
        quotes=venue.quotes,
        trades=venue.trades,
        halted=sorted(venue.halted),
        ledgers=[account.record() for account in venue.accounts.values()],
        orders=list(venue.orders.values()),
        heap=timeline.heap,
        waiting=list(timeline.waiting),
        updates=venue.updates,
        watched=watched,
        resumed=venue.resumed,
    )
    return msgspec.json.encode(state)


def load(data: bytes, venue: ExchangeVenue, timeline: Timeline) -> None:
    """Put a saved state into an exchange with the same assets, rules and seed; ValueError if it is not one."""
    try:
        version = msgspec.json.decode(data, type=_Versioned).version
        if version not in (1, VERSION):
            raise ValueError(f"the saved state has version {version}, this program reads {VERSION}")
        state = msgspec.json.decode(data if version == VERSION else _finer(data), type=State)
    except msgspec.MsgspecError as e:
        raise ValueError("this is not a saved state of the exchange") from e
    venue.now, venue.session, venue.session_number = state.now, state.session, state.session_number
    venue.phase = state.session.phase(state.now)
    _refill(venue.quotes, state.quotes)
    _refill(venue.trades, state.trades)
    venue.halted.clear()
    venue.halted.update(state.halted)
    _refill(venue.resumed, state.resumed)
    _refill(venue.accounts, {ledger.account_id: TradedAccount(ledger) for ledger in state.ledgers})
    _refill(venue.orders, {order.id: order for order in state.orders})
    venue.updates[:] = state.updates
    timeline.heap[:] = state.heap
    heapq.heapify(timeline.heap)
    _refill(timeline.waiting, dict.fromkeys(state.waiting))
    venue.markets.clear()
    for symbol, seen in state.watched.items():
        market = venue.markets[symbol] = MarketBook(symbol)
        market.quote_at, market.synthetic = seen.quote_at, seen.synthetic
        market.touch, market.shown, market.taken = list(seen.touch), list(seen.shown), list(seen.taken)
        market.extended_only = venue.phase is not Phase.REGULAR
    for order in state.orders:
        if order.is_open:
            venue.accounts[order.account_id].open[order.id] = order
        if order.status in WORKING:
            venue.market(order.symbol).add(order)
    for order in state.orders:
        venue.recount(order)


def _refill(old: dict[str, Value], new: dict[str, Value]) -> None:
    old.clear()
    old.update(new)
