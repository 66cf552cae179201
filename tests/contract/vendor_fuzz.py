"""Answers of the vendor in which a field is absent, null, of another type, not finite, huge, negative or empty.

Each goes through the real adapters into a real desk, which holds positions and working orders, or into a consumer's
engine. `play` says what must never follow. A seed says all of it: `python -m tests.contract.vendor_fuzz --cases 1000000`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
from msgspec.msgpack import Ext

from liualgotrader.common.clock import MINUTE, SECOND, rfc3339
from liualgotrader.common.errors import BadData, DataUnavailable, DataUnusable
from liualgotrader.common.orders import BrokerUpdate, OrderState
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.data.alpaca_data import AlpacaData
from liualgotrader.data.alpaca_feed import AlpacaFeed
from liualgotrader.order_gateway.broker_calls import BrokerCalls
from liualgotrader.orders.account_state import ACCOUNT_UNKNOWN
from liualgotrader.orders.desk_messages import (
    BrokerSnapshot,
    Condition,
    LookUp,
    Reconcile,
    Reconnected,
    Send,
    prices_of,
)
from liualgotrader.simulator.shapes import account_body, activity_body, order_body, position_body, update_body
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.trading.alpaca_broker import AlpacaBroker, UpdatesThread
from tests.fakes.broker import OPEN, World, desk_terms
from tests.fakes.strategies import BATCH_ID, Play

NOWHERE = Endpoints("http://127.0.0.1:9", "http://127.0.0.1:9", "", "", loopback=True)
GONE = object()  # the field is absent
ODD: tuple[Any, ...] = (
    GONE, None, "", "abc", "NaN", "-Infinity", "1e9999999999", "1e-99999", "1_0", "\u0661\u0662", "0x1", " 1",
    float("nan"), float("inf"), float("-inf"), True, False, [], {}, [None], {"a": 1}, [[1]], 10**40, -(10**40), 1e300,
    1e12, -1, "-1", 0, "0", -0.0, "1" * 5000, "\x00", "\ud800", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    "2100-01-01T00:00:00Z", "2024-02-30T00:00:00Z", 1_700_000_000,
)  # fmt: skip
BOOKS = ("/positions", "/orders", "/account/activities", "/account/activities:cash")
NUMBERS = (-1, "-1", 0, "0", 1e12, 1_700_000_000)  # of `ODD`, what is a number all the same
_READ = """
id client_order_id symbol side qty filled_qty filled_avg_price status submitted_at created_at updated_at replaced_by
replaces legs type limit_price stop_price event order execution_id price fee at timestamp event_id order_id cum_qty
transaction_time net_amount date activity_type avg_entry_price current_price lastday_price account_number equity cash
buying_power last_equity trading_blocked account_blocked t o h l c v n vw p s bp bs ap as bars latestTrade dailyBar
prevDailyBar next_page_token tradable shortable notional asset_class order_class
"""
READ = frozenset(_READ.split())
LIFE = 40  # cases that one desk lives through
MOST = Decimal(10**13)


class Vendor(AlpacaBroker):
    """The real adapter, whose calls are answered from here, `spoil`ed on one path."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__(NOWHERE, "id", "secret", timeout_seconds=10.0)
        self.answers = answers
        self.given: Any = None
        self.path = ""
        self.spoil: Callable[[Any], Any] = lambda raw: raw

    async def _call(
        self, method: str, path: str, fields: Mapping[str, Any] | None = None, *, about: str, urgent: bool = False
    ) -> Any:
        name = "/orders/sent" if method == "POST" else path
        name += ":cash" if "category" in (fields or {}) else ""
        answer = json.loads(self.answers[name])
        if name == self.path:
            answer = self.given = self.spoil(answer)
        return answer


