"""RTP packets that UDP lost, as PyAV's FFmpeg tells them: in its log only, like OpenCV's."""

from __future__ import annotations

from typing import Any

_MISSED = "RTP: missed"


class PacketLoss:
    """Collects FFmpeg's warnings of this process while it lives; there is one source a process."""

    def __init__(self, logging: Any) -> None:
        logging.set_level(logging.WARNING)
        logging.set_skip_repeated(False)
        self._off = logging.set_level
        self._capture = logging.Capture(local=False)
        self._lines: list[tuple[int, str, str]] = self._capture.__enter__()

    def take(self) -> int:
        """How many times packets were missing since the last call."""
        missed = sum(1 for _, _, text in self._lines if text.startswith(_MISSED))
        self._lines.clear()
        return missed

    def close(self) -> None:
        """Collect no longer."""
        self._capture.__exit__(None, None, None)
        self._off(None)
