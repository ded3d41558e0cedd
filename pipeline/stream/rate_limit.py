"""A limit on what each client may ask for: one token bucket a client, of the most recent clients."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

_MOST_CLIENTS = 4096


@dataclass
class _Bucket:
    tokens: float
    filled_s: float


class RateLimit:
    """Tokens come at `rate_hz` and are kept up to `burst`.

    Source: token bucket as a meter, ITU-T I.371 (generic cell rate algorithm).
    """

    def __init__(self, rate_hz: float, burst: float) -> None:
        self._rate_hz = rate_hz
        self._burst = burst
        self._buckets: OrderedDict[str | bytes, _Bucket] = OrderedDict()

    def wait_s(self, client: str | bytes, now_s: float) -> float:
        """Seconds until the client may ask again: 0 where it may now."""
        return max(0.0, (1.0 - self._filled(client, now_s).tokens) / self._rate_hz)

    def charge(self, client: str | bytes, tokens: float, now_s: float) -> None:
        """Take tokens away; a bucket may go below zero, so that a large answer is paid for afterwards."""
        self._filled(client, now_s).tokens -= tokens

    def _filled(self, client: str | bytes, now_s: float) -> _Bucket:
        bucket = self._buckets.pop(client, None) or _Bucket(self._burst, now_s)
        bucket.tokens = min(self._burst, bucket.tokens + self._rate_hz * (now_s - bucket.filled_s))
        bucket.filled_s = now_s
        self._buckets[client] = bucket
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return bucket
