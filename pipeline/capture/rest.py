"""How long a capture process may sleep between the frames it needs, and decode the others in one go.

Of a camera at 25 frames a second, sampled at 8, two of three frames are only decoded because the next one builds on
them. They can wait in the socket. A process that wakes for each of them finds its caches taken by the other cameras
every time; one that sleeps until just before the next due frame decodes them one after another, which costs a fifth
less CPU per frame with 40 cameras on two cores. The due frame itself still wakes the process when it arrives.
"""

from __future__ import annotations

_LONGEST_NS = 125_000_000  # a camera's send buffer and the news of a broken connection should not wait longer
_LEAST_MARGIN_NS = 2_000_000
_FIRST_STRAY_NS = 5_000_000.0
_JITTERS = 1.5  # mean deviations of the arrival that the margin holds
_LEARN = 1 / 8  # weight of the newest value in a running mean (the one of TCP's round-trip time, RFC 6298)
_WAITED = 2.0  # a grab that took so many times what decoding takes waited for its frame
_WAITED_NS = 300_000
_FORGET = 1.01  # by which the least grab time grows with each frame, so that it follows a stream that gets heavier


class Rest:
    """Knows a camera's rhythm: frame period, decoding time, and how far arrivals stray from it; all times in ns."""

    def __init__(self) -> None:
        self._media_ns: int | None = None
        self._period_ns = 0.0
        self._decoding_ns = 0.0
        self._least_ns = 0.0
        self._stray_ns = _FIRST_STRAY_NS
        self._margin_ns = float("inf")
        self._queued = 0
        self._expected_ns: float | None = None

    def after(self, media_ns: int, arrival_ns: int, grab_ns: int, next_due_ns: int) -> float:
        """Seconds to sleep after a frame, counted from its arrival; 0 or less: none.

        Args:
            media_ns: the frame's time on the camera's media clock.
            arrival_ns: when its `grab` returned, on the monotonic clock.
            grab_ns: how long that took: decoding and, unless the frame lay there already, waiting for it.
            next_due_ns: media time from which on a frame is due.
        """
        self._count_period(media_ns)
        # the quickest of late: a frame that lay there costs its decoding and no more
        self._least_ns = min(float(grab_ns), _FORGET * self._least_ns) if self._least_ns else float(grab_ns)
        if self._queued > 0:
            self._queued -= 1
            self._decoding_ns += _LEARN * (grab_ns - self._decoding_ns) if self._decoding_ns else grab_ns
            return 0.0
        # of a camera that was always waited for, the quickest grab says nothing about decoding
        decoding_ns = min(max(self._decoding_ns, self._least_ns), self._period_ns / 3 or float("inf"))
        waited = grab_ns >= _WAITED * decoding_ns + _WAITED_NS
        began_ns = self._learn(arrival_ns, waited=waited)
        if self._period_ns <= 0:
            return 0.0
        ahead = int(min(-(-(next_due_ns - media_ns) // self._period_ns), _LONGEST_NS // self._period_ns))
        if not waited or ahead < 2 or self._margin_ns > self._period_ns:
            ahead = 1  # behind a frame that lay there more may lie: first catch up with what waits in the socket
        self._expected_ns = began_ns + ahead * self._period_ns
        self._queued = ahead - 1
        awake_ns = self._margin_ns + self._queued * decoding_ns
        return (self._expected_ns - awake_ns - arrival_ns) / 1e9 if self._queued else 0.0

    def _count_period(self, media_ns: int) -> None:
        step_ns = 0 if self._media_ns is None else media_ns - self._media_ns
        self._media_ns = media_ns
        if 0 < step_ns < 1_000_000_000:
            self._period_ns += _LEARN * (step_ns - self._period_ns) if self._period_ns else step_ns

    def _learn(self, arrival_ns: int, *, waited: bool) -> float:
        """When the frame came: with its `grab`, or as expected where it had been there before."""
        expected_ns, self._expected_ns = self._expected_ns, None
        if expected_ns is None:
            return arrival_ns
        if not waited:
            self._margin_ns = min(2 * self._margin_ns, self._period_ns / 2)
            return min(arrival_ns, expected_ns)
        self._stray_ns += _LEARN * (abs(arrival_ns - expected_ns) - self._stray_ns)
        self._margin_ns = min(_LEAST_MARGIN_NS + _JITTERS * self._stray_ns, self._period_ns / 2)
        return arrival_ns
