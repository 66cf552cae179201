"""The original's class for portfolios: `portfolio` and `portfolio_batch_ids`."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from liualgotrader.common.types import AssetType
from liualgotrader.models.accounts import CREATE as CREATE_ACCOUNT
from liualgotrader.store.analysis_tables import ASSOCIATE_PORTFOLIO, BOOK_AGAIN, PORTFOLIO_ACCOUNT
from liualgotrader.store.column_values import from_json, json_text
from liualgotrader.store.database import current_pool

if TYPE_CHECKING:
    import pandas as pd

INSERT = """
    INSERT INTO portfolio (portfolio_id, size, account_id, parameters, assets, external_account_id, broker)
    VALUES ($1, $2::text::numeric, $3, $4::text::jsonb, $5::text::asset_type, $6, $7)
"""
_PORTFOLIO = (
    "SELECT portfolio_id, size, assets::text AS assets, account_id, parameters::text AS parameters FROM portfolio"
)
BY_PORTFOLIO_ID = f"{_PORTFOLIO} WHERE portfolio_id = $1"
_OF_BATCH = "SELECT portfolio_id FROM portfolio_batch_ids WHERE batch_id = $1 ORDER BY assoc_id LIMIT 1"
BY_BATCH_ID = f"{_PORTFOLIO} WHERE portfolio_id = ({_OF_BATCH})"
IS_ASSOCIATED = """
    SELECT EXISTS (
        SELECT FROM portfolio_batch_ids WHERE portfolio_id = $1 AND ($2::text IS NULL OR batch_id = $2)
    )
"""
EXISTS = "SELECT EXISTS (SELECT FROM portfolio WHERE portfolio_id = $1)"
EXTERNAL_ACCOUNT = "SELECT external_account_id, broker FROM portfolio WHERE portfolio_id = $1"
LIST = """
    SELECT p.portfolio_id, p.tstamp, max(t.tstamp) AS last_transaction, p.size, a.balance, p.assets::text AS assets,
           p.parameters::text AS parameters
    FROM portfolio p LEFT JOIN accounts a ON a.account_id = p.account_id
        LEFT JOIN account_transactions t ON t.account_id = p.account_id
    WHERE p.expire_tstamp IS NULL
    GROUP BY p.portfolio_id, a.balance
    ORDER BY p.tstamp, p.portfolio_id
