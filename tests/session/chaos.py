"""Sessions in which processes die at random instants. A seed says all of it; `play` audits what is left.

From a shell, one line a session: `python -m tests.session.chaos --from 1 --count 20`.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from liualgotrader.transport.page import Life
from tests.session.audit import audit
from tests.session.running import Gone, TraderRun, trader

STACK = ("order_gateway", "producer", "consumer-0", "consumer-1", "scanners_runner")
MINUTES = 20
_STOPPED_SECONDS = 12.0  # longer than a process may be mute


@dataclass(frozen=True)
class Blow:
    """What happens at a market instant, seconds after 09:30; negative: machine seconds after the start."""

    at: float
    what: str  # kill | stop | database | supervisor | in_flight
    victims: tuple[str, ...] = ()

    def __str__(self) -> str:
        when = f"start+{-self.at:.1f}" if self.at < 0 else f"09:{30 + int(self.at) // 60}:{int(self.at) % 60:02d}"
        return f"{when} {self.what} {' '.join(self.victims)}".strip()


def scenario(seed: int) -> tuple[Blow, ...]:
    """Return the blows of a seed, in order: one to four of them, some at the start and some in the last minutes."""
    chance = random.Random(seed)
    blows = []
    for _ in range(chance.randint(1, 4)):
        at = _instant(chance)
        kinds, weights = ("kill", "in_flight", "database", "supervisor", "stop"), (60, 15, 10, 10, 5)
        [what] = chance.choices(kinds, weights)
        if what == "kill":
            victims = tuple(chance.sample(STACK, chance.choice((1, 1, 1, 2, 2, 3))))
        elif what == "stop":
            victims = (chance.choice(("consumer-0", "consumer-1")),)
        else:
            victims = ()
        blows.append(Blow(at, what, victims))
    return tuple(sorted(blows, key=lambda blow: (blow.at >= 0, abs(blow.at))))


def _instant(chance: random.Random) -> float:
    kind = chance.random()
    if kind < 0.12:
        return -chance.uniform(0.0, 1.5)  # while the processes start
    if kind < 0.27:
        return chance.uniform((MINUTES - 3) * 60, MINUTES * 60 + 50)  # liquidation, close and after
    return chance.uniform(0.0, MINUTES * 60)


def play(blows: Sequence[Blow], seed: int) -> str:
    """Run the session, and return how it went in a few words.

    Raises:
        AssertionError: if anything does not hold that must hold.
    """
    with trader("--from", "09:30", "--to", f"09:{30 + MINUTES}", "--seed", str(seed)) as run:
        run.start()
        dealt = sum(_deal(run, blow) for blow in blows)
        assert run.ended(150) == 0, run.output
        assert "Traceback" not in run.output, run.output
        run.nothing_is_left()
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
        assert len(record.rows("batch")) == 1
        return f"{dealt} of {len(blows)} blows, {len(record.rows('new_trades'))} fills"


def _deal(run: TraderRun, blow: Blow) -> bool:
    """Deal a blow; False if the session was over before it came to that."""
    try:
        if blow.at < 0:
            run.page()
            time.sleep(-blow.at)
        else:
            run.wait_for_market(_clock(blow.at))
        _strike(run, blow)
    except (Gone, ProcessLookupError):
        return False
    return True


def _clock(at: float) -> str:
    return f"09:{30 + int(at) // 60}:{int(at) % 60:02d}"


def _strike(run: TraderRun, blow: Blow) -> None:
    if blow.what == "supervisor":
        run.kill_supervisor()
        run.start()
    elif blow.what == "database":
        run.kill_postmaster()
    elif blow.what == "in_flight":
        run.wait_for_intents()
        run.kill("order_gateway")
    elif blow.what == "stop":
        [name] = blow.victims
        stopped = run.pid(name)
        os.kill(stopped, signal.SIGSTOP)
        run.wait_for_exit(stopped, _STOPPED_SECONDS)
    else:
        for pid in [run.pid(name) for name in blow.victims if run.life(name) != Life.FINISHED]:
            os.kill(pid, signal.SIGKILL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play sessions one after another; one line each, the output of those that failed goes to files."""
    parser = argparse.ArgumentParser(prog="chaos", description=main.__doc__)
    parser.add_argument("--from", dest="first", type=int, default=1, help="first seed")
    parser.add_argument("--count", type=int, default=20, help="number of sessions")
    parser.add_argument("--failures", type=Path, default=Path("chaos"), help="folder for what failed")
    options = parser.parse_args(arguments)
    failed = sum(not good for good in _sessions(range(options.first, options.first + options.count), options.failures))
    print(f"{options.count} sessions, {failed} failed")
    return int(bool(failed))


def _sessions(seeds: range, failures: Path) -> Iterator[bool]:
    for seed in seeds:
        blows, began = scenario(seed), time.monotonic()
        try:
            told = play(blows, seed)
        except AssertionError as error:
            failures.mkdir(parents=True, exist_ok=True)
            (failures / f"{seed}.txt").write_text(traceback.format_exc())
            told = f"FAILED: {str(error).splitlines()[0][:200] if str(error) else 'see the file'}"
        print(f"{seed:5} {time.monotonic() - began:5.1f} s  {'; '.join(map(str, blows))}: {told}", flush=True)
        yield not told.startswith("FAILED")


if __name__ == "__main__":
    sys.exit(main())
