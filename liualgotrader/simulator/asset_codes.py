"""Codes of a symbol on the wires: the asset's id, the venue's letter and its tape.

Source: Alpaca market data, exchange and tape codes; CTA and UTP plans for the letters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from liualgotrader.exchange.exchange_values import AssetTerms

EXCHANGE_LETTERS = {
    "A": "NYSE American (AMEX)",
    "N": "New York Stock Exchange",
    "P": "NYSE Arca",
    "Q": "NASDAQ OMX",
    "V": "IEX",
    "Z": "Cboe BZX",
}
_VENUES = {"AMEX": ("A", "B"), "NYSE": ("N", "A"), "ARCA": ("P", "B"), "NYSEARCA": ("P", "B"), "BATS": ("Z", "B")}
_OTHERS = ("Q", "C")


class VenueCode(NamedTuple):
    """The letter of the exchange and of the consolidated tape that a symbol's prints carry."""

    letter: str
    tape: str


def asset_id(symbol: str) -> UUID:
    """Return the symbol's asset id, the same in every session."""
    return uuid5(NAMESPACE_URL, f"simulated-market/assets/{symbol}")


def venue_of(exchange: str) -> VenueCode:
    """Return the letters of a primary exchange; Nasdaq's for one that is not known."""
    return VenueCode(*_VENUES.get(exchange, _OTHERS))


class SymbolTable:
    """All symbols of the simulated market, found by name or asset id."""

    def __init__(self, terms: Iterable[AssetTerms]) -> None:
        self.terms = {t.symbol: t for t in terms}  # what each symbol is, in alphabetical order
        self._by_id = {str(asset_id(symbol)): symbol for symbol in self.terms}
        self._venues = {t.symbol: venue_of(t.exchange) for t in self.terms.values()}

    def symbol(self, symbol_or_id: str) -> str:
        """Return the symbol that a path names by symbol or asset id; an unknown one comes back as it is."""
        return self._by_id.get(symbol_or_id.lower(), symbol_or_id.upper())

    def venue(self, symbol: str) -> VenueCode:
        """Return the letters that the symbol's prints carry."""
        return self._venues.get(symbol) or VenueCode(*_OTHERS)
