"""The order in which a consumer takes its inputs.

Account news goes first. While a simulated market stands and waits for the stack, everything that belongs to
one instant is gathered before any of it is acted on (news, then answers, market data and timers), so that what
strategies do is a function of the tape and not of which process was quicker. For the same reason consumers then
act one after another, in their order: what the order desk lets one strategy do may depend on what another has
done already (it refuses an order that would cross, or one above a limit of the account). Anywhere else inputs
are taken as they come.

An answer is what was asked for outside and is acted on when it comes: the rest of a strategy's call that really
waited, a new symbol's history. Until all of them are there nothing else is acted on while the market stands, and
then they go in the order in which they were asked for, not in the one in which they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter

from liualgotrader.common.clock import SECOND, machine_now
from liualgotrader.ipc.links import Reader
from liualgotrader.ipc.process_status import MarketHold
from liualgotrader.ipc.session_page import Cell, Life, SessionPage

_TURNS = 8  # of the loop that are tried at once before pausing
_PAUSE_SECONDS = 0.001
_PATIENCE_SECONDS = 10.0  # machine time without any progress after which an instant is acted on, quiet or not

Answer = Callable[[], None]
Work = Callable[[Sequence[bytes], Sequence[Answer], Sequence[bytes], bool], None]


class Gate:
    """Knows from the session page when everything for the instant at which the market stands has arrived."""

    def __init__(self, page: SessionPage, index: int) -> None:
        self.page = page
        others = [page.process(n) for n in ("order_gateway", "producer", "scanners_runner") if n in page.processes]
        self.row = page.process(f"consumer-{index}")
        self._market, self._news = page.link(f"market-{index}"), page.link(f"news-{index}")
        consumers = [(int(n.partition("-")[2]), page.process(n)) for n in page.processes if n.startswith("consumer-")]
        earlier = [(row, page.link(f"market-{i}"), page.link(f"news-{i}")) for i, row in consumers if i < index]
        self._before = [
            *((row,) for row in others),
            *earlier,
        ]  # who has to be idle, and the links that have to be empty
        self._after = [row for i, row in consumers if i > index]
        self._foreign = [page.link(n) for n in page.links if n == "picks" or n.startswith(("intents-", "needs-"))]

    def is_complete(self, market_messages: int, news_messages: int) -> bool:
        """Return whether it is this consumer's turn and nothing but these messages is on its way to it.

        It is its turn once other processes and earlier consumers are idle at this instant and no later consumer acts. Work
        that moved from one process to another during the look has changed a count.
        """
        page, get = self.page, self.page.get
        before, anchor = page.snapshot(), page.anchor()
        return (
            page.waiting
            and all(
                get(row, Cell.LIFE) != Life.READY
                or get(row, Cell.CUT_OFF)
                or (
                    get(row, Cell.BUSY) == 0
                    and (anchor is None or get(row, Cell.DEADLINE) > anchor.market0)
                    and get(row, Cell.FEED_HANDLED) >= get(row, Cell.FEED_SENT)
                    and get(row, Cell.UPDATES_HANDLED) >= get(row, Cell.UPDATES_SENT)
                    and all(page.handled(link) >= page.sent(link) for link in links)
                )
                for row, *links in self._before
            )
            and not any(get(row, Cell.LIFE) == Life.READY and get(row, Cell.ACTING) for row in self._after)
            and all(page.handled(link) >= page.sent(link) or not page.waits_for(link) for link in self._foreign)
            and page.sent(self._market) - page.handled(self._market) <= market_messages
            and page.sent(self._news) - page.handled(self._news) <= news_messages
            and page.snapshot() == before
        )


class EventIntake:
    """Gathers inputs, hands them to `work(news, answers, market, timer)`, then counts them as handled.

    News that rebuilds a consumer's books (`rebuilds` is true) is not gathered: no strategy is called for it, and the
    producer takes no picks before every consumer has said what it holds.

    `longest_call` is for how many seconds of machine time a strategy's call may wait without any sign of progress.
    """

    def __init__(
        self,
        gate: Gate,
        market: Reader,
        news: Reader,
        work: Work,
        hold: MarketHold,
        *,
        rebuilds: Callable[[], bool] = lambda: False,
        longest_call: float = 0.0,
    ) -> None:
        self._gate, self._market_link, self._news_link, self._work = gate, market, news, work
        self._hold, self._rebuilds = hold, rebuilds
        self._patience = round((_PATIENCE_SECONDS + longest_call) * SECOND)
        self._market: list[bytes] = []
        self._news: list[bytes] = []
        self._answers: list[tuple[int, Answer]] = []
        self._expected = 0
        self._timer = False
        self._since = 0
        self._progress: list[int] = []
        self._turns = 0
        self._handle: asyncio.Handle | None = None
        self._closed = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to take messages, account news first."""
        self._loop = loop
        self._news_link.attach(loop, partial(self._take, self._news))
        self._market_link.attach(loop, partial(self._take, self._market))

    def alarm(self) -> None:
        """Have a deadline of the engine served; the market is held until then."""
        self._timer = True
        self._update_hold()
        self._schedule()

    def expecting(self) -> MarketHold:
        """Return a hold for the time until an answer comes; it lasts until what was `answered` is acted on."""
        return MarketHold(self._count_hold)

    def answered(self, act: Answer, order: int = 0) -> None:
        """Have an answer acted on; those gathered together go by `order`, equal ones as they came."""
        self._answers.append((order, act))
        self._schedule()

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True
        if self._handle is not None:
            self._handle.cancel()
        self._update_hold()
        self._market_link.close()
        self._news_link.close()

    def _take(self, waiting: list[bytes], payload: bytes) -> None:
        waiting.append(payload)
        self._schedule()

    def _count_hold(self, change: int) -> None:
        self._expected += change
        self._update_hold()

    def _update_hold(self) -> None:
        needed = self._timer or self._answers or self._expected
        self._hold.hold_while(bool(needed) and not self._closed)

    def _schedule(self) -> None:
        """Look once this turn of the loop has taken all that is there, so that several messages become one piece of work."""
        if self._handle is None and not self._closed:
            self._since, self._turns = machine_now(), 0
            self._handle = self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._handle = None
        if self._gate.page.is_held and (
            self._expected or not self._gate.is_complete(len(self._market), len(self._news))
        ):
            if self._news and self._rebuilds():
                self._act((), (), timer=False)
            self._turns += 1
            if self._turns <= _TURNS:
                self._handle = self._loop.call_soon(self._look)
                return
            # While any process gets on, this one waits: an earlier consumer may have a long call of a strategy.
            now, progress = machine_now(), self._gate.page.work()
            if progress != self._progress:
                self._since, self._progress = now, progress
            if now - self._since < self._patience:
                self._handle = self._loop.call_later(_PAUSE_SECONDS, self._look)
                return
        answers, market, timer = self._answers, self._market[:], self._timer
        self._answers, self._timer = [], False
        self._market.clear()
        self._act([act for _, act in sorted(answers, key=itemgetter(0))], market, timer=timer)
        self._update_hold()

    def _act(self, answers: Sequence[Answer], market: Sequence[bytes], *, timer: bool) -> None:
        news = self._news[:]
        self._news.clear()
        self._gate.page.put(self._gate.row, Cell.ACTING, 1)
        self._work(news, answers, market, timer)
        for _ in news:
            self._news_link.handled()
        for _ in market:
            self._market_link.handled()
        self._gate.page.put(self._gate.row, Cell.ACTING, 0)
