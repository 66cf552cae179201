"""Market days that can be played, recorded or generated: files and seeds in, a `Tape` of `common/ports.py` out."""
