"""The record: rows in, rows out of PostgreSQL."""
