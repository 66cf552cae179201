"""Invents a session: who trades, how each symbol moves, its quotes and prints, and the days before."""
