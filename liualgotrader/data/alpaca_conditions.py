"""What a vendor's sale conditions and status codes mean for us.

A print counts for the last price, for high and low, and for volume only if every one of its conditions
allows that. Conditions that update the last price only under circumstances that a subscriber cannot see
(first print of the day, sold out of sequence) do not update it here.

Source: the trade-condition matrices that the plans publish: CTA Plan, "CTS Multicast Output Specification"
(tapes A and B), and UTP Plan, "UTP Data Feed Services Specification", sale condition matrix (tape C).
"""

from __future__ import annotations

from collections.abc import Mapping

from liualgotrader.common.events import Counts

_ALL = Counts.ALL
_NOT_LAST = Counts.HIGH_LOW | Counts.VOLUME
_VOLUME = Counts.VOLUME
_NOTHING = Counts.NOTHING

_BOTH: Mapping[str, Counts] = {
    "": _ALL,
    " ": _ALL,  # regular sale (CTA)
    "@": _ALL,  # regular sale (UTP)
    "A": _ALL,  # acquisition
    "C": _VOLUME,  # cash sale
    "D": _ALL,  # distribution
    "E": _ALL,  # automatic execution
    "F": _ALL,  # intermarket sweep
    "G": _NOT_LAST,  # bunched, sold out of sequence
    "H": _VOLUME,  # price variation
    "I": _VOLUME,  # odd lot
    "K": _ALL,  # rule 127 or 155
    "L": _NOT_LAST,  # sold last, reported late
    "M": _NOTHING,  # market centre's official close: a price, not a sale
    "N": _VOLUME,  # next day
    "O": _ALL,  # opening print
    "P": _NOT_LAST,  # prior reference price
    "Q": _NOTHING,  # market centre's official open
    "R": _VOLUME,  # seller
    "S": _ALL,  # split
    "T": _VOLUME,  # outside regular hours
    "U": _VOLUME,  # outside regular hours, sold out of sequence
    "V": _VOLUME,  # contingent
    "W": _VOLUME,  # average price
    "X": _ALL,  # cross
    "Y": _ALL,  # yellow flag
    "Z": _NOT_LAST,  # sold out of sequence
    "1": _ALL,  # stopped stock
    "2": _NOT_LAST,  # stopped stock, sold last
    "3": _NOT_LAST,  # stopped stock, sold out of sequence
    "4": _NOT_LAST,  # derivatively priced
    "5": _ALL,  # re-opening print
    "6": _ALL,  # closing print
    "7": _VOLUME,  # qualified contingent
    "8": _ALL,  # reserved
    "9": Counts.LAST | Counts.HIGH_LOW,  # corrected consolidated close: its shares were counted before
}
_CTA: Mapping[str, Counts] = {**_BOTH, "B": _VOLUME}  # average price
_UTP: Mapping[str, Counts] = {**_BOTH, "B": _ALL}  # bunched

HALTS = frozenset({"2", "H", "P"})  # trading halt (CTA), trading halt and volatility pause (UTP)
RESUMPTIONS = frozenset({"3", "T"})  # every other code informs and leaves the halt as it is


def counts_of(conditions: tuple[str, ...], tape: str) -> int:
    """Return what a print with these conditions counts for, as `Counts`; an unknown condition allows volume only."""
    table = _UTP if tape == "C" else _CTA
    flags = _ALL
    for condition in conditions:
        flags &= table.get(condition, _VOLUME)
    return int(flags)
