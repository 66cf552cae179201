"""What may happen between a desk and its broker, as rules of a history: calls, answers and updates in any order."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from liualgotrader.common.money import ZERO
from liualgotrader.common.tradeplan import FillProfile
from liualgotrader.exchange.rules import Rules
from tests.fakes.broker import SYMBOLS, World

PICK = st.integers(0, 10_000)
FAULTS = st.sampled_from(["", "", "", "lost", "mute"])


class DeskLine(RuleBasedStateMachine):
    """One desk and one exchange, which fills in parts with probability `partial`."""

    partial = 0.5

    def __init__(self) -> None:
        super().__init__()
        rules = Rules(latency_ns=20_000_000, profile=FillProfile.PAPER, partial_probability=self.partial)
        self.world = World(rules=rules)
        self.world.run()

    @precondition(lambda self: self.world.commands)
    @rule(pick=PICK, fault=FAULTS)
    def carry_out(self, pick: int, fault: str) -> None:
        self.world.carry_out(pick % len(self.world.commands), fault)

    @precondition(lambda self: self.world.answers)
    @rule(pick=PICK)
    def hear(self, pick: int) -> None:
        self.world.hear(pick % len(self.world.answers))

    @precondition(lambda self: self.world.updates)
    @rule(pick=PICK, again=st.booleans())
    def update(self, pick: int, again: bool) -> None:
        self.world.update(pick % len(self.world.updates), again=again)

    @invariant()
    def exposure_is_what_its_parts_say(self) -> None:
        positions = self.world.desk.state.positions
        parts = [positions.exposure_with(symbol) for symbol in SYMBOLS]
        assert positions.total.either == sum((p.either for p in parts), ZERO)
        assert positions.total.short == sum((p.short for p in parts), ZERO)
