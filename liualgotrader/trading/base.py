"""The original's `Trader`: what a strategy's `run_all` is handed to ask about the account.

Orders do not go through it: a strategy returns them, and the order gateway sends them. The questions are
answered from what the consumer knows; those that it cannot answer say so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import Clock, as_datetime, instant
from liualgotrader.common.errors import LiuError
from liualgotrader.common.ports import Asset
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.trading_data import positions

if TYPE_CHECKING:
    import pandas as pd


_OF_THE_GATEWAY = (
    "orders are the order gateway's: cancel with ctx.cancel, and see what is on order in ctx.open_orders or"
    " trading_data.open_orders"
)


async def no_assets() -> Mapping[str, Asset]:
    """Stand for the list of assets where there is no session.

    Raises:
        LiuError: always.
    """
    raise LiuError("there is no session to ask for assets: data_loader_factory().get_symbols() lists symbols")


class Trader:
    """Answers about the session, the calling strategy's positions and the assets.

    `lends` knows which shares are lent, `assets` asks the vendor for what can be traded.
    """

    _newest: ClassVar[Trader | None] = None

    def __init__(
        self,
        hours: Hours,
        clock: Clock,
        lends: Callable[[str], bool],
        assets: Callable[[], Awaitable[Mapping[str, Asset]]] = no_assets,
    ) -> None:
        self._hours, self._clock, self._lends, self._assets = hours, clock, lends, assets
        Trader._newest = self

    @classmethod
    def get_instance(cls) -> Trader:
        """Return the one that was made last in this process.

        Raises:
            AssertionError: before one was made, as in the original.
        """
        assert Trader._newest is not None, "no Trader has been made: trader_factory() makes one"
        return Trader._newest

    def __repr__(self) -> str:
        return type(self).__name__

    def get_market_schedule(self) -> tuple[datetime, datetime]:
        """Return the session's open and close, New York."""
        return as_datetime(self._hours.opens_at), as_datetime(self._hours.closes_at)

    def get_trading_days(self, start_date: date, end_date: date | None = None) -> pd.DataFrame:
        """Return the sessions of some days, until today if no end is given: index `date`, columns open, close (New York)."""
        import pandas as pd

        found = sessions(start_date, end_date or as_datetime(self._clock.now()).date())
        index = pd.DatetimeIndex([session.day for session in found], name="date")
        hours = {"open": [as_datetime(s.opens_at) for s in found], "close": [as_datetime(s.closes_at) for s in found]}
        return pd.DataFrame(hours, index=index)

    def is_market_open_today(self) -> bool:
        """Say whether there is a session on the day being traded; a session that runs is on one."""
        return True

    def is_market_open(self, now: datetime) -> bool:
        """Say whether `now` (aware) lies in the session."""
        return self._hours.opens_at <= instant(now) < self._hours.closes_at

    def get_time_market_close(self) -> timedelta | None:
        """Return the market time left until the close, None after it."""
        left = self._hours.closes_at - self._clock.now()
        return timedelta(microseconds=left // 1000) if left > 0 else None

    def get_position(self, symbol: str) -> float:
        """Return the calling strategy's position in shares, shorts negative."""
        return float(positions.get(symbol.upper(), 0.0))

    async def is_shortable(self, symbol: str) -> bool:
        """Say whether the broker lends the share."""
        return self._lends(symbol.upper())

    async def get_tradeable_symbols(self) -> list[str]:
        """Return the symbols that can be traded, in alphabetical order."""
        return sorted(await self._assets())

    async def get_shortable_symbols(self) -> list[str]:
        """Return those that the broker lends."""
        return sorted(symbol for symbol, asset in (await self._assets()).items() if asset.shortable)

    async def is_fractionable(self, symbol: str) -> bool:
        """Say whether parts of a share can be traded; not those of an unknown one."""
        found = (await self._assets()).get(symbol.upper())
        return found is not None and found.fractionable

    async def submit_order(self, symbol: str, *args: object, **kwargs: object) -> None:
        """Refuse: an order is what `run` and `run_all` return, or `ctx.buy` and its like.

        Raises:
            LiuError: always, with this advice.
        """
        raise LiuError(f"return the order for {symbol} from run or run_all; the order gateway alone sends orders")

    async def cancel_order(self, order: object) -> bool:
        """Refuse: `ctx.cancel` takes an order back.

        Raises:
            LiuError: always, with this advice.
        """
        raise LiuError(_OF_THE_GATEWAY)

    async def get_order(self, order_id: str) -> None:
        """Refuse: what a strategy has on order is in `ctx.open_orders` and `trading_data.open_orders`.

        Raises:
            LiuError: always, with this advice.
        """
        raise LiuError(_OF_THE_GATEWAY)

    async def get_account_order(self, external_account_id: str, order_id: str) -> None:
        """Refuse, as `get_order` does.

        Raises:
            LiuError: always, with this advice.
        """
        raise LiuError(_OF_THE_GATEWAY)

    async def create_session(self, algo_name: str) -> None:
        """Refuse: `trader` and `backtester` make the batch and its rows.

        Raises:
            LiuError: always, with this advice.
        """
        raise LiuError(
            f"{algo_name} is given its batch by trader or backtester; await AlgoRun({algo_name!r}, batch_id).save() writes a"
            " row of algo_run alone"
        )

    async def is_order_completed(self, order_id: str, external_order_id: str | None = None) -> None:
        """Refuse, as `get_order` does.

        Raises:
            LiuError: always, with this advice.
        """
        raise LiuError(_OF_THE_GATEWAY)

    async def reconnect(self) -> None:
        """Do nothing: the order gateway holds the connection."""

    async def run(self) -> None:
        """Do nothing: fills come to callbacks and `on_fill`."""

    async def close(self) -> None:
        """Do nothing, as there is nothing to close."""