class Life:
    """A desk with 10 AAPL and part of an order for MSFT, two resting orders, and a fill that it has not heard of yet."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.world = world = World(desk_terms())
        self.heard: list[dict[str, Any]] = []
        take = world.exchange.take_updates

        def recorded() -> Any:
            updates = take()
            self.heard += [msgspec.to_builtins(update_body(update)) for update in updates]
            return updates

        world.exchange.take_updates = recorded  # type: ignore[method-assign]
        world.run()
        world.order(1, "buy", 10)
        world.run()
        world.wait(1)
        world.run()
        world.order(1, "sell", 10, limit_price=Decimal(105))
        world.quote("MSFT", 99.99, 100.01, 4)
        self.bought = world.order(2, "buy", 10, "MSFT", limit_price=Decimal("100.01"))
        world.run()
        world.wait(1)
        world.run()
        world.quote("MSFT", 99.99, 100.01, 3)
        world.wait(1)
        world.updates.clear()
        world.exchange.move_cash("me", "CSW", Decimal(-6000), world.now)
        self.held = {(1, "AAPL"): {Decimal(10)}, (2, "MSFT"): {Decimal(4), Decimal(7)}}
        self.vendor = Vendor(self._answers())
        self.calls = BrokerCalls(self.vendor, 10.0)
        self.said: list[Any] = []
        self.stream = UpdatesThread(NOWHERE, ("", ""), self.said.append)
        world.commands.clear()

    def _answers(self) -> Mapping[str, Any]:
        exchange, now = self.world.exchange, self.world.now
        views = exchange.orders("me", status="all", after=0, limit=500, direction="asc", nested=True)
        orders = [msgspec.to_builtins(order_body(view)) for view in views]
        mine = next(raw for raw in orders if raw["client_order_id"] == self.bought)
        found = {
            "/account": account_body(exchange.account("me")),
            "/positions": [position_body(view) for view in exchange.positions("me")],
            "/orders": orders,
            "/orders/sent": mine,
            "/orders:by_client_order_id": mine,
            "/account/activities": [activity_body(one) for one in exchange.activities("me", after=0)],
            "/account/activities:cash": [activity_body(one) for one in exchange.cash_activities("me", after=0)],
            "/clock": {"timestamp": rfc3339(now), "is_open": True},
        }
        return {path: json.dumps(answer) for path, answer in found.items()}

    # --- one case of each kind -----------------------------------------------------------------------

    async def account(self) -> None:
        """The account as polled: what entries depend on is known, or entries wait."""
        self.spoiled("/account")
        try:
            account = await self.vendor.account()
        except BadData as error:
            self.tell(Condition(ACCOUNT_UNKNOWN, str(error)))
        else:
            finite(account)
            self.tell(account)
        waits = ACCOUNT_UNKNOWN in self.world.desk.state.conditions
        known = _is_known(self.vendor.given, json.loads(self.vendor.answers["/account"])["equity"])
        assert waits is not known, f"entries {'wait' if waits else 'go on'} upon {self.vendor.given}"
        self.whole("/account")
        self.tell(await self.vendor.account())
        assert ACCOUNT_UNKNOWN not in self.world.desk.state.conditions, "entries wait although all is known"

    async def books(self) -> None:
        """The comparison with one of the broker's lists spoiled."""
        self.spoiled(self.chance.choice(BOOKS))
        await self._compare()

    async def prices(self) -> None:
        """The prices of what is held, by which the day's loss is weighed and stops are guarded."""
        self.spoiled("/positions")
        try:
            positions = await self.vendor.positions()
        except BadData:
            return
        finite(positions)
        self.tell(prices_of(positions))

    async def look_up(self) -> None:
        """An order asked for by its id."""
        self.spoiled("/orders:by_client_order_id")
        self.tell(await self.calls.run(LookUp(self.bought, "MSFT")))

    async def answer(self) -> None:
        """The answer to an order that was sent."""
        self.spoiled("/orders/sent")
        order = self.world.desk.state.orders.by_id[self.bought]
        self.tell(await self.calls.run(Send(order.intent)))

    async def clock(self) -> None:
        """The broker's clock."""
        self.spoiled("/clock")
        try:
            at = await self.vendor.clock()
        except BadData:
            return
        assert 0 < at < 2**63

    async def update(self) -> None:
        """A message of the order stream, spoiled or as it is, of the last ones or of an old one."""
        raw = deepcopy(self.chance.choice([*self.heard, self.heard[-1]]))
        if self.chance.random() < 0.9:
            raw = spoil(raw, self.chance)
        self.said.clear()
        await self.stream._hear({"stream": "trade_updates", "data": raw})
        for said in self.said:
            assert isinstance(said, BrokerUpdate | BadData)
            finite(said)
            self.tell(said if isinstance(said, BrokerUpdate) else Reconnected())

    KINDS = ("account", "books", "prices", "look_up", "answer", "clock", "update")

    # --- what must never follow ----------------------------------------------------------------------

    def spoiled(self, path: str) -> None:
        """Spoil the answers on a path."""
        self.vendor.path, self.vendor.spoil = path, lambda raw: spoil(raw, self.chance)

    def whole(self, path: str) -> None:
        """Answer as it is again."""
        self.vendor.path = ""

    async def _compare(self) -> None:
        self.tell(await self.calls.run(Reconcile(OPEN)))

    def tell(self, told: Any) -> None:
        """Tell the desk; it may ask the broker, and nothing more."""
        if isinstance(told, BrokerSnapshot):
            finite(told)
        self.world.tell(told)
        sent = [one for one in self.world.commands if not isinstance(one, LookUp | Reconcile)]
        assert not sent, f"decided on what is unknown: {sent}"
        assert None not in self.world.desk.state.closings.flattening, "positions are closed on what is unknown"
        assert not self.world.desk.state.closings, "positions are closed on what is unknown"
        self.world.commands.clear()
        books = self.world.desk.state.positions
        for place, shares in self.held.items():
            assert books.held(*place) in shares, f"{place} became {books.held(*place)}"
        assert sum(1 for _ in books.open()) == len(self.held), "a position that nobody has bought"

    async def heal(self) -> None:
        """The broker answers as it should: everything is as the account says."""
        self.whole("")
        for _ in range(2):
            await self._compare()
        books = self.world.desk.state.positions
        assert {place: books.held(*place) for place in self.held} == {(1, "AAPL"): 10, (2, "MSFT"): 7}
        quarantined = self.world.desk.state.quarantine.reasons
        assert not quarantined, quarantined
        order = self.world.desk.state.orders.by_id[self.bought]
        self.world.now += 61 * SECOND  # the longest that a wrong time may stand for
        self.world.exchange.cancel("me", order.broker_order_id, self.world.now)
        self.world.wait(1)
        self.vendor.answers = self._answers()
        for _ in range(2):
            await self._compare()
        assert order.state is OrderState.CANCELED, f"what the broker says of an order counts no more: {order.state}"
        prices = [row.price for row in self.world.trade_rows()]
        assert prices and all(price == Decimal("100.01") for price in prices), prices


