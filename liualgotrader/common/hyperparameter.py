"""The original's address of parameters that a search varies; for user code only, ours are `[optimizer.hyperparameters]`."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from liualgotrader.common import config
from liualgotrader.models.connection import create_db_connection
from liualgotrader.models.portfolio import Portfolio
from liualgotrader.store.database import set_pool


class Parameter:
    """A named parameter: iterated it gives (name, value) from `min` to `max`, both included; one of a portfolio is called.

    `param_type` is `int` (steps of 1), `float` (steps of `delta`) or `"portfolio"` (with `size` and `credit`).
    """

    def __init__(
        self, name: str, param_type: type | str, min: float | None = None, max: float | None = None, **kwargs: Any
    ) -> None:
        self.name, self.param_type = name, param_type
        self.initial_value, self.last_value = min, max
        self.value: Any = None
        for key, value in kwargs.items():
            if not hasattr(self, key):
                setattr(self, key, value)
        self._values: Iterator[Any] | None = None

    def __repr__(self) -> str:
        return self.name

    def __iter__(self) -> Parameter:
        self._values = self._all()
        return self

    def __next__(self) -> tuple[str, Any]:
        if self._values is None:
            self._values = self._all()
        self.value = next(self._values)
        return self.name, self.value

    def __call__(self) -> tuple[str, str]:
        """Make a portfolio of `size` dollars with a line of `credit`, and return the name and its id.

        Raises:
            NotImplementedError: if it is no parameter of a portfolio.
        """
        if self.param_type != "portfolio":
            raise NotImplementedError(f"{self.name} is a parameter of type {self.param_type}: iterate it")
        self.value = str(uuid.uuid4())
        asyncio.run(self._make_portfolio(self.value))
        return self.name, self.value

    async def _make_portfolio(self, portfolio_id: str) -> None:
        before = config.db_conn_pool  # of another loop
        await create_db_connection()
        pool = config.db_conn_pool
        size, credit = vars(self)["size"], vars(self).get("credit", 0)
        try:
            await Portfolio.save(portfolio_id, size, credit, {}, pool=pool)
        finally:
            await pool.close()
            set_pool(before)
            config.show_pool(before)

    def _all(self) -> Iterator[Any]:
        kind = self.param_type if isinstance(self.param_type, str) else self.param_type.__name__
        if kind not in ("int", "float"):
            raise NotImplementedError(f"{self.name} is a parameter of type {kind}, which has no values to go through")
        if self.initial_value is None or self.last_value is None:
            raise AttributeError(f"{self.name} needs `min` and `max`")
        if kind == "int":
            yield from range(int(self.initial_value), int(self.last_value) + 1)
            return
        step = Decimal(str(vars(self).get("delta", 0)))
        if step <= 0:
            raise AttributeError(f"{self.name} needs `delta`, a step above 0")
        value, last = Decimal(str(self.initial_value)), Decimal(str(self.last_value))
        while value <= last:
            yield float(value)
            value += step


class Hyperparameters:
    """All combinations of some parameters, each a tuple of (name, value); the last parameter changes fastest."""

    def __init__(self, hyperparameters: Sequence[Parameter]) -> None:
        self.hyperparameters = hyperparameters

    def __iter__(self) -> Iterator[tuple[tuple[str, Any], ...]]:
        yield from itertools.product(*self.hyperparameters)
