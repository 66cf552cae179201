"""The scanners' process: market data in, picks out."""
