"""What a vendor's sale conditions and status codes mean for us.

A print counts for the last price, for high and low, and for volume only if every one of its conditions
allows that. Conditions that update the last price only under circumstances that a subscriber cannot see
(first print of the day, sold out of sequence) do not update it here.

* All: regular sale (blank on CTA, @ on UTP), A acquisition, D distribution, E automatic execution, F intermarket
  sweep, K rule 127 or 155, O opening print, S split, X cross, Y yellow flag, 1 stopped stock, 5 re-opening print,
  6 closing print, 8 reserved
* High, low and volume: G bunched and sold out of sequence, L sold last and reported late, P prior reference price,
  Z sold out of sequence, 2 and 3 stopped stock (sold last, sold out of sequence), 4 derivatively priced
* Volume: C cash sale, H price variation, I odd lot, N next day, R seller, T outside regular hours, U the same and
  sold out of sequence, V contingent, W average price, 7 qualified contingent
* Nothing: M and Q, the market centre's official close and open, which are prices and no sales
* 9, the corrected consolidated close, does not count for volume: its shares were counted before

Source: the trade-condition matrices that the plans publish: CTA Plan, "CTS Multicast Output Specification"
(tapes A and B), and UTP Plan, "UTP Data Feed Services Specification", sale condition matrix (tape C).
"""

from __future__ import annotations

from collections.abc import Mapping

from liualgotrader.common.events import Counts

_BOTH: Mapping[str, Counts] = {
    "": Counts.ALL,
    **dict.fromkeys(" @ADEFKOSXY1568", Counts.ALL),
    **dict.fromkeys("GLPZ234", Counts.HIGH_LOW | Counts.VOLUME),
    **dict.fromkeys("CHINRTUVW7", Counts.VOLUME),
    **dict.fromkeys("MQ", Counts.NOTHING),
    "9": Counts.LAST | Counts.HIGH_LOW,
}
_CTA: Mapping[str, Counts] = {**_BOTH, "B": Counts.VOLUME}  # average price
_UTP: Mapping[str, Counts] = {**_BOTH, "B": Counts.ALL}  # bunched

HALTS = frozenset({"2", "H", "P"})  # trading halt (CTA), trading halt and volatility pause (UTP)
RESUMPTIONS = frozenset({"3", "T"})  # every other code informs and leaves the halt as it is


def counts_of(conditions: tuple[str, ...], tape: str) -> int:
    """Return what a print with these conditions counts for, as `Counts`; an unknown condition allows volume only."""
    table = _UTP if tape == "C" else _CTA
    flags = Counts.ALL
    for condition in conditions:
        flags &= table.get(condition, Counts.VOLUME)
    return int(flags)
