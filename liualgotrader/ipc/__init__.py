"""What connects our processes: links that carry batches, and the page of memory that all of them see."""
