"""The producer: picks and the vendor's frames in, batches of market events for each consumer out."""
