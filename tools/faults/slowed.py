"""`vidpipe` with an encoder that takes so long per picture: python slowed.py SECONDS run --config ...

So the capacity is known by construction, whatever the machine.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from engines.encoder import Encoder
from pipeline.cli.main import main


class SlowEncoder:
    """Stands between the loop and the real encoder, and delays each batch by its pictures."""

    def __init__(self, per_picture_s: float) -> None:
        self._per_picture_s = per_picture_s
        self._free_s = 0.0
        self._ends_s: dict[int, float] = {}
        self._listeners: list[Callable[[int], None]] = []
        self._start, self._wait = Encoder.start, Encoder.wait

    def install(self) -> None:
        """Take the place of the real one's methods."""
        slow = self

        def start(encoder: Any, request: int, count: int) -> None:
            slow._start(encoder, request, count)
            now_s = time.monotonic()
            slow._ends_s[request] = slow._free_s = max(slow._free_s, now_s) + count * slow._per_picture_s
            for finished in slow._listeners:
                threading.Timer(slow._free_s - now_s, finished, [request]).start()

        def listen(_encoder: Any, finished: Callable[[int], None]) -> bool:
            slow._listeners.append(finished)
            return True

        def wait(encoder: Any, request: int) -> Any:
            time.sleep(max(0.0, slow._ends_s[request] - time.monotonic()))
            return slow._wait(encoder, request)

        Encoder.start, Encoder.listen, Encoder.wait = start, listen, wait  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    SlowEncoder(float(sys.argv[1])).install()
    sys.argv[1:] = sys.argv[2:]
    main()