class Reads(Strategy):
    """Reads all there is to read."""

    def on_bar(self, ctx: Any, bar: Any) -> None:
        assert ctx.bars.close[-1] == bar.close

    def on_trade(self, ctx: Any, trade: Any) -> None:
        assert ctx.last > 0


class Client:
    """A client of the vendor's library that answers every question with the same."""

    def __init__(self) -> None:
        self.answer: Any = None

    def get(self, path: str, question: Any) -> Any:
        return self.answer


class History(AlpacaData):
    """The real adapter with that client."""

    def __init__(self) -> None:
        super().__init__(NOWHERE, "id", "secret", feed="sip", timeout_seconds=1.0, tries=1)
        self.client = Client()

    def _client(self, name: str) -> Any:
        return self.client


class Watching:
    """A consumer's engine that is fed history and a stream; GOOD is never spoiled, ODD is."""

    KINDS = ("history", "snapshots", "assets", "frame")

    def __init__(self, chance: Random) -> None:
        self.chance, self.data = chance, History()
        self.play = Play(Reads("reads", StrategyType.DAY_TRADE, BATCH_ID, []), events=("minute", "trade", "quote"))
        self.play.pick("GOOD", "ODD")
        self.packed, self.text = AlpacaFeed("id", "secret"), AlpacaFeed("id", "secret", text=True)
        self.minute = 0

    def _row(self, at: int) -> dict[str, Any]:
        return {"t": rfc3339(at), "o": 10.0, "h": 12.0, "l": 9.0, "c": 11.0, "v": 100, "n": 3, "vw": 10.5}

    async def history(self) -> None:
        """Bars of both symbols, ODD's or the page as a whole spoiled."""
        rows = [self._row(OPEN + n * MINUTE) for n in range(3)]
        answer: Any = {"bars": {"GOOD": rows, "ODD": list(rows)}, "next_page_token": None}
        if whole := self.chance.random() < 0.2:
            answer = spoil(answer, self.chance)
        else:
            answer["bars"]["ODD"] = spoil(deepcopy(rows), self.chance)
        self.data.client.answer = answer
        try:
            found = self.data.bars_now(["GOOD", "ODD"], OPEN, OPEN + 3 * MINUTE, minutes=1)
        except DataUnusable as error:
            found = error.good
            assert whole or list(error.bad) == ["ODD"], error
            assert "ODD" in str(error) or whole
        assert whole or len(found["GOOD"]) == 3
        finite(list(found.values()))
        for symbol, bars in found.items():
            assert all(0 < b.low <= min(b.open, b.close) <= max(b.open, b.close) <= b.high for b in bars)
            self.play._take(self.play.engine.on_history(symbol, bars, self.play.now, 0))

    async def snapshots(self) -> None:
        """The newest figures of both symbols."""
        one = {
            "latestTrade": {"p": 10.0, "t": rfc3339(OPEN)},
            "dailyBar": self._row(OPEN),
            "prevDailyBar": self._row(OPEN),
        }
        self.data.client.answer = {"GOOD": one, "ODD": spoil(deepcopy(one), self.chance)}
        found = self.data.snapshots_now(["GOOD", "ODD"])
        assert found["GOOD"].last_price == 10.0
        finite(list(found.values()))

    async def assets(self) -> None:
        """The list of what can be traded."""
        one = {"symbol": "GOOD", "tradable": True, "shortable": True, "name": "Good", "exchange": "NYSE"}
        self.data.client.answer = [one, spoil(one | {"symbol": "ODD"}, self.chance)]
        assert "GOOD" in self.data.assets_now()
        self.data.client.answer = spoil([one], self.chance)
        try:
            self.data.assets_now()
        except DataUnavailable:
            return

    async def frame(self) -> None:
        """A frame of the stream with three messages, the second spoiled."""
        self.minute += 1
        at, text = OPEN + self.minute * SECOND, self.chance.random() < 0.5
        stamp: Any = rfc3339(at) if text else Ext(-1, (at % SECOND << 34 | at // SECOND).to_bytes(8, "big"))
        minute = OPEN + self.minute % 390 * MINUTE
        label: Any = rfc3339(minute) if text else Ext(-1, (minute // SECOND).to_bytes(4, "big"))
        good = {"T": "t", "S": "GOOD", "p": 10.5, "s": 100, "t": stamp, "c": ["@"], "z": "C"}
        bar = {"T": "b", "S": "ODD", **self._row(OPEN), "t": label}
        quote = {"T": "q", "S": "ODD", "bp": 10.0, "bs": 3, "ap": 10.1, "as": 4, "t": stamp}
        correction = {"T": "c", "S": "ODD", "op": 10.0, "os": 3, "cp": 10.1, "cs": 4, "t": stamp}
        status = {"T": "s", "S": "ODD", "sc": "T", "t": stamp}
        odd = spoil(deepcopy(self.chance.choice((bar, quote, good | {"S": "ODD"}, correction, status))), self.chance)
        encode = msgspec.json.encode if text else msgspec.msgpack.encode
        feed = self.text if text else self.packed
        try:
            frame = encode([good, odd, good])
        except (UnicodeEncodeError, OverflowError):  # nothing that a wire can carry
            return
        events = feed.receive(frame, OPEN + 400 * MINUTE)
        assert [e.symbol for e in events].count("GOOD") >= 2, f"what was good in the frame is lost: {frame!r}"
        finite(events)
        assert all(0 < event.at < OPEN + 400 * MINUTE for event in events if not hasattr(event, "opened_at"))
        self.play.events(events)
        assert not self.play.stopped and not self.play.orders


def spoil(raw: Any, chance: Random) -> Any:
    """Return what was said with one or two fields, or all of it, replaced; sometimes in another order, or twice."""
    if chance.random() < 0.03:
        return deepcopy(chance.choice(ODD[1:]))
    for _ in range(chance.choice((1, 1, 1, 2))):
        places = list(_places(raw))
        if chance.random() < 0.8:  # most often what somebody reads
            places = [place for place in places if place[1] in READ] or places
        if places:
            holder, key = chance.choice(places)
            value = chance.choice(ODD)
            value = value if value is GONE else deepcopy(value)
            if value is GONE:
                del holder[key]
            else:
                holder[key] = value
    if isinstance(raw, list) and chance.random() < 0.2:
        raw = chance.sample(raw, len(raw)) + raw[: chance.randint(0, len(raw))]
    return raw


def _is_known(account: Any, equity: str) -> bool:
    """Return whether what was said of the account is all that entries depend on; `equity` is the true one."""
    said = account if isinstance(account, dict) else {}
    number, flags = said.get("account_number"), [said.get("trading_blocked"), said.get("account_blocked")]
    states = said.get("equity") in (equity, *NUMBERS) and not isinstance(said.get("equity"), bool)
    stated = any(flag is True for flag in flags) or all(flag is False for flag in flags)
    status = said.get("status")
    texts = (number, "it need not say" if status is None or status == "" else status)
    readable = all(isinstance(text, str) and text.isprintable() and 0 < len(text) <= 1000 for text in texts)
    return states and stated and readable


def _places(raw: Any) -> Any:
    """Yield every place in what was said that could hold something else."""
    items = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in items:
        yield raw, key
        yield from _places(value)


def finite(value: Any) -> None:
    """Fail if a number in a value is not finite, or larger than anything that is traded."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            finite(getattr(value, name))
    elif isinstance(value, Decimal):
        assert value.is_finite() and abs(value) <= MOST, value
    elif isinstance(value, float):
        assert abs(value) <= 1e12, value  # NaN is not
    elif isinstance(value, int):
        assert abs(value) < 2**63, value
    elif isinstance(value, list | tuple):
        for one in value:
            finite(one)


async def play(cases: int, seed: int) -> Counter[str]:
    """Play so many cases and return how many of each kind; a case that fails says its seed."""
    counts: Counter[str] = Counter()
    for number in range(0, cases, LIFE):
        chance = Random(f"{seed}-{number}")
        life, watching = Life(chance), Watching(chance)
        for place in range(min(LIFE, cases - number)):
            who = chance.choice((life, watching))
            kind = chance.choice(who.KINDS)
            counts[kind] += 1
            try:
                act: Callable[[], Awaitable[None]] = getattr(who, kind)
                await act()
            except Exception as error:
                error.add_note(f"case {number + place} ({kind}) of seed {seed}")
                raise
        try:
            await life.heal()
        except Exception as error:
            error.add_note(f"after case {number + LIFE - 1} of seed {seed}")
            raise
    return counts


def main() -> None:
    """Play from a shell and print what was played."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    stated = parser.parse_args()
    began = time.monotonic()
    counts = asyncio.run(play(stated.cases, stated.seed))
    told = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    print(f"{sum(counts.values())} cases in {time.monotonic() - began:.0f} s, none decided on: {told}")


if __name__ == "__main__":
    main()
