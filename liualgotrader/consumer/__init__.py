"""The consumer process: batches of market events and account news in, order intents out."""
