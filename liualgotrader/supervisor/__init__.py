"""Runs the processes of one session: a request comes in, an exit status and a record go out."""
