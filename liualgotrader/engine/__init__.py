"""Every decision of the system as a pure function of what it was told: market events and news in, intents and orders out."""
