"""The life of an order as one table: (state, step) -> state. What the table does not name changes nothing.

`REOPENED` takes a request back that the broker did not carry out; the other steps are reported by the broker
or taken by us. Late fills after an end are booked without moving the state, except that a complete fill is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from liualgotrader.common.orders import OrderState as S


class OrderStep(StrEnum):
    """What can happen to an order."""

    SENT = "sent"
    REFUSED = "refused"
    SILENCE = "silence"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    NOT_THERE = "not_there"  # the broker does not know it and will not any more
    APPEARED = "appeared"  # the broker has it after all
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCEL_ASKED = "cancel_asked"
    REPLACE_ASKED = "replace_asked"
    REOPENED = "reopened"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"


_ENDS = {
    OrderStep.FILLED: S.FILLED,
    OrderStep.CANCELED: S.CANCELED,
    OrderStep.EXPIRED: S.EXPIRED,
    OrderStep.REPLACED: S.REPLACED,
    OrderStep.REJECTED: S.REJECTED,
}
_KNOWN = {
    OrderStep.ACKNOWLEDGED: S.ACKNOWLEDGED,
    OrderStep.PARTIALLY_FILLED: S.PARTIALLY_FILLED,
    OrderStep.CANCEL_ASKED: S.PENDING_CANCEL,
    OrderStep.REPLACE_ASKED: S.PENDING_REPLACE,
    **_ENDS,
}
_COMPLETED_LATE = {OrderStep.FILLED: S.FILLED}

TABLE: Mapping[S, Mapping[OrderStep, S]] = {
    S.WRITTEN: {OrderStep.SENT: S.SENT, OrderStep.REFUSED: S.REFUSED, OrderStep.CANCELED: S.CANCELED},
    S.SENT: {OrderStep.SILENCE: S.UNKNOWN, OrderStep.NOT_THERE: S.REJECTED, **_KNOWN},
    S.UNKNOWN: {OrderStep.SENT: S.SENT, OrderStep.NOT_THERE: S.REJECTED, **_KNOWN},
    S.ACKNOWLEDGED: {k: v for k, v in _KNOWN.items() if k is not OrderStep.ACKNOWLEDGED},
    S.PARTIALLY_FILLED: {
        k: v for k, v in _KNOWN.items() if k not in (OrderStep.ACKNOWLEDGED, OrderStep.PARTIALLY_FILLED)
    },
    S.PENDING_CANCEL: {OrderStep.REOPENED: S.ACKNOWLEDGED, **_ENDS},
    S.PENDING_REPLACE: {OrderStep.REOPENED: S.ACKNOWLEDGED, OrderStep.CANCEL_ASKED: S.PENDING_CANCEL, **_ENDS},
    S.FILLED: {},
    S.CANCELED: _COMPLETED_LATE,
    S.EXPIRED: _COMPLETED_LATE,
    S.REPLACED: _COMPLETED_LATE,
    S.REJECTED: {OrderStep.APPEARED: S.ACKNOWLEDGED, **_COMPLETED_LATE},
    S.REFUSED: {},
}

OF_BROKER: Mapping[S, OrderStep] = {state: step for step, state in _KNOWN.items()}
"""The step that the broker's own view of an order stands for."""


def after(state: S, step: OrderStep, *, filled: bool = False) -> S | None:
    """Return the state after `step`, None if it changes nothing; `filled` says whether anything has been booked.

    >>> after(S.SENT, Step.ACKNOWLEDGED)
    <OrderState.ACKNOWLEDGED: 'acknowledged'>
    >>> after(S.FILLED, Step.CANCELED) is None
    True
    """
    new = TABLE[state].get(step)
    if new is S.ACKNOWLEDGED and filled:
        new = S.PARTIALLY_FILLED
    return None if new is state else new
