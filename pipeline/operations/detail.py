"""Why a camera is as it is, and when it is tried again, as one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.stream.messages import Status


def detail_of(status: Status, elapsed_s: float = 0.0) -> str:
    """A status's detail, and the wait until the next try as it is `elapsed_s` seconds after the status was sent."""
    if status.retry_in_s < 0:
        return status.detail
    left_s = status.retry_in_s - elapsed_s
    return f"{status.detail}; trying again {f'in {left_s:.0f} s' if left_s >= 0.5 else 'now'}"
