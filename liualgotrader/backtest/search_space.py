"""What a search varies: the axes of `[optimizer.hyperparameters]`, their product, and points drawn from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import product
from math import prod
from random import Random
from typing import Any

import msgspec

from liualgotrader.analytics.sweep import Constraint
from liualgotrader.common.errors import ConfigError, nearest
from liualgotrader.common.tradeplan import ParameterKind, TradePlan, check_keys, converted

_KEYS = ("start_date", "end_date", "objective", "constraints", "hyperparameters", "parameters")
MOST_VALUES = 1_000_000  # on one axis
_AT_ONCE = 10  # points that a sampler asks for before it learns of them
_TRIES = 1000  # draws for one point that is new and meets the constraints

Point = tuple[Any, ...]
"""A value for each axis."""


class _Range(msgspec.Struct, frozen=True):
    param_type: ParameterKind
    min: float = 0.0
    max: float = 0.0
    delta: float = 0.0
    values: tuple[Any, ...] = ()


class PortfolioParameter(msgspec.Struct, frozen=True):
    """A parameter that is the id of a fresh portfolio in each backtest; dollars."""

    param_type: str
    size: float
    credit: float = 0.0


class Axis(msgspec.Struct, frozen=True):
    """One parameter with its values; without `values` it is any number from `low` to `high`."""

    strategy: str
    name: str
    values: Sequence[Any] = ()
    low: float = 0.0
    high: float = 0.0
    ordered: bool = True  # of values that lie side by side


class SearchSpace(msgspec.Struct, frozen=True):
    """The product of all axes, less the points that break a constraint between parameters."""

    axes: tuple[Axis, ...]
    portfolios: dict[str, dict[str, PortfolioParameter]] = {}
    constraints: tuple[Constraint, ...] = ()  # between parameters

    @property
    def names(self) -> tuple[str, ...]:
        """What the axes are called: by their parameter, with the strategy before it where two share a name."""
        plain = [axis.name for axis in self.axes]
        return tuple(a.name if plain.count(a.name) == 1 else f"{a.strategy}.{a.name}" for a in self.axes)

    @property
    def size(self) -> int | None:
        """How many points the whole product has; None if an axis is continuous."""
        return prod(len(axis.values) for axis in self.axes) if all(len(axis.values) for axis in self.axes) else None

    def allows(self, point: Point) -> bool:
        """Whether a point meets the constraints between parameters."""
        values = dict(zip(self.names, point, strict=True))
        return all(constraint.holds(values) for constraint in self.constraints)

    def grid(self) -> Iterator[Point]:
        """Yield all points, the values of the last axis first."""
        return (point for point in product(*(axis.values for axis in self.axes)) if self.allows(point))

    def draws(self, count: int, seed: int) -> list[Point]:
        """Return so many different points at random, fewer if there are no more."""
        random = Random(f"{seed}/draws")  # noqa: S311
        if self.size is not None and self.size <= max(4 * count, MOST_VALUES // 10):
            points = list(self.grid())
            return random.sample(points, min(count, len(points)))
        found = dict[Point, None]()
        while len(found) < count:
            drawn = (tuple(map(self._one, [random] * len(self.axes), self.axes)) for _ in range(_TRIES))
            point = next((p for p in drawn if p not in found and self.allows(p)), None)
            if point is None:
                break
            found[point] = None
        return list(found)

    @staticmethod
    def _one(random: Random, axis: Axis) -> Any:
        return random.choice(axis.values) if len(axis.values) else random.uniform(axis.low, axis.high)

    def plan_at(self, plan: TradePlan, point: Point) -> TradePlan:
        """Return the plan with the point's values in the tables of its strategies."""
        tables = {name: dict(table) for name, table in plan.strategies.items()}
        for axis, value in zip(self.axes, point, strict=True):
            tables[axis.strategy][axis.name] = value
        return msgspec.structs.replace(plan, strategies=tables)


def space_of(plan: TradePlan, constraints: Sequence[Constraint] = (), *, continuous: bool = False) -> SearchSpace:
    """Return what `[optimizer]` of the plan spans; those of the constraints that name a parameter narrow it.

    Raises:
        ConfigError: if there is nothing to vary, or a table names what is not there or means no value.
    """
    table = plan.optimizer
    check_keys(table, _KEYS, "[optimizer]")
    axes = tuple(
        _axis(strategy, name, given, continuous)
        for strategy, parameters in _tables(table, "hyperparameters", plan)
        for name, given in parameters.items()
    )
    if not axes:
        raise ConfigError(
            "the tradeplan has no parameters to vary: add a table like [optimizer.hyperparameters.strategies.Breakout] with"
            ' lookback = {param_type = "int", min = 5, max = 15}'
        )
    portfolios = {
        strategy: {name: _portfolio(strategy, name, given) for name, given in parameters.items()}
        for strategy, parameters in _tables(table, "parameters", plan)
    }
    space = SearchSpace(axes, portfolios)
    between = tuple(one for one in constraints if one.figure in space.names)
    for one in between:
        if isinstance(one.bound, str) and one.bound not in space.names:
            raise ConfigError(f"the constraint {one} names no parameter {one.bound!r}{nearest(one.bound, space.names)}")
    space = msgspec.structs.replace(space, constraints=between)
    if between and space.size is not None and next(space.grid(), None) is None:
        raise ConfigError(f"no combination meets {' and '.join(map(str, between))}: nothing is left to play")
    return space


