"""A trading platform for US equities: scanners pick, a producer shards, consumers trade."""

__version__ = "1.0.0.dev0"
