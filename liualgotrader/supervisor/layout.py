"""Who runs where: one slot per strategy and consumer, a strategy that has a home in that one only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from liualgotrader.common.errors import ConfigError


class StrategyFacts(msgspec.Struct, frozen=True):
    """What loading a strategy's class showed. `day_trade` is None where the class would not say.

    `notes` are places where it reads past the engine's doors, `doubts` values that can hardly be meant, `broken`
    says why no instance can be made: it will not run. `own_process` is what the tradeplan says.
    """

    name: str
    run_all: bool
    day_trade: bool | None = None
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    broken: str = ""
    own_process: bool = False


class Place(msgspec.Struct, frozen=True):
    """A slot before it has its row in `algo_run`."""

    slot: int
    strategy: str
    consumer: int
    run_all: bool = False
    own_process: bool = False


class Layout(msgspec.Struct, frozen=True):
    """What a batch keeps for its whole life, over restarts: processes and slots."""

    consumers: int
    places: tuple[Place, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the layout as it stands in the batch's row."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def strategies(self) -> list[str]:
        """Return the strategies' names in order."""
        return list(dict.fromkeys(p.strategy for p in self.places))


def lay_out(strategies: Sequence[StrategyFacts], consumers: int) -> Layout:
    """Return the slots, numbered from 1: strategies in the tradeplan's order, each in every consumer.

    A `run_all` strategy has one slot, in the consumer with the fewest strategies so far, ties to the lowest. One with
    `own_process` has one slot, in a consumer of its own that comes after the others; if all have, there are no others.
    """
    sharing = [s for s in strategies if not s.own_process]
    shared = consumers if sharing or not strategies else 0
    load = Counter({index: sum(not s.run_all for s in sharing) for index in range(shared)})
    places: list[Place] = []
    consumers = shared
    for facts in strategies:
        homes: Sequence[int] = range(shared)
        if facts.own_process:
            homes = [consumers]
            consumers += 1
        elif facts.run_all:
            home = min(range(shared), key=lambda index: (load[index], index))
            load[home] += 1
            homes = [home]
        places += [
            Place(slot, facts.name, home, facts.run_all, facts.own_process)
            for slot, home in enumerate(homes, start=len(places) + 1)
        ]
    return Layout(consumers, tuple(places))


def stored_layout(
    values: dict[str, Any], strategies: Sequence[StrategyFacts], batch_id: str, *, whatever_the_plan: bool = False
) -> Layout:
    """Return the layout that an unfinished batch was made with.

    Raises:
        ConfigError: if the tradeplan now has other strategies, unless the batch goes on `whatever_the_plan` says.
    """
    layout = msgspec.convert(values, Layout)
    if not whatever_the_plan and set(layout.strategies()) != {s.name for s in strategies}:
        raise ConfigError(
            f"the unfinished batch {batch_id} was made with the strategies {', '.join(layout.strategies())}: "
            "start with the same tradeplan to resume it, or with --new for a fresh batch"
        )
    return layout
