"""What a recorded print may move: from the vendor's bit mask of sale conditions to `Counts`.

What each condition may update follows the consolidated processing rules of the two US tape plans (CTA/CTS
output specification and UTP/UTDF specification, both "Appendix: sale condition codes"; letters below are
theirs). Where a plan says "last only if it is the first or only one of the day" (notes 1 and 2 there), we
take no, except for the opening print, which comes in sequence. What the bits stand for is AlgoSeek's
numbering, as published with the Lean data format.

======================  ========  ====  ========  ======
condition               bit       last  high/low  volume
======================  ========  ====  ========  ======
regular @                      1  yes   yes       yes
cash C                         2  no    no        yes
next day N                     4  no    no        yes
seller R                       8  no    no        yes
yellow flag Y                 10  yes   yes       yes
intermarket sweep F           20  yes   yes       yes
opening print O               40  yes   yes       yes
closing print 6               80  yes   yes       yes
re-opening print 5           100  yes   yes       yes
derivatively priced 4        200  no    yes       yes
form T T                     400  no¹   no¹       yes
sold last L                  800  no    yes       yes
stopped stock 1             1000  yes   yes       yes
extended hours T            2000  no¹   no¹       yes
sold out of sequence Z      4000  no    yes²      yes
split S, acquisition A      8000  yes   yes       yes
bunched B, distribution D  20000  yes   yes       yes
contingent V               40000  no    no        yes
average price W           100000  no    no        yes
cross X                   200000  yes   yes       yes
price variation H         400000  no    no        yes
rule 155 K                800000  yes   yes       yes
official close M         1000000  no    no        no
prior reference P        2000000  no    yes       yes
official open Q          4000000  no    no        no
CAP election             8000000  no    no        yes
automatic execution E   10000000  yes   yes       yes
exempt from 611 7       20000000  (says nothing by itself)
odd lot I               80000000  no    no        yes
======================  ========  ====  ========  ======

1. Outside regular trading every print carries one of these. The plans keep them out of the figures of the
   *day*; bars of the early and late session have nothing else, so there they count fully, as in the bars
   of the data vendors.
2. Together with extended hours it is `U`, which moves nothing but volume.

A print with several conditions may move only what all of them may. An undescribed bit counts for volume only.
"""

from __future__ import annotations

from liualgotrader.common.events import Counts

OPENING_PRINT, CLOSING_PRINT = 0x40, 0x80

_EXTENDED = 0x2400  # form T, extended hours
_OUT_OF_SEQUENCE = 0x4000
_MOVE_ALL = 0x30AB_91F1
_MOVE_RANGE_AND_VOLUME = 0x0200_4A00
_MOVE_NOTHING = 0x0500_0000  # every other bit moves volume only


def counts_of(mask: int, *, regular_hours: bool) -> Counts:
    """Return what a print with these conditions counts for, by the table above.

    >>> counts_of(0x20000020, regular_hours=True) == Counts.ALL
    True
    >>> counts_of(0x2000, regular_hours=True) == Counts.VOLUME
    True
    """
    if not regular_hours and not (mask & _EXTENDED and mask & _OUT_OF_SEQUENCE):
        mask &= ~_EXTENDED  # which says nothing but "outside regular trading" (notes 1 and 2)
    if mask & _MOVE_NOTHING:
        return Counts.NOTHING
    if mask & ~(_MOVE_ALL | _MOVE_RANGE_AND_VOLUME):
        return Counts.VOLUME
    return Counts.HIGH_LOW | Counts.VOLUME if mask & _MOVE_RANGE_AND_VOLUME else Counts.ALL
