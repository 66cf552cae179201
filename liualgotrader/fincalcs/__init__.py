"""Indicators: prices, volumes or bars in, numbers out."""