def _tables(table: Mapping[str, Any], key: str, plan: TradePlan) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the tables of `[optimizer.<key>.strategies]` by strategy."""
    where = f"[optimizer.{key}"
    kinds = table.get(key, {})
    check_keys(kinds, ("strategies",), f"{where}] (only strategies can be varied)")
    for strategy, parameters in (kinds.get("strategies", {}) if isinstance(kinds, Mapping) else {}).items():
        if strategy not in plan.strategies:
            raise ConfigError(
                f"{where}.strategies.{strategy}] names no strategy of the tradeplan{nearest(strategy, plan.strategies)}"
            )
        if not isinstance(parameters, Mapping):
            raise ConfigError(f"{where}.strategies.{strategy}] must be a table, not {parameters!r:.40}")
        yield strategy, parameters


def _portfolio(strategy: str, name: str, given: Any) -> PortfolioParameter:
    where = f"[optimizer.parameters.strategies.{strategy}] {name}"
    check_keys(given, PortfolioParameter.__struct_fields__, where)
    found = converted(given, PortfolioParameter, f"{where}:")
    if found.param_type != "portfolio" or not found.size > 0 or found.credit < 0:
        raise ConfigError(f'{where} must be like {{param_type = "portfolio", size = 10000, credit = 0}}')
    return found


def _axis(strategy: str, name: str, given: Any, continuous: bool) -> Axis:
    where = f"[optimizer.hyperparameters.strategies.{strategy}] {name}"
    check_keys(given, _Range.__struct_fields__, where)
    found = converted(given, _Range, f"{where}:")
    if found.param_type == "choice":
        if not found.values:
            raise ConfigError(f'{where}: a choice needs values = ["…", "…"]')
        return Axis(strategy, name, found.values, ordered=False)
    if lacking := [key for key in ("min", "max") if key not in given]:
        raise ConfigError(f"{where} needs {lacking[0]}")
    if found.max < found.min:
        raise ConfigError(f"{where}: min {given['min']} lies above max {given['max']}, so there is no value")
    if found.delta < 0 or ("delta" in given and not found.delta):
        raise ConfigError(f"{where}: delta must be above 0, not {given['delta']}")
    whole = found.param_type == "int"
    if not whole and not found.delta:
        if continuous:
            return Axis(strategy, name, low=found.min, high=found.max)
        raise ConfigError(f"{where} needs delta, the step from one value to the next, or --sampler random or tpe")
    low, high, step = (Decimal(str(given.get(key, 1))) for key in ("min", "max", "delta"))
    if whole and any(value % 1 for value in (low, high, step)):
        raise ConfigError(f"{where}: min, max and delta of an int must be whole numbers")
    count = int((high - low) // step) + 1
    if count > MOST_VALUES:
        raise ConfigError(f"{where} has {count:,} values, more than {MOST_VALUES:,}: make delta larger")
    if whole:
        return Axis(strategy, name, range(int(low), int(high) + 1, int(step)))
    return Axis(strategy, name, tuple(float(low + step * n) for n in range(count)))


class Listed:
    """A sampler that knows its points beforehand; `patience` of them at a time, or all at once."""

    def __init__(self, points: Sequence[Point], patience: int = 0) -> None:
        self._points, self._each = points, patience or len(points) or 1
        self.count = len(points)
        self._next = 0

    def ask(self) -> Sequence[Point]:
        """Return the next points to play, none at the end."""
        first, self._next = self._next, self._next + self._each
        return self._points[first : self._next]

    def tell(self, points: Sequence[Point], objectives: Sequence[float | None]) -> None:
        """Hear what the points that were asked for came to."""


class Tpe:
    """A sampler that learns from what it is told: optuna's tree-structured Parzen estimator.

    It asks for a fixed number of points at a time, however many processes play them, so that the same seed searches the same.
    Source: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NIPS 24 (2011).

    Raises:
        ConfigError: if optuna is not installed.
    """

    def __init__(self, space: SearchSpace, count: int, seed: int, patience: int = 0) -> None:
        try:
            import optuna
        except ModuleNotFoundError:
            raise ConfigError("--sampler tpe needs optuna: pip install 'liualgotrader[tpe]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._study, self._failed = (
            optuna.create_study(direction="maximize", sampler=sampler),
            optuna.trial.TrialState.FAIL,
        )
        self._space, self._each, self._trials = space, patience or _AT_ONCE, dict[Point, Any]()
        self.count = count if space.size is None else min(count, space.size)
        self._asked: dict[Point, float | None] = {}

    def ask(self) -> Sequence[Point]:
        """Return the next points to play, none at the end."""
        self._trials.clear()
        tries = 0
        wanted = min(self._each, self.count - len(self._asked))
        while len(self._trials) < wanted and (tries := tries + 1) < _TRIES:
            trial = self._study.ask()
            point = tuple(self._value(trial, n, axis) for n, axis in enumerate(self._space.axes))
            if (known := self._asked.get(point)) is not None:
                self._study.tell(trial, known)
            elif point in self._asked or point in self._trials or not self._space.allows(point):
                self._study.tell(trial, state=self._failed)
            else:
                self._trials[point] = trial
        return list(self._trials)

    def tell(self, points: Sequence[Point], objectives: Sequence[float | None]) -> None:
        """Hear what the points that were asked for came to."""
        for point, objective in zip(points, objectives, strict=True):
            self._asked[point] = objective
            if objective is None:
                self._study.tell(self._trials[point], state=self._failed)
            else:
                self._study.tell(self._trials[point], objective)

    @staticmethod
    def _value(trial: Any, number: int, axis: Axis) -> Any:
        if not len(axis.values):
            return trial.suggest_float(f"{number}", axis.low, axis.high)
        if axis.ordered:
            return axis.values[trial.suggest_int(f"{number}", 0, len(axis.values) - 1)]
        return axis.values[trial.suggest_categorical(f"{number}", range(len(axis.values)))]
