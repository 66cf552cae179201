"""What a tradeplan says that can be traded, but will surprise who wrote it. Pure: a plan and its hours in, sentences out."""

from __future__ import annotations

from collections.abc import Iterable

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.tradeplan import BUILT_IN_SCANNER, TradePlan, nearest
from liualgotrader.supervisor.plan_inspection import PlanFacts, StrategyFacts

MOST_MARGIN = 4.0  # times equity that a US broker lends a day trader (FINRA rule 4210)


def doubts_about(plan: TradePlan, found: PlanFacts) -> list[str]:
    """Return a sentence for each doubt that does not depend on the session's hours; a strategy that cannot be made is none."""
    said = [f"strategy {name}: {note}, or a replay of the session may differ" for note, name in _notes(found).items()]
    said += [doubt for strategy in found.strategies for doubt in strategy.doubts]
    said += [doubt for scanner in found.scanners for doubt in scanner.doubts]
    return [*said, *_without_picks(plan, found), *_early_scanner(plan), *_wide_limits(plan)]


def doubts_about_hours(plan: TradePlan, found: PlanFacts, hours: Hours) -> list[str]:
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
    return [*_late_windows(plan, found, minutes), *_late_scanner(plan, minutes)]


def _wide_limits(plan: TradePlan) -> Iterable[str]:
    """A fraction of equity above what any margin account lends was meant as a percentage."""
    for name in plan.limits.__struct_fields__:
        value = getattr(plan.limits, name)
        if name.endswith("_fraction") and value > MOST_MARGIN:
            yield f"[limits] `{name}` is {value:g}, {value:.0%} of equity: {value:g} % is written {value / 100:g}"


def _notes(found: PlanFacts) -> dict[str, str]:
    """Return the name of the first strategy in whose file a place stands, by what is said of it."""
    return {note: s.name for s in reversed(found.strategies) for note in s.notes}


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
            yield f"scanner {scanner.name} picks for '{scanner.target}', which is no strategy of the plan{hint}"
    for name in called_for_symbols:
        if "" not in targets and name not in targets:
            yield f"no scanner picks for strategy {name}: every one has another `target_strategy_name`"


def _early_scanner(plan: TradePlan) -> Iterable[str]:
    values = plan.scanners.get(BUILT_IN_SCANNER, {})
    if "filename" not in values and not values.get("recurrence") and values.get("from_market_open") == 0:
        yield (
            "the momentum scanner runs once, at the open, when hardly a symbol has an opening price yet: give it a"
            " `recurrence`, or a later `from_market_open`"
        )


def _late_windows(plan: TradePlan, found: PlanFacts, minutes: float) -> Iterable[str]:
    for facts in found.strategies:
        windows = plan.schedule(facts.name)
        end = minutes - (plan.market_liquidation_end_time_minutes if _day_trade(facts) else 0)
        if windows and min(w.start for w in windows) >= end:
            first = min(w.start for w in windows)
            yield (
                f"strategy {facts.name} will open nothing: its first window begins {first:g} minutes after the open, and"
                f" entries end after {end:g} minutes of this session"
            )


def _late_scanner(plan: TradePlan, minutes: float) -> Iterable[str]:
    values = plan.scanners.get(BUILT_IN_SCANNER, {})
    if "filename" not in values and values.get("from_market_open", 0) >= minutes:
        yield (
            f"the momentum scanner will pick nothing: it begins {values['from_market_open']:g} minutes after the open"
            f" (from_market_open), and this session lasts {minutes:g}"
        )


def _day_trade(facts: StrategyFacts) -> bool:
    return facts.day_trade is not False


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
