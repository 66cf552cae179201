"""The simulated market's server: a tape and the exchange behind the vendors' own wire protocols, on one local port."""
