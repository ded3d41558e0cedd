"""Media whose pictures carry their number, and what a client has received read back into numbers."""

from __future__ import annotations

from collections.abc import Iterable

import av
import barcode
import numpy as np
from rtsp_client import Picture

from pipeline.fakecam import Encoding
from pipeline.fakecam.pictures import PictureMedia

SIZE = (160, 120)
RATE = 60.0


def numbered(number: int) -> np.ndarray:
    picture = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    picture[60:90, number % 120 : number % 120 + 20] = 200
    return barcode.draw(picture, number)


def numbered_media(frames: int | None = None, *, gop_s: float = 1.0, rate: float = RATE) -> PictureMedia:
    return PictureMedia(lambda: numbered, Encoding(*SIZE, rate, gop_s=gop_s), frames=frames)


def decoded(pictures: Iterable[Picture]) -> list[np.ndarray]:
    """Each picture, uint8 [height, width, 3] BGR."""
    decoder = av.CodecContext.create("h264", "r")
    frames = [frame for one in pictures for frame in decoder.decode(av.Packet(one.annexb))]
    return [frame.to_ndarray(format="bgr24") for frame in frames + decoder.decode(None)]


def numbers(pictures: Iterable[Picture]) -> list[int]:
    return [barcode.read(picture) for picture in decoded(pictures)]


def ticks(number: int, rate: float = RATE) -> int:
    return round(number * 90000 / rate)
