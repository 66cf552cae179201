"""Indicators: numbers computed from prices and volumes, with no memory of their own but what they are given."""
