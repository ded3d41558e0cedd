"""Tiny labelled clips: a bright square that goes left or right over noise, so that only the order of frames tells."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

RATE, WIDTH, HEIGHT, PLACES = 8, 48, 32, 6


def write_clip(path: Path, directions: Sequence[int], seed: int) -> Path:
    """An H.264 file at 8 frames a second; `directions` holds -1 or 1 for each frame: where the square goes next."""
    rng = np.random.default_rng(seed)
    at = int(rng.integers(0, PLACES))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "bf": "0", "g": "8"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, direction in enumerate(directions):
            picture = rng.integers(20, 60, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            left = at % PLACES * WIDTH // PLACES
            picture[8:24, left : left + WIDTH // PLACES] = 230
            at += direction
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_folders(root: Path, each: int, frames: int = 16) -> Path:
    """`left/` and `right/` with `each` clips."""
    for label, direction in (("left", -1), ("right", 1)):
        for number in range(each):
            write_clip(root / label / f"{label}{number}.mp4", [direction] * frames, 100 * number + direction + 1)
    return root


def write_manifest(path: Path, rows: Sequence[Sequence[object]], columns: str = "path,label,split,group") -> Path:
    """A CSV manifest."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns.split(","))
        writer.writerows(rows)
    return path


def manifest_of_folders(path: Path, folders: Path, each: int, validating: int = 0) -> Path:
    """A manifest of what `write_folders` wrote, two clips a group; the last `validating` of each label are `val`."""
    rows = [
        (
            (folders / label / f"{label}{number}.mp4").relative_to(path.parent),
            label,
            "val" if number >= each - validating else "train",
            f"{label}{number // 2}",
        )
        for label in ("left", "right")
        for number in range(each)
    ]
    return write_manifest(path, rows)
