"""Commands that measure the platform, each beside the ceiling of its machine, and print JSON."""
