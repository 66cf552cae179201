"""Strategies: what a user writes, the context it acts through, and those that ship. Bars and quotes in, orders out."""
