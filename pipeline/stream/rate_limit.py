"""A limit on what clients may ask for: each key has its share, dealt out evenly among the connections that use it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

_ACTIVE_S = 10.0  # who has not asked for so long leaves its part to the others
_MOST_GROUPS = 1024
_MOST_CONNECTIONS = 1024
_FEWEST_PARTS = 4


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_s: float


class RateLimit:
    """Tokens come at `rate_hz` to each group (those who use one key, or come from one address), up to `burst`.

    It is dealt out evenly among its connections that asked within the last ten seconds, a quarter for one at most:
    neither a greedy one nor many starve another. What goes unused by one is not given to the others.

    Source: token bucket as a meter, ITU-T I.371 (generic cell rate algorithm).
    """

    def __init__(self, rate_hz: float, burst: float) -> None:
        self._rate_hz = rate_hz
        self._burst = burst
        self._groups: OrderedDict[str, OrderedDict[str | bytes, _Bucket]] = OrderedDict()

    def wait_s(self, group: str, connection: str | bytes, now_s: float) -> float:
        """Seconds until a connection may ask again: 0 where it may now."""
        bucket, part = self._filled(group, connection, now_s)
        return max(0.0, (1.0 - bucket.tokens) / (part * self._rate_hz))

    def charge(self, group: str, connection: str | bytes, tokens: float, now_s: float) -> None:
        """Take tokens away; a bucket may go below zero, so that a large answer is paid for afterwards."""
        self._filled(group, connection, now_s)[0].tokens -= tokens

    def _filled(self, group: str, connection: str | bytes, now_s: float) -> tuple[_Bucket, float]:
        """A connection's bucket as it is now, and which part of its group's tokens comes to it."""
        buckets = self._buckets(group, now_s)
        bucket = buckets.pop(connection, None)
        part = 1.0 / max(_FEWEST_PARTS, len(buckets) + 1)
        if bucket is None:
            bucket = _Bucket(part * self._burst, now_s)
        gained = part * self._rate_hz * (now_s - bucket.filled_s)
        bucket.tokens = min(part * self._burst, bucket.tokens + gained)
        bucket.filled_s = now_s
        buckets[connection] = bucket
        return bucket, part

    def _buckets(self, group: str, now_s: float) -> OrderedDict[str | bytes, _Bucket]:
        """A group's active connections, the one that asked last at the end."""
        buckets = self._groups.pop(group, None)
        if buckets is None:
            buckets = OrderedDict()
        self._groups[group] = buckets
        if len(self._groups) > _MOST_GROUPS:
            self._groups.popitem(last=False)
        while buckets:
            oldest = next(iter(buckets.values()))
            if now_s - oldest.filled_s < _ACTIVE_S and len(buckets) < _MOST_CONNECTIONS:
                break
            buckets.popitem(last=False)
        return buckets
