"""What an operator orders while the session runs, and the answer he gets: what was done, in words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from liualgotrader.common.clock import SECOND, as_datetime, clock_text
from liualgotrader.common.control import ANNOUNCED, OperatorRequest, RequestAnswer
from liualgotrader.common.errors import BadData, OutsideError
from liualgotrader.common.money import plain
from liualgotrader.common.orders import Fill, OrderNews
from liualgotrader.ipc.child_process import Child
from liualgotrader.order_gateway.account_lock import AccountLock
from liualgotrader.order_gateway.journaled_desk import JournaledDesk
from liualgotrader.order_gateway.watches import LatestPrices
from liualgotrader.orders import Desk, Flatten, KillSwitch, Resolution, Resolve, Resume, Warn

_NAMING_DIGITS = 4  # of an account's number, by which an operator names it
_CANCEL_SECONDS = 3.0  # machine time that an answer waits for the broker to confirm
_LOOK_SECONDS = 0.02
_MOST_LINES = 200  # of orders and fills in an answer

Put = Callable[[Callable[[], Awaitable[None]]], None]


def news_line(strategy: str, news: OrderNews | Fill) -> str:
    """Return what became of an order, or a fill, in one line."""
    told = f"{clock_text(news.at)} {strategy}: {news.client_order_id} {news.side} {plain(news.quantity)} {news.symbol}"
    if isinstance(news, Fill):
        return f"{told} traded at {plain(news.price)} $, fee {news.fee:.2f} $, holds {plain(news.position)}"
    filled = f", {plain(news.filled_quantity)} filled" if news.filled_quantity else ""
    return f"{told} {news.state}{filled}" + (f" ({news.reason})" if news.reason else "")


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


class Operator:
    """Carries out orders of `liu kill-switch`, `liu positions` and `trader resume`, and answers them."""

    def __init__(
        self,
        child: Child,
        room: JournaledDesk,
        lock: AccountLock,
        prices: LatestPrices,
        tell: Callable[..., list[Warn]],
        put: Put,
    ) -> None:
        self._child, self._room, self._lock, self._prices = child, room, lock, prices
        self._tell, self._put = tell, put
        self._changed: Callable[[], None] = lambda: None
        self._waiting: set[asyncio.Task[None]] = set()
        self.announced = asyncio.Event()

    def before_answering(self, act: Callable[[], None]) -> None:
        """Call `act` before each answer: who asks for the status next is to see what was done."""
        self._changed = act

    def do(self, order: OperatorRequest) -> None:
        """Carry out an order; its answer follows, at once or when the broker has confirmed."""
        arguments = order.arguments
        if order.name == ANNOUNCED:
            self.announced.set()
        elif order.name == "kill_switch":
            self._kill(order)
        elif order.name == "resume":
            self._answer(order, self._resume())
        elif order.name == "flatten":
            slot = arguments.get("slot")
            self._tell(Flatten(int(slot) if slot is not None else None, "an operator said so"))
            self._answer(order, self._kept("are being closed at market"))
        elif order.name == "positions":
            self._put(partial(self._settle, order))
        elif order.name == "orders":
            self._answer(order, orders_text(self._room.desk))
        else:
            self._fail(order, f"the order gateway knows no order {order.name!r}")

    async def close(self) -> None:
        """Answer nothing more."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    # --- the kill switch --------------------------------------------------------------------------

    def killed(self) -> dict[str, str]:
        """Return the kill switch's reason and since when it is on, empty while it is off."""
        if not self._lock.killed:
            return {}
        return {"reason": self._lock.killed, "since": f"{as_datetime(self._lock.killed_at):%Y-%m-%d %H:%M:%S}"}

    def _kill(self, order: OperatorRequest) -> None:
        arguments = order.arguments
        reason = str(arguments.get("reason") or "the kill switch was used by hand")
        digits = str(arguments.get("whole_account") or "")
        whole = self._is_named(digits)
        said = "" if whole or not digits else f"; {digits} are not the account's last digits, so only ours is acted on"
        try:
            self._lock.kill(reason)
        except OSError as error:
            said += (
                f"; it could not be stored ({error.strerror}) and ends with this session: make room and order it again"
            )
            self._child.notice("ERROR", f"the kill switch is on{said}")
        working = set(self._room.desk.working())
        self._tell(KillSwitch(bool(arguments.get("flatten")), reason, whole))
        waiting = asyncio.ensure_future(self._confirm(order, working, said))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

    async def _confirm(self, order: OperatorRequest, working: set[str], said: str) -> None:
        """Answer once the broker has taken back what worked, or after a while with how far it got."""
        clock, desk = self._child.clock, self._room.desk
        until = clock.machine() + int(_CANCEL_SECONDS * SECOND)
        left = working
        while left and clock.machine() < until:
            await clock.sleep(_LOOK_SECONDS)
            left = working & set(desk.working())
        done, all_of = len(working) - len(left), f"of {len(working)} " if left else ""
        taken = f"{done} {all_of}{'order' if len(working) == 1 else 'orders'} taken back" + (" so far" if left else "")
        kept = self._kept("are being closed at market" if order.arguments.get("flatten") else "kept")
        self._answer(order, f"the kill switch is on: {taken}, {kept}, nothing is opened until `trader resume`{said}")

    def _resume(self) -> str:
        """Take the switches off and return what that changed."""
        desk, was = self._room.desk, self._lock.killed
        before = dict(desk.entries_stopped)
        self._lock.resume()
        self._tell(Resume())
        lifted = [text for name, text in before.items() if name not in desk.entries_stopped]
        said = list(dict.fromkeys([was, *lifted] if was else lifted))
        text = f"lifted: {'; '.join(said)}" if said else "nothing was stopped by hand or by the day's loss"
        if rest := list(desk.entries_stopped.values()):
            text = f"{text}; entries are still stopped: {'; '.join(rest)}"
        elif said:
            text = f"{text}; from now on strategies may open positions"
        if said:
            self._child.notice("INFO", text)
        return text

    def _is_named(self, digits: str) -> bool:
        """Whether an operator has named this account, and so means what is not ours in it too."""
        account = self._room.desk.account
        return bool(digits) and account is not None and account.account_number[-_NAMING_DIGITS:] == digits

    def _kept(self, what: str) -> str:
        open_now = [f"{p.quantity:+f} {p.symbol}" for p in self._room.desk.facts().positions]
        if not open_now:
            return "no position is open"
        return f"{len(open_now)} position{'s' if open_now[1:] else ''} ({', '.join(open_now)}) {what}"

    # --- positions --------------------------------------------------------------------------------

    async def _settle(self, order: OperatorRequest) -> None:
        arguments: Mapping[str, Any] = order.arguments
        symbol, how = str(arguments.get("symbol") or "").upper(), str(arguments.get("how"))
        if how not in set(Resolution):
            self._fail(order, f"{how!r} settles nothing; there is {', '.join(Resolution)}")
            return
        price = None
        with suppress(OutsideError, BadData):
            price = dict(await self._prices.latest([symbol])).get(symbol)
        said = self._tell(Resolve(symbol, Resolution(how), str(arguments.get("strategy") or ""), price))
        self._changed()
        if order.ticket:
            done = all(warn.level == "INFO" for warn in said)
            self._child.send(RequestAnswer(order.ticket, "; ".join(warn.text for warn in said), done))

    # --- answers ----------------------------------------------------------------------------------

    def _answer(self, order: OperatorRequest, text: str) -> None:
        self._changed()
        if order.ticket:
            self._child.send(RequestAnswer(order.ticket, text))

    def _fail(self, order: OperatorRequest, text: str) -> None:
        if order.ticket:
            self._child.send(RequestAnswer(order.ticket, text, done=False))
        else:
            self._child.notice("WARNING", text)
