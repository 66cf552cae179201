"""The embedded PostgreSQL: a data folder in, the address of a running server out."""
