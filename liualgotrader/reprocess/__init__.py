"""The original's address of bookings made anew; for user code only."""
