"""The door of the simulated exchange: requests and market events in, updates and views out.

Time moves only by `advance` and `on_event`. A request is checked at once and takes effect `latency` later; those
that take effect at the same instant do so by client order id, so that callers who race get the same fills.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal

from liualgotrader.common.events import MarketEvent, Quote, Trade
from liualgotrader.exchange.rules import Rules, Session
from liualgotrader.exchange.values import (
    AccountSettings,
    AccountView,
    Activity,
    AssetTerms,
    CancelResult,
    OrderRequest,
    OrderView,
    PositionView,
    Update,
)


class Exchange:
    """One matching and accounting core for any number of accounts; no I/O, no clock, nothing random but by `seed`."""

    def __init__(
        self, assets: Sequence[AssetTerms], *, session: Session, rules: Rules | None = None, seed: int = 0
    ) -> None:
        raise NotImplementedError

    # --- accounts

    def open_account(self, account_id: str, cash: Decimal) -> None:
        """Open an account with `cash` US dollars; ValueError if the id is taken."""

    def configure(self, account_id: str, settings: AccountSettings) -> None:
        """Change an account's settings."""
        raise NotImplementedError

    def settings(self, account_id: str) -> AccountSettings:
        """Return an account's settings."""
        raise NotImplementedError

    # --- requests

    def submit(self, account_id: str, request: OrderRequest, now: int) -> OrderView:
        """Accept the order, effective at `now` + latency (call `advance` to get there), or raise `Refusal`.

        The answer is `pending_new`, or `accepted` where it waits for a session. An update says the same.
        """
        raise NotImplementedError

    def replace(
        self,
        account_id: str,
        order_id: str,
        now: int,
        *,
        quantity: Decimal | None = None,
        time_in_force: str | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        trail: Decimal | None = None,
        client_order_id: str | None = None,
    ) -> OrderView:
        """Ask for other terms and return the new order; if the old one fills first, the new one is rejected.

        `quantity` is the total with what has been filled; the new order is for the difference. Raises `Refusal`.
        """
        raise NotImplementedError

    def cancel(self, account_id: str, order_id: str, now: int) -> None:
        """Ask for cancellation, effective at `now` + latency; fills may come first. Raises `Refusal`."""
        raise NotImplementedError

    def cancel_all(self, account_id: str, now: int) -> list[CancelResult]:
        """Ask for cancellation of every open order of the account."""
        raise NotImplementedError

    # --- the market

    def on_event(self, event: MarketEvent) -> None:
        """Let time pass to the event, then take it in; orders are matched only where the symbol has any."""
        raise NotImplementedError

    def advance(self, now: int) -> None:
        """Let everything due up to and including `now` happen, in order of time."""
        raise NotImplementedError

    def begin_session(self, session: Session) -> None:
        """Go to the next trading day: splits, dividends, last equity; gtc orders stay."""
        raise NotImplementedError

    def next_wakeup(self) -> int:
        """Return when something happens next without a market event, `NEVER` if nothing will."""
        raise NotImplementedError

    def take_updates(self) -> list[Update]:
        """Return what happened since the last call, in order; the views already show it."""
        raise NotImplementedError

    # --- views

    def order(self, account_id: str, order_id: str) -> OrderView:
        """Return an order with its legs. Raises `Refusal` 404."""
        raise NotImplementedError

    def order_by_client_id(self, account_id: str, client_order_id: str) -> OrderView:
        """Return an order by the caller's own id. Raises `Refusal` 404."""
        raise NotImplementedError

    def orders(
        self,
        account_id: str,
        *,
        status: str = "open",
        after: int | None = None,
        until: int | None = None,
        symbols: Collection[str] = (),
        side: str | None = None,
        limit: int = 50,
        direction: str = "desc",
        nested: bool = False,
    ) -> list[OrderView]:
        """Return orders by (submitted_at, client id); `after` and `until` are exclusive bounds on `submitted_at`.

        `status` is open, closed or all. Nested, exits stand in the `legs` of their parent, else on their own.
        """
        raise NotImplementedError

    def positions(self, account_id: str) -> list[PositionView]:
        """Return what the account holds, by symbol."""
        raise NotImplementedError

    def position(self, account_id: str, symbol: str) -> PositionView:
        """Return one position. Raises `Refusal` 404 if there is none."""
        raise NotImplementedError

    def account(self, account_id: str) -> AccountView:
        """Return the account's figures now."""
        raise NotImplementedError

    def activities(
        self,
        account_id: str,
        *,
        after: int | None = None,
        until: int | None = None,
        direction: str = "asc",
        limit: int | None = None,
        page_token: str | None = None,
    ) -> list[Activity]:
        """Return fills by time with after < at < until; `page_token` is the id of the last one already seen."""
        raise NotImplementedError

    def quote(self, symbol: str) -> Quote | None:
        """Return the newest quote."""
        raise NotImplementedError

    def last_trade(self, symbol: str) -> Trade | None:
        """Return the newest print that counts for the last price."""
        raise NotImplementedError

    def asset(self, symbol: str) -> AssetTerms:
        """Return the asset's terms. Raises `Refusal` 404."""
        raise NotImplementedError

    # --- keeping it

    def snapshot_state(self) -> bytes:
        """Return everything the exchange knows beside assets, rules and seed."""
        raise NotImplementedError

    def restore_state(self, state: bytes) -> None:
        """Go back to a snapshot; ValueError if it is not one."""
        raise NotImplementedError
