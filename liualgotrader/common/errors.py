"""Errors, sorted by what the caller does next.

    LiuError
    ├── ConfigError          the run never starts (exit 2); the sentence names the key and the file
    ├── OutsideError         the outside world failed us: broker, data, database, disk (exit 3)
    │   ├── DataUnavailable      ask again later; the sentence names who did not answer
    │   │   ├── DataRefused          ask for something else; this very question will never be answered
    │   │   └── DataUnusable         use what is good of the answer, and ask again for the other symbols
    │   ├── BrokerUnreachable    an order's fate is unknown; ask by client order id before all else
    │   └── DatabaseUnavailable  rows wait in the journal and are written later
    ├── BrokerRefused        one order is dead; its strategy learns why
    │   └── Refusal              the simulated exchange's own (`exchange`)
    ├── BadData              one event is dropped and counted
    │   └── UnusableRows         use the other rows of the answer; of these nothing is known
    └── MoneyNeedsAPerson    nothing may be traded until somebody looks (exit 4)
        ├── RecordDiffers        the journal does not lead to the rows that are stored; rebuild from the record
        └── JournalDamaged       the journal cannot be read (`journal`)

Every message is one sentence that says what to do. Anything that is not a LiuError is a bug: it is not caught, the
process ends with the whole traceback and the supervisor starts it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liualgotrader.common.orders import UnreadRow

_SHOWN = 3  # symbols of an answer in one sentence


class LiuError(Exception):
    """Every error this package raises on purpose."""

    exit_code = 1


class ConfigError(LiuError):
    """What the user configured cannot work; nothing was started."""

    exit_code = 2


class OutsideError(LiuError):
    """Something outside this program failed."""

    exit_code = 3


class DataUnavailable(OutsideError):
    """A data provider did not answer, or refused."""


class DataRefused(DataUnavailable):
    """A data provider refuses the question itself: a symbol that does not exist, a range it does not have."""


class DataUnusable(DataUnavailable):
    """What a data provider answered about some symbols cannot be used: `bad` says why, `good` has all the others."""

    def __init__(self, bad: Mapping[str, BadData], good: Mapping[str, Any]) -> None:
        super().__init__("; ".join(str(error) for error in list(bad.values())[:_SHOWN]))
        self.bad, self.good = bad, good


class BrokerUnreachable(OutsideError):
    """The broker did not answer; an order sent may be live."""


class DatabaseUnavailable(OutsideError):
    """PostgreSQL cannot be reached."""


class BrokerRefused(LiuError):
    """The broker rejected a request. `code` is its number for the reason, 0 if it gave none."""

    def __init__(self, sentence: str, *, status: int = 0, code: int = 0) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code


class BadData(LiuError):
    """A message lacks what its kind must have."""


class UnusableRows(BadData):
    """Some rows of an answer cannot be used: `errors` say why, `bad` what they are about, `good` has all the others."""

    def __init__(self, errors: Sequence[BadData], bad: Sequence[UnreadRow], good: Sequence[Any]) -> None:
        super().__init__("; ".join(str(error) for error in errors[:_SHOWN]))
        self.errors, self.bad, self.good = errors, bad, good


class MoneyNeedsAPerson(LiuError):
    """The books and the broker disagree in a way no program should decide."""

    exit_code = 4


class RecordDiffers(MoneyNeedsAPerson):
    """The database holds rows of a batch that this journal did not lead to, or lacks rows before the next ones."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` naming the known word most like `word`, empty if there is none like it.

    >>> nearest("portfolio_valeu", ["risk", "portfolio_value"])
    '; did you mean `portfolio_value`?'
    """
    import difflib

    known = list(known)
    folded = {k.lower(): k for k in known}
    found = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.3)
    return f"; did you mean `{folded[found[0]]}`?" if found else ""
