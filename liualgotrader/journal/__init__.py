"""A file that records are only ever appended to: bytes in, the same bytes in the same order out, whatever was killed."""

from liualgotrader.journal.reading import JournalDamaged, Scan, read_journal, scan
from liualgotrader.journal.writing import JournalWriter

__all__ = ["JournalDamaged", "JournalWriter", "Scan", "read_journal", "scan"]
