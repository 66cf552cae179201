"""Scanners: each looks at the whole market now and then and returns the symbols worth trading."""
