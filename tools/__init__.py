"""Programs for whoever works on the platform; none is installed with it."""
