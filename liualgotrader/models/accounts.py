"""The original's class for cash accounts: `accounts` and `account_transactions`."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from liualgotrader.common.money import OURS
from liualgotrader.common.trading_data import called
from liualgotrader.store.column_values import json_text
from liualgotrader.store.database import current_pool

if TYPE_CHECKING:
    import pandas as pd

CREATE = """
    INSERT INTO accounts (balance, allow_negative, credit_line, details)
    VALUES ($1::text::numeric, $2, $3::text::numeric, $4::text::jsonb)
    RETURNING account_id
"""
ACCOUNT = "SELECT balance, allow_negative, credit_line FROM accounts WHERE account_id = $1"
# The trigger `book_inserted` moves the balance. Withdrawals at once wait for each other at the account's row.
ADD_TRANSACTION = """
    WITH account AS (SELECT * FROM accounts WHERE account_id = $1 FOR UPDATE)
    INSERT INTO account_transactions (account_id, amount, tstamp, details)
    SELECT account_id, $2::text::numeric, coalesce($3::timestamptz, now()), $4::text::jsonb FROM account
    WHERE $2::text::numeric >= 0
        OR balance + $2::text::numeric >= CASE WHEN allow_negative THEN -credit_line ELSE 0 END
"""
_NOTHING_WRITTEN = "INSERT 0 0"
TRANSACTIONS = """
    SELECT tstamp, amount FROM account_transactions
    WHERE account_id = $1
    ORDER BY tstamp, transaction_id
"""
CLEAR_BALANCE = "UPDATE accounts SET balance = $2::text::numeric, modified_tstamp = now() WHERE account_id = $1"
CLEAR_TRANSACTIONS = "DELETE FROM account_transactions WHERE account_id = $1"


class Accounts:
    """Cash accounts, in US dollars. Amounts are kept exactly and read as floats, as in the original."""

    @classmethod
    async def create(
        cls,
        balance: float | Decimal,
        allow_negative: bool = False,
        credit_line: float | Decimal = 0.0,
        details: dict[str, Any] | None = None,
        pool: Any = None,
    ) -> int:
        """Make an account and return its id; one that may be negative needs a credit line."""
        account_id: int = await current_pool(pool).fetchval(
            CREATE, str(balance), allow_negative, str(credit_line), json_text(details or {})
        )
        return account_id

    @classmethod
    async def check_if_enough_balance_to_withdraw(
        cls, account_id: int, potential_withdraw: float | Decimal, pool: Any = None
    ) -> bool:
        """Return whether the balance (and the credit line, if it may be negative) is above the amount.

        Raises:
            AssertionError: if the amount is negative.
        """
        amount = Decimal(str(potential_withdraw))
        if amount < 0:
            raise AssertionError("the amount to withdraw must not be negative")
        row = await current_pool(pool).fetchrow(ACCOUNT, account_id)
        return OURS.add(row["balance"], row["credit_line"] if row["allow_negative"] else 0) > amount

    @classmethod
    async def get_balance(cls, account_id: int, pool: Any = None) -> float:
        """Return the balance."""
        row = await current_pool(pool).fetchrow(ACCOUNT, account_id)
        return float(row["balance"])

    @classmethod
    async def add_transaction(
        cls,
        account_id: int,
        amount: float | Decimal,
        tstamp: datetime | None = None,
        details: dict[str, Any] | None = None,
        pool: Any = None,
    ) -> None:
        """Write a cash movement and change the balance by it; the time is now if none is given, and UTC without a zone.

        What a strategy books in `buy_callback` or `sell_callback` for the fill of that call is not written again: the
        order gateway books every fill of a strategy with a portfolio.

        Raises:
            ValueError: if a withdrawal would leave less than nothing, or than the credit line where the account has one;
                nothing is written then. And for an amount that is no number.
            LookupError: if there is no such account.
        """
        moved, book = Decimal(str(amount)), called.get()
        if book is not None and book.is_booked(account_id, moved):
            return
        if tstamp is not None and tstamp.tzinfo is None:
            tstamp = tstamp.replace(tzinfo=UTC)
        if not moved.is_finite():
            raise ValueError(f"{amount} $ cannot be booked")
        values = account_id, str(moved), tstamp, json_text(details or {})
        if await current_pool(pool).execute(ADD_TRANSACTION, *values) != _NOTHING_WRITTEN:
            return
        row = await current_pool(pool).fetchrow(ACCOUNT, account_id)
        if row is None:
            raise LookupError(f"there is no account {account_id}")
        least = -row["credit_line"] if row["allow_negative"] else Decimal(0)
        raise ValueError(
            f"account {account_id} holds {row['balance']:.2f} $ and may go down to {least:.2f} $, so {-moved:.2f} $ cannot"
            " be withdrawn"
        )

    @classmethod
    async def get_transactions(cls, account_id: int, pool: Any = None) -> pd.DataFrame:
        """Return the movements by time: index `tstamp` (UTC), column `amount`."""
        import pandas as pd

        rows = await current_pool(pool).fetch(TRANSACTIONS, account_id)
        index = pd.DatetimeIndex([row["tstamp"] for row in rows], tz="UTC", name="tstamp")
        return pd.DataFrame({"amount": [float(row["amount"]) for row in rows]}, index=index)

    @classmethod
    async def clear_balance(cls, account_id: int, new_balance: float | Decimal = 0.0, pool: Any = None) -> None:
        """Set the balance without a transaction."""
        await current_pool(pool).execute(CLEAR_BALANCE, account_id, str(new_balance))

    @classmethod
    async def clear_account_transactions(cls, account_id: int, pool: Any = None) -> None:
        """Remove all movements and leave the balance as it is."""
        await current_pool(pool).execute(CLEAR_TRANSACTIONS, account_id)