"""
RESET_BALANCE = "UPDATE accounts SET balance = $2, modified_tstamp = now() WHERE account_id = $1"
REMOVE_MOVEMENTS = "DELETE FROM account_transactions WHERE account_id = $1 RETURNING transaction_id"


@dataclass
class Portfolio:
    """Money set aside for some strategies: `portfolio_size` US dollars at the start, and the account it moves on."""

    portfolio_id: str
    portfolio_size: float
    asset_type: AssetType
    account_id: int | None
    parameters: dict[str, Any] = field(default_factory=dict)

    @classmethod
    async def load_by_batch_id(cls, batch_id: str, pool: Any = None) -> Portfolio:
        """Return the portfolio that a batch trades for.

        Raises:
            LookupError: if there is none.
        """
        return await cls._load(BY_BATCH_ID, batch_id, pool)

    @classmethod
    async def load_by_portfolio_id(cls, portfolio_id: str, pool: Any = None) -> Portfolio:
        """Return the portfolio.

        Raises:
            LookupError: if there is none.
        """
        return await cls._load(BY_PORTFOLIO_ID, portfolio_id, pool)

    @classmethod
    async def _load(cls, statement: str, key: str, pool: Any) -> Portfolio:
        row = await current_pool(pool).fetchrow(statement, key)
        if row is None:
            raise LookupError(f"there is no portfolio for {key}")
        parameters = from_json(row["parameters"]) or {}
        return cls(row["portfolio_id"], float(row["size"]), AssetType[row["assets"]], row["account_id"], parameters)

    @classmethod
    async def save(
        cls,
        portfolio_id: str,
        portfolio_size: float | Decimal,
        credit: float | Decimal,
        parameters: dict[str, Any],
        asset_type: AssetType | str = AssetType.US_EQUITIES,
        external_account_id: str | None = None,
        broker: str | None = None,
        pool: Any = None,
    ) -> None:
        """Make the portfolio and its account; `credit` above 0 lets the account go that far below zero."""
        asset = str(getattr(asset_type, "name", asset_type))
        async with current_pool(pool).acquire() as connection, connection.transaction():
            account_id = await connection.fetchval(CREATE_ACCOUNT, str(portfolio_size), credit > 0, str(credit), "{}")
            size, kept = str(portfolio_size), json_text(parameters)
            await connection.execute(INSERT, portfolio_id, size, account_id, kept, asset, external_account_id, broker)

    @classmethod
    async def associate_batch_id_to_profile(cls, portfolio_id: str, batch_id: str, pool: Any = None) -> None:
        """Write that the batch trades for the portfolio, unless it is written."""
        await current_pool(pool).execute(ASSOCIATE_PORTFOLIO, portfolio_id, batch_id)

    @classmethod
    async def is_associated(cls, portfolio_id: str, batch_id: str | None = None, pool: Any = None) -> bool:
        """Return whether the batch (or any batch) trades for the portfolio."""
        return bool(await current_pool(pool).fetchval(IS_ASSOCIATED, portfolio_id, batch_id))

    @classmethod
    async def exists(cls, portfolio_id: str, pool: Any = None) -> bool:
        """Return whether there is such a portfolio."""
        return bool(await current_pool(pool).fetchval(EXISTS, portfolio_id))

    @classmethod
    async def get_portfolio_account_balance(cls, portfolio_id: str, pool: Any = None) -> float:
        """Return the balance of the portfolio's account in US dollars.

        Raises:
            LookupError: if there is no such portfolio, or it has no account.
        """
        row = await current_pool(pool).fetchrow(PORTFOLIO_ACCOUNT, portfolio_id)
        if row is None:
            raise LookupError(f"there is no portfolio {portfolio_id} with an account")
        return float(row["balance"])

    @classmethod
    async def get_external_account_id(cls, portfolio_id: str, pool: Any = None) -> tuple[str | None, str | None]:
        """Return (account id at the broker, broker), None where they are not set."""
        row = await current_pool(pool).fetchrow(EXTERNAL_ACCOUNT, portfolio_id)
        return (None, None) if row is None else (row["external_account_id"], row["broker"])

    @classmethod
    async def recalculate(cls, portfolio_id: str, pool: Any = None) -> tuple[int, int]:
        """Book the account anew: the portfolio's size, and a movement for each execution of its batches.

        All movements that there were are removed, also deposits and what strategies wrote themselves. Sessions that
        run wait meanwhile. Returns how many movements went and how many there are now.

        Raises:
            LookupError: if there is no such portfolio, or it has no account.
        """
        portfolio = await cls.load_by_portfolio_id(portfolio_id, pool)
        if portfolio.account_id is None:
            raise LookupError(f"portfolio {portfolio_id} has no account")
        async with current_pool(pool).acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE new_trades, account_transactions IN SHARE ROW EXCLUSIVE MODE")
            removed = await connection.fetch(REMOVE_MOVEMENTS, portfolio.account_id)
            size = await connection.fetchval("SELECT size FROM portfolio WHERE portfolio_id = $1", portfolio_id)
            await connection.execute(RESET_BALANCE, portfolio.account_id, size)
            booked = await connection.fetch(BOOK_AGAIN, portfolio_id, portfolio.account_id)
        return len(removed), len(booked)

    @classmethod
    async def list_portfolios(cls, pool: Any = None) -> pd.DataFrame:
        """Return the portfolios that have not expired, one row each, oldest first."""
        import pandas as pd

        rows = await current_pool(pool).fetch(LIST)
        columns = ["portfolio_id", "tstamp", "last_transaction", "size", "balance", "assets", "parameters"]
        return pd.DataFrame([tuple(row[name] for name in columns) for row in rows], columns=columns)
