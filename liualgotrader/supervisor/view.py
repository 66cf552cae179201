"""The state of a session on one screen: a value made a few times a second, shown by a terminal, a page or `status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from liualgotrader.common.control import DeskView
from liualgotrader.common.money import ZERO

LONG_AGO_MS = 3_600_000.0  # an hour; the vendor's delayed feed is 15 minutes late


class ProcessView(msgspec.Struct, frozen=True):
    """One process: starting, ready, down, stopping, ended."""

    name: str
    state: str
    pid: int
    restarts: int
    counters: dict[str, float]


class StrategyView(msgspec.Struct, frozen=True):
    """One strategy over all its slots.

    `gain` is in US dollars, fees paid, `open_gain` the part of it that is not realized: what positions gained so far, those
    without a known price at their cost. `ended` says why slots of it stopped.
    """

    name: str
    fills: int
    trips: int
    open_positions: int
    gain: Decimal
    ended: str
    refused: dict[str, int] = {}  # orders by the rule that refused them
    open_gain: Decimal = ZERO

    @property
    def realized(self) -> Decimal:
        """What it has gained for good, US dollars, fees paid."""
        return self.gain - self.open_gain


class PositionLine(msgspec.Struct, frozen=True):
    """An open position: signed shares, US dollars per share; None is not known, or for `stop`, that there is none.

    `stop` is what rests at the broker, else what is stored with the position.
    """

    strategy: str
    symbol: str
    quantity: Decimal
    entry: Decimal
    last: Decimal | None = None
    stop: Decimal | None = None
    target: Decimal | None = None

    @property
    def gain(self) -> Decimal | None:
        """What it has gained at the newest price, US dollars without fees; None if no price is known."""
        return None if self.last is None else (self.last - self.entry) * self.quantity


class GatewayFacts(DeskView, frozen=True):
    """What the order gateway tells of the account, beside what its desk shows."""

    account: str = ""  # the last four of its number
    cash: Decimal | None = None  # US dollars
    kill_switch: dict[str, str] = {}  # `since` when it is on, and the `reason`


class View(msgspec.Struct, frozen=True):
    """A session at one moment; instants are ns UTC."""

    batch_id: str
    environment: str
    day: str
    market_at: int
    opens_at: int
    closes_at: int
    elapsed_seconds: float  # machine
    events_per_second: float
    processes: tuple[ProcessView, ...]
    strategies: tuple[StrategyView, ...]
    waiting_for: tuple[str, ...] = ()
    facts: GatewayFacts | None = None  # until the gateway has reported any
    positions: tuple[PositionLine, ...] = ()
    speed: float | None = None  # market per machine time; None where both are the same
    debug: bool = False

    def counted(self, name: str) -> float:
        """Return the sum of a counter over all processes."""
        return sum(p.counters.get(name, 0.0) for p in self.processes)

    def dropped(self) -> int:
        """Return how many market events the producer dropped because a consumer lagged."""
        counters = [p.counters for p in self.processes if p.name == "producer"]
        return int(sum(v for counted in counters for name, v in counted.items() if name.startswith("dropped_")))

    def alerts(self) -> list[str]:
        """Return what keeps orders back or is not as our books say, worst first, a sentence each."""
        said: list[str] = []
        facts = self.facts
        if facts is None:
            return said
        switch = facts.kill_switch
        if switch:
            said.append(
                f"THE KILL SWITCH IS ON since {switch['since']} New York ({switch['reason']}): nothing is opened until"
                " `trader resume`"
            )
        said += [f"entries are stopped: {why}" for why in facts.entries_stopped.values() if why != switch.get("reason")]
        quarantined = sorted(facts.quarantined.items())
        said += [f"{symbol} is quarantined: {why}; `liu positions` settles it" for symbol, why in quarantined]
        said += [f"{symbol}: {why}" for symbol, why in sorted(facts.day_unknown.items())]
        if facts.foreign:
            held = ", ".join(f"{shares} {symbol}" for symbol, shares in sorted(facts.foreign.items()))
            said.append(f"not ours and never traded: {held} (`liu positions` adopts or flattens)")
        return said

    def refusals(self) -> Counter[str]:
        """Return how many orders of all strategies each rule has refused."""
        return sum((Counter(s.refused) for s in self.strategies), Counter())

    def worst(self, name: str) -> float:
        """Return the largest value of a gauge over all processes."""
        return max((p.counters.get(name, 0.0) for p in self.processes), default=0.0)

    def lag_ms(self) -> float | None:
        """Return how old market data was when strategies got it lately, milliseconds, in the worst consumer.

        None while none flows, and when all that came was of long ago: a closed market's last quotes say nothing
        about how fast we are.
        """
        worst = self.worst("lag_ms")
        return worst if self.events_per_second and worst < LONG_AGO_MS else None


def masked_account(facts: GatewayFacts) -> str:
    """Return the account's number as a person may see it: its last four characters."""
    return f"…{facts.account}" if facts.account else "?"


GAINS = {"day_gain": "our positions", "account_gain": "the account"}


def today_text(facts: GatewayFacts) -> str:
    """Return what our positions and the account have gained since the previous close, and what moved it without us."""
    gains = ((whose, getattr(facts, name)) for name, whose in GAINS.items())
    said = [f"{whose} {'unknown' if gain is None else f'{gain:+,.2f} $'}" for whose, gain in gains]
    return ", ".join([*said, *facts.activities])


def equity_text(equity: Decimal | None) -> str:
    """Return the account's equity as a person reads it."""
    return "equity unknown" if equity is None else f"equity {equity:,.2f} $"


def refusals_text(refused: Mapping[str, int]) -> str:
    """Return counts by rule in words, the most frequent first, empty if there are none."""
    ordered = sorted(refused.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} by {rule}" for rule, count in ordered)


class Screen(Protocol):
    """Where a person reads what goes on."""

    def line(self, text: str) -> None:
        """Show one line that stays."""

    def warn(self, text: str) -> None:
        """Show one line that a person should look at."""

    def show(self, view: View) -> None:
        """Show the state of the session in place of the last one."""

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table that stays."""

    def close(self) -> None:
        """Show the last state no longer."""
