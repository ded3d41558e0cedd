"""How many frames to put into one batch: as few as do not cost more, found by timing the encoder when it is loaded.

On a CPU one picture at a time is nearly as cheap as eight, and a small batch is done sooner; a GPU wants many.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engines.encoder import compiled_batches

if TYPE_CHECKING:
    from engines.encoder import Encoder

_BESIDE_S = 0.5e-3  # what a batch costs beside the encoder, however small: recurrent step, waking, bookkeeping
_WORTH_IT = 0.95  # a larger batch must cost at most so much of a smaller one's time per frame
_ROUNDS = 3


def best_batch(encoder: Encoder) -> int:
    """The batch size for frames that come one by one; times each compiled size three times."""
    sizes = sorted({encoder.fit(count) for count in compiled_batches(encoder.max_batch)})
    return smallest_good({size: min(_timed(encoder, size) for _ in range(_ROUNDS)) for size in sizes})


def smallest_good(batch_s: Mapping[int, float]) -> int:
    """The smallest batch that no larger one beats clearly per frame, given seconds per batch by size."""
    frame_s = {size: (seconds + _BESIDE_S) / size for size, seconds in batch_s.items()}
    least_s = min(frame_s.values())
    return min(size for size, seconds in frame_s.items() if _WORTH_IT * seconds <= least_s)


def _timed(encoder: Encoder, size: int) -> float:
    started_s = time.perf_counter()
    encoder.start(0, size)
    encoder.wait(0)
    return time.perf_counter() - started_s
