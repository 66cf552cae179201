"""A trading floor for tests: one exchange, its clock in seconds after the open, and a small language of market plays.

A play is lines of text; `=>` lines say what must have been executed since the last one:

    quote 9.99 x 300 / 10.01 x 200
    buy 250 market as a
    => a 200 @ 10.01
    status a partially_filled
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from liualgotrader.common.events import Bar, Quote, Status, TradeTick
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import AssetTerms, OrderChanges, OrderRequest, OrderView, Refusal, Update
from liualgotrader.exchange.rules import ExchangeSession, Rules

SECOND = 1_000_000_000
OPEN = 1_750_685_400 * SECOND  # 2025-06-23 09:30 New York
CLOSE = OPEN + 23_400 * SECOND
SESSION = ExchangeSession(opens_at=OPEN, closes_at=CLOSE)
ASSETS = (
    AssetTerms("X"),
    AssetTerms("Y"),
    AssetTerms("HARD", easy_to_borrow=False),
    AssetTerms("NOSHORT", shortable=False),
    AssetTerms("WHOLE", fractionable=False),
    AssetTerms("CASHONLY", marginable=False),
    AssetTerms("DEAD", tradable=False),
)


class Floor:
    """One exchange with account `me`; every market event and request comes a second after the one before."""

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        cash: str = "100000",
        start: float = 0,
        session: ExchangeSession = SESSION,
        seed: int = 7,
        closes: Callable[[str], float | None] | None = None,
    ) -> None:
        rules = rules or Rules(latency_ns=0)
        self.exchange = Exchange(ASSETS, session=session, rules=rules, seed=seed, closes=closes)
        self.seconds = start
        self.exchange.advance(self.now)
        self.exchange.open_account("me", Decimal(cash))
        self.updates: list[Update] = []
        self.told = 0

    @property
    def now(self) -> int:
        return OPEN + int(self.seconds * SECOND)

    def wait(self, seconds: float = 1) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.exchange.advance(self.now)
        self.updates += self.exchange.take_updates()

    def quote(self, bid: float, bid_size: float, ask: float, ask_size: float, symbol: str = "X") -> None:
        self.seconds += 1
        self.exchange.on_event(Quote(symbol, self.now, bid, bid_size, ask, ask_size))
        self.wait(0)

    def trade(self, price: float, size: float = 100, symbol: str = "X") -> None:
        self.seconds += 1
        self.exchange.on_event(TradeTick(symbol, self.now, price, size))
        self.wait(0)

    def bar(
        self, opening: float, high: float, low: float, close: float, volume: float = 1e6, symbol: str = "X"
    ) -> None:
        """Let the next whole minute pass as a bar."""
        opens = int(-(-self.seconds // 60)) * 60
        opened_at = OPEN + opens * SECOND
        self.exchange.on_bars(
            [Bar(symbol, opened_at, opened_at + 60 * SECOND, opening, high, low, close, volume, close, 0)]
        )
        self.seconds = opens + 60
        self.updates += self.exchange.take_updates()

    def halt(self, *, halted: bool, symbol: str = "X") -> None:
        self.seconds += 1
        self.exchange.on_event(Status(symbol, self.now, halted))
        self.wait(0)

    def send(self, side: str, quantity: str | None = "100", type_: str = "market", **more: Any) -> OrderView:
        """Submit an order for `me` and let it arrive; prices may be strings."""
        view = self.submit(side, quantity, type_, **more)
        self.wait(0)
        return view

    def submit(self, side: str, quantity: str | None = "100", type_: str = "market", **more: Any) -> OrderView:
        """Submit an order, without letting time pass beyond the request."""
        self.seconds += 1
        account, symbol = more.pop("account", "me"), more.pop("symbol", "X")
        amounts = ("notional", "limit_price", "stop_price", "trail_price", "trail_percent")
        exits = ("take_profit_limit", "stop_loss_stop", "stop_loss_limit")
        terms: dict[str, Any] = {k: Decimal(v) if k in amounts + exits else v for k, v in more.items()}
        amount = None if quantity is None else Decimal(quantity)
        request = OrderRequest(symbol=symbol, side=side, type=type_, quantity=amount, **terms)
        return self.exchange.submit(account, request, self.now)

    def order(self, client_order_id: str) -> OrderView:
        return self.exchange.order_by_client_id("me", client_order_id)

    def cancel(self, client_order_id: str) -> None:
        self.seconds += 1
        self.exchange.cancel("me", self.order(client_order_id).id, self.now)
        self.wait(0)

    def replace(self, which: str, **changes: Any) -> OrderView:
        self.seconds += 1
        exact: dict[str, Any] = {
            k: Decimal(v) if k in ("quantity", "limit_price", "stop_price", "trail") else v for k, v in changes.items()
        }
        view = self.exchange.replace("me", self.order(which).id, self.now, OrderChanges(**exact))
        self.wait(0)
        return view

    def fills(self) -> list[str]:
        """Return `id quantity @ price` of every execution so far."""
        found = [u.execution for u in self.updates if u.execution is not None]
        return [f"{e.client_order_id} {e.quantity} @ {e.price}" for e in found]

    def events(self, client_order_id: str) -> list[str]:
        """Return the update events of one order."""
        return [u.event for u in self.updates if u.order.client_order_id == client_order_id]

    # --- plays

    def play(self, text: str) -> None:
        """Act out a play; AssertionError names the line that does not hold."""
        for line in filter(None, (raw.split("#")[0].strip() for raw in text.splitlines())):
            self._act(line, line.split())

    def _act(self, line: str, words: Sequence[str]) -> None:
        numbers: Any = [float(n) for n in re.findall(r"\d+(?:\.\d+)?", line)]
        verb = words[0]
        if verb == "=>":
            self._check_fills(line)
        elif verb == "quote":
            self.quote(*numbers)
        elif verb == "trade":
            self.trade(*numbers)
        elif verb == "bar":
            self.bar(*numbers)
        elif verb in ("halt", "resume"):
            self.halt(halted=verb == "halt")
        elif verb == "wait":
            self.wait(numbers[0])
        elif verb == "cancel":
            self.cancel(words[1])
        elif verb == "status":
            assert self.order(words[1]).status == words[2], f"{line!r}: it is {self.order(words[1]).status}"
        else:
            self._send(words)

    def _send(self, words: Sequence[str]) -> None:
        """`buy 100 limit 10.00 [day] as a`; a stop_limit gives stop then limit; trailing gives the trail price."""
        side, quantity, type_, *rest = words
        name = rest[rest.index("as") + 1]
        prices = [w for w in rest if re.fullmatch(r"\d+(\.\d+)?", w)]
        fields = {"limit": ["limit_price"], "stop": ["stop_price"], "stop_limit": ["stop_price", "limit_price"]}
        names = fields.get(type_, ["trail_price"] if type_ == "trailing_stop" else [])
        tif = next((w for w in rest if w in ("day", "gtc", "ioc", "fok", "opg", "cls")), "day")
        self.send(
            side, quantity, type_, client_order_id=name, time_in_force=tif, **dict(zip(names, prices, strict=True))
        )

    def _check_fills(self, line: str) -> None:
        wanted = line.removeprefix("=>").strip()
        new = self.fills()[self.told :]
        self.told += len(new)
        assert (", ".join(new) or "nothing") == wanted, f"{line!r}: got {', '.join(new) or 'nothing'}"


def refusal_of(floor: Floor, *args: Any, **more: Any) -> Refusal:
    """Return the refusal that an order meets; AssertionError if it is accepted."""
    try:
        view = floor.submit(*args, **more)
    except Refusal as refusal:
        return refusal
    raise AssertionError(f"accepted: {view}")
