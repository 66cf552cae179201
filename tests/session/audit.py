"""What must be true after any session, checked against the market's own books and by plain SQL.

Nothing of the platform is used here but the fixed formats: the market's state file (JSON, integers in
1e-6 dollars and 1e-9 shares) and the tables.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg

SHARE, DOLLAR = Decimal(10**9), Decimal(10**6)
FINAL = {"filled", "canceled", "expired", "rejected", "replaced"}
CENT = Decimal("0.01")
# The pair a simulation makes for itself: SIM and 16 hex digits, and a secret of 40.
SECRET = re.compile(r"SIM[0-9A-F]{16}|\b[0-9a-f]{40}\b")


@dataclass
class Books:
    """What one side believes: orders by client id (symbol, signed filled shares), and positions."""

    orders: dict[str, tuple[str, Decimal]] = field(default_factory=dict)
    executions: int = 0
    positions: dict[str, Decimal] = field(default_factory=dict)
    cash_spent: Decimal = Decimal(0)


def market_books(state: Path) -> Books:
    """Read the simulated market's books from its state file."""
    _, _, text = state.read_bytes().partition(b"\n")
    kept = json.loads(text)
    books = Books()
    for order in kept["orders"]:
        signed = order["sign"] * Decimal(order["filled"]) / SHARE
        books.orders[order["client_order_id"]] = (order["symbol"], signed)
        books.executions += order["executions"]
        books.cash_spent += order["sign"] * Decimal(order["filled_value"]) / (SHARE * DOLLAR)
    for ledger in kept["ledgers"]:
        for symbol, holding in ledger["holdings"].items():
            if holding["quantity"]:
                books.positions[symbol] = Decimal(holding["quantity"]) / SHARE
    return books


