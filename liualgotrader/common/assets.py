"""What the original knows of crypto assets, at its address."""

from __future__ import annotations

from typing import Any

from liualgotrader.common.types import AssetType

_BITCOIN = {"type": AssetType.CRYPTO, "min_order_size": 0.00001, "tick_precision": 8}
_ETHER = {"type": AssetType.CRYPTO, "min_order_size": 0.001, "tick_precision": 6}

assets_details: dict[str, dict[str, Any]] = {
    "btc/usd": _BITCOIN,
    "btcusd": _BITCOIN,
    "eth/usd": _ETHER,
    "ethusd": _ETHER,
}


def get_asset_precision(asset_name: str) -> int:
    """Return the digits behind the point that a quantity may have.

    Raises:
        ValueError: for an asset that is not in `assets_details`.
    """
    precision: int = _details(asset_name)["tick_precision"]
    return precision


def round_asset(asset_name: str, value: float) -> float:
    """Return a quantity rounded to what may be ordered.

    Raises:
        ValueError: for an asset that is not in `assets_details`.
    """
    return round(value, get_asset_precision(asset_name))


def get_asset_min_qty(asset_name: str) -> float:
    """Return the smallest quantity of an order.

    Raises:
        ValueError: for an asset that is not in `assets_details`.
    """
    least: float = _details(asset_name)["min_order_size"]
    return least


def _details(asset_name: str) -> dict[str, Any]:
    details = assets_details.get(asset_name.lower())
    if details is None:
        raise ValueError(f"{asset_name} is no asset known here; known are {', '.join(assets_details)}")
    return details
