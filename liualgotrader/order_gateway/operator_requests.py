"""Requests of an operator to a running session; each is answered with what was done, in words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from liualgotrader.common import control
from liualgotrader.common.clock import SECOND, as_datetime, clock_text
from liualgotrader.common.control import OperatorRequest
from liualgotrader.common.errors import BadData, OutsideError
from liualgotrader.common.money import plain
from liualgotrader.common.orders import CancelIntent, Fill, OrderNews
from liualgotrader.ipc.child_process import Child
from liualgotrader.order_gateway.account_lock import AccountLock
from liualgotrader.order_gateway.journaled_desk import JournaledDesk
from liualgotrader.order_gateway.watches import LatestPrices
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import Flatten, KillSwitch, Resolution, Resolve, Resume, Warn

_NAMING_DIGITS = 4  # of an account's number, by which an operator names it
_CANCEL_SECONDS = 3.0  # machine time that an answer waits for the broker to confirm
_LOOK_SECONDS = 0.02
_MOST_LINES = 200  # of orders and fills in an answer

Put = Callable[[Callable[[], Awaitable[None]]], None]


def news_line(strategy: str, news: OrderNews | Fill) -> str:
    """Return an order's new state, or a fill, as one line."""
    line = f"{clock_text(news.at)} {strategy}: {news.client_order_id} {news.side} {plain(news.quantity)} {news.symbol}"
    if isinstance(news, Fill):
        return f"{line} traded at {plain(news.price)} $, fee {news.fee:.2f} $, holds {plain(news.position)}"
    filled = f", {plain(news.filled_quantity)} filled" if news.filled_quantity else ""
    return f"{line} {news.state}{filled}" + (f" ({news.reason})" if news.reason else "")


def orders_text(desk: Desk) -> str:
    """Return the newest orders with their state now, and the fills between them, by time."""
    newest: dict[str, tuple[str, OrderNews | Fill]] = {}
    for number, strategy in desk.strategies.items():
        for news in desk.news(number):
            if isinstance(news, OrderNews | Fill):
                newest[news.execution_id if isinstance(news, Fill) else news.client_order_id] = strategy, news
    lines = [news_line(*one) for one in sorted(newest.values(), key=lambda one: one[1].at)]
    left_out = [f"{len(lines) - _MOST_LINES} older ones are in the tables orders and new_trades"]
    return "\n".join([*(left_out if len(lines) > _MOST_LINES else []), *lines[-_MOST_LINES:]]) or "no orders yet"