@dataclass(frozen=True)
class Record:
    """The tables of one database, whole."""

    tables: Mapping[str, list[dict[str, Any]]]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return all rows of a table."""
        return self.tables[table]

    def of_batch(self, batch_id: str) -> Record:
        """Return what belongs to one batch, and what belongs to none."""
        runs = {row["algo_run_id"] for row in self.rows("algo_run") if row["batch_id"] == batch_id}
        orders = {row["client_order_id"] for row in self.rows("orders") if row["batch_id"] == batch_id}
        wanted = {"batch_id": {batch_id}, "algo_run_id": runs, "client_order_id": orders}

        def belongs(row: Mapping[str, Any]) -> bool:
            return next((row[key] in values for key, values in wanted.items() if key in row), True)

        return Record({name: [row for row in rows if belongs(row)] for name, rows in self.tables.items()})


@dataclass(frozen=True)
class Figures:
    """What the market did for us, and what of it the record lacks or has twice."""

    orders: int = 0  # at the broker
    fills: int = 0  # executions at the broker
    lost: int = 0  # orders of the broker without a row, or with fewer shares in the fills
    doubled: int = 0  # orders with more shares in the fills than at the broker, or that it never saw
    missing: int = 0  # steps of an order's life without a row, and closed positions without their gain

    def __add__(self, other: Figures) -> Figures:
        """Add figure by figure."""
        return Figures(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def figures(market: Books, record: Record) -> Figures:
    """Count, without judging, what market and record say."""
    booked, steps = _booked(record), defaultdict[str, set[int]](set)
    for event in record.rows("order_events"):
        steps[event["client_order_id"]].add(event["number"])
    known = {row["client_order_id"] for row in record.rows("orders")}
    holes = sum(max(numbers) - len(numbers) for numbers in steps.values()) + len(known - set(steps))
    gains = _closed_gains(record)
    told = {(row["symbol"], row["algo_run_id"]) for row in record.rows("gain_loss")}
    filled = {cid: abs(signed) for cid, (_, signed) in market.orders.items()}
    return Figures(
        orders=len(market.orders),
        fills=market.executions,
        lost=sum(cid not in known or abs(booked[cid]) < shares for cid, shares in filled.items()),
        doubled=sum(abs(shares) > filled.get(cid, Decimal(0)) for cid, shares in booked.items()),
        missing=holes + len(set(gains) - told),
    )


def _booked(record: Record) -> dict[str, Decimal]:
    """Return the signed shares of the fills, order by order."""
    booked: dict[str, Decimal] = defaultdict(Decimal)
    for fill in record.rows("new_trades"):
        booked[fill["client_order_id"]] += fill["qty"] if fill["operation"] == "buy" else -fill["qty"]
    return booked


async def _read(dsn: str) -> Record:
    connection = await asyncpg.connect(dsn)
    try:
        names = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
        tables = {
            name: [dict(row) for row in await connection.fetch(f'select * from "{name}"')]
            for name in (row["tablename"] for row in names)
        }
    finally:
        await connection.close()
    return Record(tables)


def read_record(dsn: str) -> Record:
    """Read every table of a database."""
    return asyncio.run(_read(dsn))


def audit(state: Path, dsn: str, logs: Path, *, flat: bool = True, batch: str = "") -> Record:
    """Check everything that must hold after a session, and return the record for more.

    `flat` is what a session owes that ran to its end: day trades closed, every order done with. `batch` names
    the one that the market of `state` served, where the record holds others.
    """
    market, everything = market_books(state), read_record(dsn)
    record = everything.of_batch(batch) if batch else everything
    orders_are_known_exactly_once(market, record, final=flat)
    fills_are_the_brokers_positions(market, record)
    gains_are_what_the_fills_say(record)
    every_step_of_an_order_has_its_row(record)
    every_run_has_ended(everything)
    if flat:
        day_trades_are_flat(record)
    no_secret_is_anywhere(everything, logs)
    return record


def orders_are_known_exactly_once(market: Books, record: Record, *, final: bool) -> None:
    """Every order at the broker has one row; every row that was sent is at the broker, filled alike."""
    ours = {row["client_order_id"]: row for row in record.rows("orders")}
    assert set(market.orders) <= set(ours), sorted(set(market.orders) - set(ours))
    never_sent = {("refused", False), ("rejected", False), ("rejected", True), ("canceled", False)}  # as it waited
    sent = {cid for cid, row in ours.items() if (row["state"], bool(row["broker_order_id"])) not in never_sent}
    assert sent <= set(market.orders), sorted(sent - set(market.orders))
    for cid, (symbol, filled) in market.orders.items():
        row = ours[cid]
        assert (row["symbol"], row["filled_quantity"]) == (symbol, abs(filled)), (cid, row, filled)
        assert not final or row["state"] in FINAL, (cid, row["state"])


def fills_are_the_brokers_positions(market: Books, record: Record) -> None:
    """Position by position, and order by order, the fills add up to what the broker says."""
    positions: dict[str, Decimal] = defaultdict(Decimal)
    spent = Decimal(0)
    for fill in record.rows("new_trades"):
        signed = fill["qty"] if fill["operation"] == "buy" else -fill["qty"]
        positions[fill["symbol"]] += signed
        spent += signed * fill["price"]
    assert {s: q for s, q in positions.items() if q} == market.positions
    assert {c: q for c, q in _booked(record).items() if q} == {c: q for c, (_, q) in market.orders.items() if q}
    assert spent == market.cash_spent


def _closed_gains(record: Record) -> dict[tuple[str, int], Decimal]:
    """Return what each run gained in the symbols in which it holds nothing any more."""
    cash: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    held: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    for fill in record.rows("new_trades"):
        key = (fill["symbol"], fill["algo_run_id"])
        signed = fill["qty"] if fill["operation"] == "buy" else -fill["qty"]
        cash[key] -= signed * fill["price"] + fill["trade_fee"]
        held[key] += signed
    return {key: value.quantize(CENT) for key, value in cash.items() if not held[key]}


def gains_are_what_the_fills_say(record: Record) -> None:
    """`gain_loss` is the money that came back less the money that went out, fees included, to the cent."""
    closed = _closed_gains(record)
    said = {(row["symbol"], row["algo_run_id"]): row["gain_value"].quantize(CENT) for row in record.rows("gain_loss")}
    assert {key: said.get(key) for key in closed} == closed


def every_step_of_an_order_has_its_row(record: Record) -> None:
    """The steps of an order's life are numbered from 1, and no number is left out."""
    steps: dict[str, list[int]] = defaultdict(list)
    for event in record.rows("order_events"):
        steps[event["client_order_id"]].append(event["number"])
    for row in record.rows("orders"):
        numbers = sorted(steps[row["client_order_id"]])
        assert numbers == list(range(1, len(numbers) + 1)), (row["client_order_id"], numbers)
        assert numbers, row["client_order_id"]


def every_run_has_ended(record: Record) -> None:
    """Every strategy slot has an end and a reason, and so has the batch."""
    for run in record.rows("algo_run"):
        assert run["end_time"] is not None, run
        assert run["end_reason"], run
    for batch in record.rows("batch"):
        assert batch["ended_at"] is not None, batch
        assert batch["end_reason"], batch


def day_trades_are_flat(record: Record) -> None:
    """All strategies of the session tests are day trades: nothing is left in any slot."""
    held: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
    for fill in record.rows("new_trades"):
        signed = fill["qty"] if fill["operation"] == "buy" else -fill["qty"]
        held[fill["algo_run_id"], fill["symbol"]] += signed
    assert {key: quantity for key, quantity in held.items() if quantity} == {}


def no_secret_is_anywhere(record: Record, logs: Path) -> None:
    """Neither a row nor a log line holds the session's keys."""
    for name, rows in record.tables.items():
        for row in rows:
            found = SECRET.search(" ".join(str(value) for value in row.values()))
            assert found is None, (name, row)
    for path in logs.rglob("*"):
        if path.is_file():
            found = SECRET.search(path.read_text(errors="replace"))
            assert found is None, (path, found)


def orders_digest(record: Record) -> list[tuple[Any, ...]]:
    """Return what two runs with one seed must have in common: every order, without ids that name the batch."""
    return sorted(
        (
            row["client_order_id"].split("-", 2)[2],
            row["symbol"],
            row["side"],
            row["type"],
            row["quantity"],
            row["limit_price"],
            row["state"],
            row["filled_quantity"],
            row["average_price"],
            row["decided_at"],
        )
        for row in record.rows("orders")
    )
