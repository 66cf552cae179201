"""What connects the processes of a session: links for batches, a page of shared memory, the market's clock."""
