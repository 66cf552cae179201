"""Market data from vendors, kept in the store: requests, frames, files in, bars, events out."""
