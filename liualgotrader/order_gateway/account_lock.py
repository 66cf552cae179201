"""Checks the address and the account that orders go to, and holds the account for one gateway.

Lock and kill switch are files of the data folder whose names carry a digest, never the account's number. The database's
lease guards the account against other machines; the lock file also holds while the database is away.
"""

from __future__ import annotations

import fcntl
import os
from hashlib import sha256
from pathlib import Path

from liualgotrader.common.endpoint_address import is_loopback
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.files import replace_file
from liualgotrader.common.session_plan import (
    BROKER_SANDBOX_URL,
    LIVE_URL,
    PAPER_URL,
    Endpoints,
    SessionPlan,
    updates_address,
)

_DIGITS = 16
_KILLED = "the kill switch is on"


class AccountLock:
    """Holds the account until `close`, or until this process ends.

    Raises:
        OutsideError: if another gateway on this machine holds it.
    """

    def __init__(self, data_folder: Path, account_number: str) -> None:
        digest = sha256(f"liu-account:{account_number}".encode()).hexdigest()[:_DIGITS]
        folder = data_folder / "run"
        folder.mkdir(parents=True, exist_ok=True)
        self._kill_file = folder / f"kill-{digest}"
        self._path = folder / f"account-{digest}.lock"
        self._file = -1
        while self._file < 0:  # a file whose last holder has removed it meanwhile locks nothing
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                holder = os.pread(file, _DIGITS, 0).decode()
                os.close(file)
                raise OutsideError(
                    f"Another order gateway trades for this account{f' (process {holder})' if holder else ''}:"
                    " end it, then start again."
                ) from e
            if self._path.exists() and os.path.samestat(os.fstat(file), self._path.stat()):
                self._file = file
            else:
                os.close(file)
        os.truncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    @property
    def killed(self) -> str:
        """Why the kill switch is on, empty while it is off: the file's existence counts, whatever it holds."""
        try:
            return self._kill_file.read_text(encoding="utf-8") or _KILLED
        except FileNotFoundError:
            return ""

    @property
    def killed_at(self) -> int:
        """Since when the kill switch is on, ns UTC of this machine's clock; 0 while it is off."""
        try:
            return self._kill_file.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def kill(self, reason: str) -> None:
        """Put the kill switch on, for every session of this account until `resume`; on disk when this returns.

        Raises:
            OSError: if the disk does not take it; one that was on before stays on.
        """
        replace_file(self._kill_file, (reason or _KILLED).encode(), durable=True)

    def resume(self) -> None:
        """Take the kill switch off."""
        self._kill_file.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the account."""
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1


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
    if plan.sub_account:
        check_sub_account(endpoints)
    if endpoints.updates_url != updates_address(trading):
        raise ConfigError(f"orders would go to {trading}, but their news would come from {endpoints.updates_url!r}.")
    if endpoints.is_live != (plan.environment == "PROD"):
        raise ConfigError(f"orders of a {plan.environment} session would go to {trading}.")
    if endpoints.is_live and not (arming is not None and (arming.account or arming.refusal)):
        raise ConfigError(f"orders would go to {trading}, but real money is not armed: start with `trader --live`.")


def check_sub_account(endpoints: Endpoints) -> None:
    """Return if orders of sub-accounts go to the sandbox of the Broker API, or to this machine, and not to real money.

    Raises:
        ConfigError: if they do not.
    """
    if endpoints.is_live:
        raise ConfigError(
            "a portfolio names a sub-account, and sub-accounts are not traded with real money: take external_account_id out"
            f" of the portfolio, or set APCA_API_BASE_URL to {PAPER_URL}"
        )
    if endpoints.broker_url != BROKER_SANDBOX_URL and not is_loopback(endpoints.broker_url):
        raise ConfigError(
            f"orders of sub-accounts would go to {endpoints.broker_url!r}: set ALPACA_BROKER_API_BASEURL to"
            f" {BROKER_SANDBOX_URL}"
        )


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
    """Return the error for a batch that would go on in another account than its own."""
    return ConfigError(
        f"batch {batch_id} has traded another account than …{account_number[-4:]}, which the keys open: set the keys of"
        " its own account, or begin a new batch with `trader --new`."
    )
