"""Market data from outside: vendors' history and streams, recorded and generated days; events and bars come out."""
