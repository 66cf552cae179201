"""The original's classes for what was traded: its names in, rows of our store out."""
