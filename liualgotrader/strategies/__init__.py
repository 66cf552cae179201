"""Strategies, with three that ship: bars and quotes in, orders out."""
