"""The simulated exchange: market events and order requests in, order updates and executions out."""
