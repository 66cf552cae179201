"""Days that can be played: recorded, read from files or generated; each is a `Tape` of `common/ports.py`."""