class OperatorRequests:
    """Carries out what `liu kill-switch`, `liu positions` and `trader resume` ask for, and answers with what was done."""

    def __init__(
        self,
        child: Child,
        journaled: JournaledDesk,
        lock: AccountLock,
        prices: LatestPrices,
        tell: Callable[..., list[Warn]],
        put: Put,
    ) -> None:
        self._child, self._journaled, self._lock, self._prices = child, journaled, lock, prices
        self._tell, self._put = tell, put
        self.before_answer: Callable[[], None] = lambda: None  # who asks for the status next is to see what was done
        self._confirming: set[asyncio.Task[None]] = set()
        self.announced = asyncio.Event()

    def carry_out(self, request: OperatorRequest) -> None:
        """Carry out a request; its answer follows, at once or when the broker has confirmed."""
        match request.name:
            case control.ANNOUNCED:
                self.announced.set()
            case "kill_switch":
                self._kill(request)
            case "resume":
                self._answer(request, self._resume())
            case "flatten":
                slot = request.arguments.get("slot")
                self._tell(Flatten(int(slot) if slot is not None else None, "an operator said so"))
                self._answer(request, self._positions_text("are being closed at market"))
            case "cancel":
                self._cancel(request)
            case "positions":
                self._put(partial(self._resolve, request))
            case "orders":
                self._answer(request, orders_text(self._journaled.desk))
            case unknown:
                self._answer(request, f"the order gateway knows no order {unknown!r}", done=False)

    async def close(self) -> None:
        """Answer nothing more."""
        for task in self._confirming:
            task.cancel()
        await asyncio.gather(*self._confirming, return_exceptions=True)

    def killed(self) -> dict[str, str]:
        """Return the kill switch's reason and since when it is on, empty while it is off."""
        if not (reason := self._lock.killed):
            return {}
        return {"reason": reason, "since": f"{as_datetime(self._lock.killed_at):%Y-%m-%d %H:%M:%S}"}

    def _kill(self, request: OperatorRequest) -> None:
        arguments, desk = request.arguments, self._journaled.desk
        reason = str(arguments.get("reason") or "the kill switch was used by hand")
        digits = str(arguments.get("whole_account") or "")
        # Who names the account means what is not ours in it too.
        whole = bool(digits) and desk.account is not None and desk.account.account_number[-_NAMING_DIGITS:] == digits
        said = "" if whole or not digits else f"; {digits} are not the account's last digits, so only ours is acted on"
        try:
            self._lock.kill(reason)
        except OSError as error:
            said += f"; it could not be stored ({error.strerror}) and ends with this session: make room and repeat it"
            self._child.notice("ERROR", f"the kill switch is on{said}")
        working = set(desk.working())
        self._tell(KillSwitch(bool(arguments.get("flatten")), reason, whole))

        def answer(cancelled: str) -> str:
            kept = self._positions_text("are being closed at market" if arguments.get("flatten") else "kept")
            return f"the kill switch is on: {cancelled}, {kept}, nothing is opened until `trader resume`{said}"

        self._answer_when_cancelled(request, working, answer)

    def _cancel(self, request: OperatorRequest) -> None:
        asked = str(request.arguments.get("order") or "")
        order = next((o for o in self._journaled.desk.facts().open_orders if o.client_order_id == asked), None)
        if order is None:
            self._answer(request, f"no order {asked!r:.80} is working; `trader status --orders` shows all", done=False)
            return
        self._tell(CancelIntent(asked, order.slot, self._child.clock.now(), "an operator took it back"))
        self._answer_when_cancelled(request, {asked}, lambda cancelled: f"{order.side} {order.symbol}: {cancelled}")

    def _answer_when_cancelled(self, request: OperatorRequest, orders: set[str], text: Callable[[str], str]) -> None:
        """Answer once the broker has cancelled the orders, or after a while with how far it got."""

        async def confirm() -> None:
            clock, desk = self._child.clock, self._journaled.desk
            until = clock.machine() + int(_CANCEL_SECONDS * SECOND)
            left = orders
            while left and clock.machine() < until:
                await clock.sleep(_LOOK_SECONDS)
                left = orders & set(desk.working())
            done, all_of = len(orders) - len(left), f"of {len(orders)} " if left else ""
            noun = "order" if len(orders) == 1 else "orders"
            self._answer(request, text(f"{done} {all_of}{noun} cancelled" + (" so far" if left else "")))

        confirming = asyncio.ensure_future(confirm())
        self._confirming.add(confirming)
        confirming.add_done_callback(self._confirming.discard)

    def _resume(self) -> str:
        """Lift the kill switch and a stop by the day's loss, and return what that changed."""
        desk, reason = self._journaled.desk, self._lock.killed
        before = dict(desk.entries_stopped)
        self._lock.resume()
        self._tell(Resume())
        lifted = [text for name, text in before.items() if name not in desk.entries_stopped]
        said = list(dict.fromkeys([reason, *lifted] if reason else lifted))
        text = f"lifted: {'; '.join(said)}" if said else "nothing was stopped by hand or by the day's loss"
        if rest := list(desk.entries_stopped.values()):
            text = f"{text}; entries are still stopped: {'; '.join(rest)}"
        elif said:
            text = f"{text}; from now on strategies may open positions"
        if said:
            self._child.notice("INFO", text)
        return text

    def _positions_text(self, what: str) -> str:
        open_now = [f"{p.quantity:+f} {p.symbol}" for p in self._journaled.desk.facts().positions]
        if not open_now:
            return "no position is open"
        return f"{len(open_now)} position{'s' if open_now[1:] else ''} ({', '.join(open_now)}) {what}"

    async def _resolve(self, request: OperatorRequest) -> None:
        arguments: Mapping[str, Any] = request.arguments
        symbol, how = str(arguments.get("symbol") or "").upper(), str(arguments.get("how"))
        if how not in set(Resolution):
            self._answer(request, f"{how!r} settles nothing; there is {', '.join(Resolution)}", done=False)
            return
        price = None
        with suppress(OutsideError, BadData):
            price = (await self._prices.latest([symbol])).get(symbol)
        said = self._tell(Resolve(symbol, Resolution(how), str(arguments.get("strategy") or ""), price))
        done = all(warn.level == "INFO" for warn in said)
        self._answer(request, "; ".join(warn.text for warn in said), done=done)

    def _answer(self, request: OperatorRequest, text: str, *, done: bool = True) -> None:
        self.before_answer()
        if request.ticket:
            self._child.send(control.RequestAnswer(request.ticket, text, done))
        elif not done:
            self._child.notice("WARNING", text)
