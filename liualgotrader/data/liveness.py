"""Whether a live connection still brings market data: a server may answer pings and send nothing else.

Silence alone says little, since one illiquid symbol may be silent for minutes. So a stream is measured by
itself: it is mute when its silence is far longer than any silence it has had between data.
"""

from __future__ import annotations

from liualgotrader.common.clock import SECOND

_LONGEST_TIMES = 4  # a silence so many times as long as the longest before it is no accident
_SECONDS_TO_KNOW = 20  # seconds with data after which the longest silence says something
_UNKNOWN_TIMES = 20  # of the shortest limit: how long a few symbols of unknown liveliness may be silent
_SYMBOLS_A_SHARE, _MOST_SHARES = 4, 5  # twenty symbols are five times as likely to be heard of as four
_MOST_DOUBLINGS = 5


class Liveness:
    """Measures the silences of one stream, in machine ns, over its connections.

    The limit is `mute_seconds`, or four times the longest silence that ended with data if that is longer. Until
    data was heard in twenty different seconds it is twenty times `mute_seconds`, or a part of that (a fifth for
    twenty symbols). Silence counts only while data is expected, and only if it passes by the market's clock as
    well: a simulated market that stands says nothing. Each alarm without data after it doubles the limit.
    """

    def __init__(self, mute_seconds: float) -> None:
        self._shortest = round(mute_seconds * SECOND)
        self._silent_since = 0  # the newest data, or when it began to be expected, or the newest alarm
        self._last_data_at = 0  # the same but for alarms
        self._second = -1  # the newest second with data
        self._seconds = 0  # how many there were
        self._longest = 0
        self._expected = False
        self._looked_at = -1  # what `_silent_since` was at the last look
        self._market_at = 0  # the market's time at the first look after that
        self.alarms = 0  # in a row

    def heard(self, machine: int) -> None:
        """Record that market data came; called for every frame that brings some."""
        if machine // SECOND != self._second:
            self._second = machine // SECOND
            if self._expected:
                self._seconds += 1
                was_mute = self.alarms and machine - self._silent_since < self._shortest  # a new connection has helped
                if not was_mute:
                    self._longest = max(self._longest, machine - self._last_data_at)
            self.alarms = 0
        self._silent_since = self._last_data_at = machine

    def pause(self) -> None:
        """Expect nothing until the next look; what passes meanwhile is no silence."""
        self._expected = False

    def look(self, machine: int, market: int, *, expected: bool, symbols: int) -> float:
        """Return for how many seconds the stream has been mute, 0.0 if it is not; called a few times a limit.

        `expected` says whether there ought to be data now, `symbols` of how many.
        """
        if not (expected and self._expected):
            self._silent_since = machine
            if not self.alarms:
                self._last_data_at = machine
        self._expected = expected
        if self._looked_at != self._silent_since:
            self._looked_at, self._market_at = self._silent_since, market
        silence = min(machine - self._silent_since, market - self._market_at)
        limit = max(self._shortest, _LONGEST_TIMES * self._longest)
        if self._seconds < _SECONDS_TO_KNOW:
            shares = min(max(1, symbols // _SYMBOLS_A_SHARE), _MOST_SHARES)
            limit = max(limit, self._shortest * _UNKNOWN_TIMES // shares)
        if not expected or silence <= limit * 2 ** min(self.alarms, _MOST_DOUBLINGS):
            return 0.0
        self.alarms += 1
        self._silent_since = machine
        return silence / SECOND
