"""Writes what strategies record to the disk every few seconds, aside: no strategy waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from liualgotrader.common.errors import OutsideError
from liualgotrader.common.recording import Recording
from liualgotrader.data.recorded_series import SeriesFile

log = logging.getLogger(__name__)

MOST_VALUES = 200_000  # between two writes
MOST_IN_ALL = 20_000_000  # of one process, some 20 bytes each
_WRITE_SECONDS = 3.0  # machine time between two writes: what a killed process loses


class SeriesWriter:
    """Takes values out of `recording`; `warn` hears once of values that are missing, and why."""

    def __init__(self, file: SeriesFile, warn: Callable[[str], object]) -> None:
        self.recording = Recording(MOST_VALUES, MOST_IN_ALL)
        self._file, self._warn = file, warn
        self._lost = 0  # values that the disk did not take
        self._said = False
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._write())

    async def close(self) -> None:
        """Write what is left."""
        self._closing.set()
        if self._task is not None:
            await self._task
        self._file.close()

    async def _write(self) -> None:
        while True:
            is_last = self._closing.is_set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_WRITE_SECONDS):
                    await self._closing.wait()
            columns = self.recording.take()
            try:
                await asyncio.to_thread(self._file.write, columns)
            except OutsideError as error:
                self._lost += len(columns.at)
                log.warning("%s", error)
            missing = self._lost + self.recording.left_out
            if missing and not self._said:
                self._said = True
                why = (
                    "the disk took no more"
                    if self._lost
                    else f"a process keeps {MOST_VALUES:,} in {_WRITE_SECONDS:g} s"
                )
                self._warn(f"values that strategies recorded are left out: {why}; trading goes on")
            if is_last:
                return
