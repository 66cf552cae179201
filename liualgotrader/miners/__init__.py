"""Jobs between sessions, which fill the tables that strategies read."""
