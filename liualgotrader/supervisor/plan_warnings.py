"""What a tradeplan says that can be traded, but will surprise who wrote it. Pure: a plan and its hours in, sentences out."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.tradeplan import BUILT_IN_SCANNER, TradePlan, nearest
from liualgotrader.supervisor.plan_inspection import PlanFacts

MOST_MARGIN = 4.0  # times equity that a US broker lends a day trader (FINRA rule 4210)


def warnings_about(plan: TradePlan, found: PlanFacts) -> list[str]:
    """Return a sentence for each doubt that does not depend on the session's hours; a strategy that cannot be made is none."""
    first = {note: s.name for s in reversed(found.strategies) for note in s.notes}  # in whose file a place stands
    said = [f"strategy {name}: {note}, or a replay of the session may differ" for note, name in first.items()]
    said += [doubt for strategy in found.strategies for doubt in strategy.doubts]
    said += [doubt for scanner in found.scanners for doubt in scanner.doubts]
    said += _without_picks(plan, found)
    momentum = plan.scanners.get(BUILT_IN_SCANNER, {})
    if "filename" not in momentum and not momentum.get("recurrence") and momentum.get("from_market_open") == 0:
        said.append(
            "the momentum scanner runs once, at the open, when hardly a symbol has an opening price yet: give it a"
            " `recurrence`, or a later `from_market_open`"
        )
    for name, value in msgspec.structs.asdict(plan.limits).items():
        if name.endswith("_fraction") and value > MOST_MARGIN:  # a percentage was meant
            said.append(
                f"[limits] `{name}` is {value:g}, {value:.0%} of equity: {value:g} % is written {value / 100:g}"
            )
    return said


def warnings_about_hours(plan: TradePlan, found: PlanFacts, hours: Hours) -> list[str]:
    """Return a sentence for each rule of the plan that leaves no time to trade between the session's open and close."""
    minutes = (hours.closes_at - hours.opens_at) / MINUTE
    if hours.bypass:
        return []
    before = plan.market_liquidation_end_time_minutes
    day_traders = [s.name for s in found.strategies if s.day_trade is not False and not s.broken]
    if day_traders and before >= minutes:
        return [
            f"the session lasts {minutes:g} minutes, and DAY_TRADE positions are closed {before} minutes before its end"
            f" (market_liquidation_end_time_minutes), so {_listed(day_traders)} will open nothing"
        ]
    said: list[str] = []
    for facts in found.strategies:
        first = min((window.start for window in plan.schedule(facts.name)), default=float("-inf"))
        end = minutes if facts.day_trade is False else minutes - before
        if first >= end:
            said.append(
                f"strategy {facts.name} will open nothing: its first window begins {first:g} minutes after the open, and"
                f" entries end after {end:g} minutes of this session"
            )
    momentum = plan.scanners.get(BUILT_IN_SCANNER, {})
    if "filename" not in momentum and momentum.get("from_market_open", 0) >= minutes:
        said.append(
            f"the momentum scanner will pick nothing: it begins {momentum['from_market_open']:g} minutes after the open"
            f" (from_market_open), and this session lasts {minutes:g}"
        )
    return said


def _without_picks(plan: TradePlan, found: PlanFacts) -> Iterable[str]:
    called_for_symbols = [s.name for s in found.strategies if not s.run_all and not s.broken]
    if not plan.scanners:
        if called_for_symbols:
            yield (
                f"no scanner is configured, so nothing is picked: {_listed(called_for_symbols)} will be called for"
                " positions from before only; add a [scanners.<name>] table"
            )
        return
    targets = {s.target for s in found.scanners}
    names = [s.name for s in found.strategies]
    for scanner in found.scanners:
        if scanner.target and names and scanner.target not in names:
            hint = nearest(scanner.target, names)
            yield f"scanner {scanner.name} picks for '{scanner.target}', which is not a strategy of the plan{hint}"
    for name in called_for_symbols:
        if "" not in targets and name not in targets:
            yield f"no scanner picks for strategy {name}: every one has another `target_strategy_name`"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
