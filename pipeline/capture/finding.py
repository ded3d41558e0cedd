"""What a probe found out about a source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A source that answers and, as far as can be told without decoding, is video."""

    kind: str  # 'rtsp', 'http', 'file', 'device' or 'scene'
    detail: str  # one sentence, without credentials
    codec: str | None = None  # FFmpeg's name, such as 'h264' or 'hevc'; None where the source does not say
    width: int | None = None  # pixels
    height: int | None = None  # pixels
    fps: float | None = None  # frames/s
