"""`vidpipe` with a line in a file for each frame that the model gets: python watched.py FILE run --config ..."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.cli.main import main
from pipeline.inference.session import CameraMemory


def watch(path: Path) -> None:
    """Note camera, media time, time of `grab` and of now in seconds, whenever a frame is handed to the model."""
    log = path.open("a", buffering=1)
    advance = CameraMemory.advance

    def noted(memory: CameraMemory, header: Any, *more: Any) -> Any:
        times = (header.media_ns, header.monotonic_ns, time.monotonic_ns())
        log.write(json.dumps([memory.camera, *(at_ns / 1e9 for at_ns in times)]) + "\n")
        return advance(memory, header, *more)

    CameraMemory.advance = noted  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    sys.argv[1:] = sys.argv[2:]
    main()
