"""The record: rows in, rows out, and the PostgreSQL that keeps them."""
