"""What a live frame costs beside its decoding: RTSP, sockets, cold caches; in reader processes at a camera's pace."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack

from engines.errors import SourceError
from pipeline.bench.live import fake_cameras
from pipeline.bench.video import Video

_WARM_UP_S = 2.0
_CONNECTIONS = 8  # so many decoders in turn that none finds its data in the cache
_COMMAND = [sys.executable, "-c", "from pipeline.bench.receiving import main; main()"]


def measure_live_grab(video: Video, seconds: float = 10.0) -> float:
    """Milliseconds of CPU of a live `grab`, mean over eight processes that each read one RTSP camera over TCP.

    Raises:
        SourceError: a fake camera gave no frames.
    """
    environment = {**os.environ, "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp", "OPENBLAS_NUM_THREADS": "1"}
    with fake_cameras(video.path, "--cameras", _CONNECTIONS) as cameras, ExitStack() as stack:
        readers = [
            stack.enter_context(
                subprocess.Popen([*_COMMAND, url, str(seconds)], stdout=subprocess.PIPE, text=True, env=environment)
            )
            for url in cameras
        ]
        said = [reader.communicate()[0].strip() for reader in readers]
    if any(not words for words in said):
        raise SourceError("a fake camera gave no frames: see the lines above")
    return sum(map(float, said)) / len(said)


def main() -> None:
    """One reader: `URL SECONDS`; writes the milliseconds of CPU of one grab."""
    sys.stdout.write(f"{_read(sys.argv[1], float(sys.argv[2]))}\n")


def _read(url: str, seconds: float) -> float:
    import cv2  # noqa: PLC0415 - only this process decodes

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    _grab_for(capture, _WARM_UP_S)
    started_s = time.process_time()
    frames = _grab_for(capture, seconds)
    spent_s = time.process_time() - started_s
    if not frames:
        raise SourceError(f"no frames in {seconds:g} s")
    return 1e3 * spent_s / frames


def _grab_for(capture: object, seconds: float) -> int:
    until_s, frames = time.monotonic() + seconds, 0
    while time.monotonic() < until_s and capture.grab():  # type: ignore[attr-defined]
        frames += 1
    return frames
