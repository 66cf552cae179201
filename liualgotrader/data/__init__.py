"""Market data from the vendors: requests and frames in, bars and events out."""
