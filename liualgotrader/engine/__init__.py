"""The engine of one consumer's strategies, without I/O: market events and news in, intents and rows out."""
