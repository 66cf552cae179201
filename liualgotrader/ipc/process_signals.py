"""Signals that a whole process group gets - Ctrl-C, a closed terminal, a service that is stopped - and who acts on them.

Only the supervisor does. It ends its processes in order, over their control links; a process that took such a
signal for itself would be gone before the orders of its strategies are taken back and the last rows are written.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

LEFT_TO_THE_SUPERVISOR = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def leave_to_the_supervisor() -> None:
    """Ignore the group's signals in this process from now on, also those that came while it was being started."""
    for number in LEFT_TO_THE_SUPERVISOR:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_THE_SUPERVISOR)


@contextmanager
def held_while_spawning() -> Iterator[None]:
    """Block the group's signals in this thread: a process started within is born deaf, until it says what it wants."""
    start_helper()
    signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_THE_SUPERVISOR)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_THE_SUPERVISOR)


def start_helper() -> None:
    """Start the process in which multiprocessing counts semaphores, unless it runs, so that no such signal ends it.

    It ignores SIGINT and SIGTERM by itself, and its start unblocks them for the parent; SIGHUP stays blocked in it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_THE_SUPERVISOR)
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_THE_SUPERVISOR)
