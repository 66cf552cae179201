"""The vendor's ways of saying no: status, number and sentence in one place.

Source: Alpaca's trading API, observed answers. The sentences drift there; status and number are stable.
"""

from __future__ import annotations

from typing import Any

from liualgotrader.exchange.exchange_values import Refusal


def malformed(message: str, **extra: Any) -> Refusal:
    """The request itself is wrong (422 / 40010001)."""
    return Refusal(422, 40010001, message, **extra)


def invalid(message: str, **extra: Any) -> Refusal:
    """The order breaks a rule of the market (422 / 42210000)."""
    return Refusal(422, 42210000, message, **extra)


def forbidden(message: str, *, code: int = 40310000, **extra: Any) -> Refusal:
    """The account may not do this (403)."""
    return Refusal(403, code, message, **extra)


def missing(message: str) -> Refusal:
    """There is no such thing (404 / 40410000)."""
    return Refusal(404, 40410000, message)
