"""An append-only file of records: bytes in, the same bytes in the same order out, even after a crash."""

from liualgotrader.journal.reading import JournalDamaged, Scan, read_journal, scan
from liualgotrader.journal.writing import JournalWriter

__all__ = ["JournalDamaged", "JournalWriter", "Scan", "read_journal", "scan"]
