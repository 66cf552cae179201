"""Where orders go: the address and the account are checked in the one process that sends them, whatever it was told."""

from __future__ import annotations

from liualgotrader.common.endpoint_address import is_loopback
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.session_plan import LIVE_URL, PAPER_URL, SessionPlan, updates_address


def check_endpoints(plan: SessionPlan) -> None:
    """Return if orders go to this machine, to exactly the paper address, or, armed or refused entries, to the live one.

    Raises:
        ConfigError: naming the address that is none of these, or real money in a session that is not about it.
    """
    endpoints, arming = plan.endpoints, plan.arming
    trading = endpoints.trading_url
    if not (endpoints.is_live or trading == PAPER_URL or is_loopback(trading)):
        raise ConfigError(
            f"orders would go to {trading!r}: set APCA_API_BASE_URL to {PAPER_URL}, or for real money to {LIVE_URL}."
        )
    if endpoints.updates_url != updates_address(trading):
        raise ConfigError(f"orders would go to {trading}, but their news would come from {endpoints.updates_url!r}.")
    if endpoints.is_live != (plan.environment == "PROD"):
        raise ConfigError(f"orders of a {plan.environment} session would go to {trading}.")
    if endpoints.is_live and not (arming is not None and (arming.account or arming.refusal)):
        raise ConfigError(f"orders would go to {trading}, but real money is not armed: start with `trader --live`.")


def check_account(plan: SessionPlan, account_number: str) -> None:
    """Return if the account is the one that real money was armed for.

    Raises:
        ConfigError: if it is another.
    """
    arming = plan.arming
    if arming is not None and arming.account and account_number[-4:] != arming.account:
        raise ConfigError(
            f"real money is armed for account …{arming.account}, but the keys open …{account_number[-4:]}."
        )


def other_account(batch_id: str, account_number: str) -> ConfigError:
    """Return the error that says that a batch goes on in no other account than the one it began in."""
    return ConfigError(
        f"batch {batch_id} has traded another account than …{account_number[-4:]}, which the keys open: set the keys of"
        " its own account, or begin a new batch with `trader --new`."
    )
