"""Backtests: bars of many sessions in; decisions, fills and rows of the same engine, order desk and exchange out."""
