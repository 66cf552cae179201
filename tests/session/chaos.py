"""Sessions in which everything around and inside the stack fails at random instants. A seed says all of it.

From a shell, one line a session and the sums at the end: `python -m tests.session.chaos --from 1 --count 20`.
`play` audits what is left. What was played stands in `<folder>/played.jsonl`; `--resume` goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

import psutil

from liualgotrader.common.errors import OutsideError
from liualgotrader.ipc.session_page import Life
from liualgotrader.journal.reading import FILE_HEADER, record_at
from liualgotrader.simulator.faults import DROP_WEBSOCKETS, MUTES, REQUEST_FAULTS
from tests.fakes.real_data import recorded_path
from tests.session.audit import FINAL, Figures, audit, figures, market_books, read_record
from tests.session.running import DAY, Gone, TraderRun, trader

STACK = ("order_gateway", "producer", "consumer-0", "consumer-1", "scanners_runner")
STANDING = ("order_gateway", "producer", "supervisor", "postgresql", "consumer-0", "consumer-1")
JOURNAL_OWNERS = ("supervisor", "order_gateway")
MINUTES, LIQUIDATION = 20, 17  # of the window from 09:30; the plans close day trades three minutes before its end
RECORDED_DAY = date(2013, 10, 7)
RECORDED_SHARE = 0.25
NEVER_AGAIN = {*FINAL, "refused"}
_MUTE_SECONDS = 12.0  # longer than the watchdog lets a process stand
WEIGHTS = {
    "kill": 36,
    "in_flight": 10,
    "supervisor": 9,
    "database": 6,
    "database_down": 4,
    "stop": 12,
    "request": 22,
    "mute": 5,
    DROP_WEBSOCKETS: 5,
    "journal_cut": 4,
    "journal_deleted": 3,
    "market": 3,
}


@dataclass(frozen=True)
class Blow:
    """What happens at a market instant, seconds after 09:30; negative: machine seconds after the start."""

    at: float
    what: str  # a key of WEIGHTS, or the name of a fault of the market
    victims: tuple[str, ...] = ()  # who is killed or stands; at a fault: who is killed once it has befallen
    extent: float = 0.0  # how long it lasts (a mute: market seconds), how many requests, how much of the journal stays

    def __str__(self) -> str:
        when = f"start+{-self.at:.1f}" if self.at < 0 else _clock(self.at)
        extent = f"{self.extent:.2g}" if self.extent else ""
        return " ".join(word for word in (when, self.what, extent, *self.victims) if word)


@dataclass(frozen=True)
class Scenario:
    """A session: on a recorded day or a generated one, and what befalls it, in order."""

    blows: tuple[Blow, ...]
    recorded: bool = False

    def __str__(self) -> str:
        return ("recorded; " if self.recorded else "") + "; ".join(map(str, self.blows))


def scenario(seed: int) -> Scenario:
    """Return what a seed stands for: one to four blows, many of them at the start, at the liquidation and at the end."""
    chance = random.Random(seed)
    blows = [_blow(chance) for _ in range(chance.randint(1, 4))]
    blows.sort(key=lambda blow: (blow.at >= 0, abs(blow.at)))
    last = next((place for place, blow in enumerate(blows) if blow.what == "market"), len(blows))
    return Scenario(tuple(blows[: last + 1]), chance.random() < RECORDED_SHARE)


def _blow(chance: random.Random) -> Blow:
    at = _instant(chance)
    [what] = chance.choices([*WEIGHTS], [*WEIGHTS.values()])
    if what == "kill":
        return Blow(at, what, tuple(chance.sample(STACK, chance.choice((1, 1, 1, 2, 2, 3)))))
    if what == "stop":
        name, seconds = chance.choice(STANDING), chance.uniform(0.1, 3.0)
        is_found = name in STACK and chance.random() < 0.15
        return Blow(at, what, (name,), _MUTE_SECONDS if is_found else seconds)
    if what == "database_down":
        return Blow(at, what, extent=chance.uniform(0.5, 4.0))
    if what == "request":
        name = chance.choice([*REQUEST_FAULTS])
        most = 1 if "never" in name else 3
        victims = chance.choice(((), (), ("order_gateway",), ("supervisor",), ("consumer-0", "order_gateway")))
        return Blow(at, name, victims, chance.randint(1, most))
    if what == "mute":
        return Blow(at, chance.choice(MUTES), extent=chance.choice((5.0, 30.0, 90.0)))
    if what.startswith("journal"):
        kept = chance.choice((0.0, 0.5, 0.95, chance.random())) if what == "journal_cut" else 0.0
        return Blow(at, what, (chance.choice(JOURNAL_OWNERS),), kept)
    return Blow(at, what)


def _instant(chance: random.Random) -> float:
    kind = chance.random()
    if kind < 0.15:
        return -chance.uniform(0.0, 3.0)  # while the processes start
    if kind < 0.27:
        return LIQUIDATION * 60 + chance.uniform(-2.0, 6.0)  # while day trades are being closed
    if kind < 0.37:
        return chance.uniform(LIQUIDATION * 60, MINUTES * 60 + 50)  # after that, at the close and after it
    return chance.uniform(0.0, MINUTES * 60)


@dataclass
class Played:
    """How a session went: what it was dealt by kind, and the figures of its audit."""

    dealt: Counter[str] = field(default_factory=Counter)
    figures: Figures = field(default_factory=Figures)
    output: str = ""


def play(what: Scenario, seed: int, played: Played | None = None) -> Played:
    """Run the session and audit it; `played` is filled even if something does not hold.

    Raises:
        AssertionError: if anything does not hold that must hold.
    """
    played = played or Played()
    folder = recorded_path("lean")
    recorded = what.recorded and folder.exists()
    window = ["--from", "09:30", "--to", f"09:{30 + MINUTES}", "--seed", str(seed)]
    tape = ["--data", str(folder), "--date", RECORDED_DAY.isoformat()] if recorded else []
    with trader(*window, *tape, plan="recorded.toml" if recorded else "quick.toml") as run:
        try:
            run.start()
            for blow in what.blows:
                played.dealt.update(_deal(run, blow, RECORDED_DAY if recorded else DAY))
            _end(run, played)
        finally:
            played.output = run.output
    return played


def _end(run: TraderRun, played: Played) -> None:
    status = run.ended()
    if played.dealt["market"]:
        if "the session ends (market close)" not in run.output:
            _market_is_gone(run, played)
        return  # else it was killed when nobody needed it any more, and its books died with it
    state, batch = run.state, ""
    if status == OutsideError.exit_code and "wait in the journal: see that PostgreSQL runs" in run.output:
        with run.database() as dsn:  # it was killed when there was no time left to start it again
            [row] = read_record(dsn).rows("batch")
        batch = row["batch_id"]
        run.forget_page()
        status = run.start().ended()
    assert status == 0, f"ended with {status}"
    _check(run, played, state, batch)


def _check(run: TraderRun, played: Played, state: Path, batch: str = "") -> None:
    assert "Traceback" not in run.output, run.output
    run.nothing_is_left()
    with run.database() as dsn:
        market, record = market_books(state), read_record(dsn)
        played.figures = figures(market, record.of_batch(batch) if batch else record)
        record = audit(state, dsn, run.home / "logs", batch=batch)
    assert batch or len(record.rows("batch")) == 1


def _market_is_gone(run: TraderRun, played: Played) -> None:
    """The session ends with one sentence and 3; the next says what was left, and is whole on a market of its own."""
    assert run.ended() == OutsideError.exit_code, run.output
    assert (
        len(re.findall(r"^trader: the simulated market (is gone, so|could not start: it was)", run.output, re.M)) == 1
    )
    with run.database() as dsn:
        before = read_record(dsn)
    run.forget_page()
    assert run.start().ended() == 0, run.output
    with run.database() as dsn:
        after = read_record(dsn)
    [gone] = {row["batch_id"] for row in before.rows("batch")}
    [fresh] = {row["batch_id"] for row in after.rows("batch")} - {gone}
    left = {row["client_order_id"] for row in before.rows("orders") if row["state"] not in NEVER_AGAIN}
    assert all(cid in run.output for cid in left), (left, run.output)
    states = {row["client_order_id"]: row["state"] for row in after.of_batch(gone).rows("orders")}
    assert set(states.values()) <= NEVER_AGAIN, states
    _check(run, played, run.state, fresh)


def _deal(run: TraderRun, blow: Blow, day: date) -> Sequence[str]:
    """Deal a blow and return what it counts as: nothing if the session was over before it came to that."""
    try:
        if blow.at >= 0:
            run.wait_for_market(_clock(blow.at), day=day)
        elif blow.what != "supervisor":  # which may die before there is anything else
            run.page()
        if blow.at < 0:
            time.sleep(-blow.at)
        return _strike(run, blow, day)
    except (Gone, ProcessLookupError, psutil.NoSuchProcess):
        return ()


def _clock(at: float) -> str:
    return f"09:{30 + int(at) // 60}:{int(at) % 60:02d}"


def _strike(run: TraderRun, blow: Blow, day: date) -> Sequence[str]:
    """Do what the blow says, and return what it counts as."""
    if blow.what in ("supervisor", "kill"):
        return _kill(run, blow.victims or ("supervisor",))
    if blow.what == "in_flight":
        run.wait_for_intents()
        _kill(run, ("order_gateway",))
    elif blow.what == "database":
        run.kill_postmaster()
    elif blow.what == "database_down":
        run.keep_database_down(blow.extent)
    elif blow.what == "stop":
        run.stop_for(blow.victims[0], blow.extent)
    elif blow.what == "market":
        run.kill_market()
    elif blow.what.startswith("journal"):
        _damage_journal(run, blow)
    elif blow.what in MUTES:
        run.control(f"faults/{blow.what}", {"on": True})
        run.wait_for_market(_clock(max(blow.at, 0.0) + blow.extent), day=day)
        run.control(f"faults/{blow.what}", {"on": False})
    else:
        run.control(f"faults/{blow.what}", {"count": int(blow.extent)})
        while blow.victims and run.control("status")["faults"]:
            run.require_market_goes_on()
        return (blow.what, *_kill(run, blow.victims))
    return (" ".join((blow.what, *blow.victims)),)


def _kill(run: TraderRun, victims: Iterable[str]) -> list[str]:
    """Kill what has not ended by itself; a supervisor is started again, for nobody else does that."""
    killed = []
    for name in victims:
        if name == "supervisor":
            run.kill_supervisor()
            run.start()
        elif run.life(name) == Life.FINISHED:
            continue
        else:
            os.kill(run.living_pid(name), signal.SIGKILL)
        killed.append(f"kill {name}")
    return killed


def _damage_journal(run: TraderRun, blow: Blow) -> None:
    """Kill the supervisor or the gateway and take the end of the money journal, or all of it, before the next starts."""
    [owner], journal = blow.victims, run.money_journal
    if owner == "supervisor":
        run.kill_supervisor()
        _cut(journal, blow)
        run.start()
        return
    run.living_pid(owner)
    run.process.send_signal(signal.SIGSTOP)  # it would start the next gateway at once
    try:
        run.wait_for_exit(run.kill(owner), "the killed order gateway")
        _cut(journal, blow)
    finally:
        run.process.send_signal(signal.SIGCONT)


def _cut(journal: Path, blow: Blow) -> None:
    if blow.what == "journal_deleted":
        journal.unlink()
        return
    data = memoryview(journal.read_bytes())
    ends = [len(FILE_HEADER)]
    while (found := record_at(data, ends[-1])) is not None:
        ends.append(found[1])
    os.truncate(journal, ends[int(blow.extent * (len(ends) - 1))])


# --- the command


def main(arguments: Sequence[str] | None = None) -> int:
    """Play sessions; one line each and the sums as JSON, the output of those that failed goes to files."""
    parser = argparse.ArgumentParser(prog="chaos", description=main.__doc__)
    parser.add_argument("--from", dest="first", type=int, default=1, help="first seed")
    parser.add_argument("--count", type=int, default=20, help="number of sessions")
    parser.add_argument("--workers", type=int, default=1, help="sessions side by side")
    parser.add_argument("--folder", type=Path, default=Path("chaos"), help="where results and failures are written")
    parser.add_argument("--resume", action="store_true", help="leave out the seeds that were played before")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    kept = options.folder / "played.jsonl"
    if not options.resume:
        kept.unlink(missing_ok=True)
    lines = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    seeds = range(options.first, options.first + options.count)
    done = {line["seed"]: line for line in lines if line["seed"] in seeds}
    with ThreadPoolExecutor(options.workers) as pool:
        for told in pool.map(lambda seed: _session(seed, options.folder), [s for s in seeds if s not in done]):
            done[told["seed"]] = told
            with kept.open("a") as file:
                file.write(json.dumps(told) + "\n")
    sums = _sums(done.values())
    print(json.dumps(sums), flush=True)
    return int(any(sums[name] for name in ("failed", "lost", "doubled", "missing")))


def _session(seed: int, folder: Path) -> dict[str, object]:
    what, played, began, failure = scenario(seed), Played(), time.monotonic(), ""
    try:
        play(what, seed, played)
    except Exception as error:
        (folder / f"{seed}.txt").write_text(f"{what}\n{traceback.format_exc()}\n{played.output}")
        failure = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    seconds, told = time.monotonic() - began, played.figures
    line = f"{seed:5} {seconds:5.1f} s  {what}: {sum(played.dealt.values())} dealt, {told.orders} orders, {told.fills} fills"
    if told.lost or told.doubled or told.missing:
        line += f", LOST {told.lost}, DOUBLED {told.doubled}, MISSING {told.missing}"
    print(line + (f": FAILED {failure}" if failure else ""), flush=True)
    return {"seed": seed, "seconds": round(seconds, 1), "blows": played.dealt, "failure": failure} | asdict(told)


def _sums(sessions: Iterable[dict[str, object]]) -> dict[str, object]:
    """Return the run as a whole: sessions, blows by kind, and the audits' figures."""
    played = list(sessions)
    blows: Counter[str] = Counter()
    total = Figures()
    for told in played:
        blows.update(told["blows"])  # type: ignore[call-overload]
        total += Figures(**{name: told[name] for name in asdict(total)})  # type: ignore[arg-type]
    return {
        "sessions": len(played),
        "failed": [told["seed"] for told in played if told["failure"]],
        "blows": sum(blows.values()),
        "by_kind": dict(sorted(blows.items())),
    } | asdict(total)


if __name__ == "__main__":
    sys.exit(main())
