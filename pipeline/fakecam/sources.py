"""From a source as a user writes it (`scene://?seed=7`, a file's path) to a camera's media."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from engines.errors import MissingExtraError, SourceError
from pipeline.fakecam.media import Encoding, Media


def open_media(
    source: str,
    cameras: int = 1,
    *,
    size: tuple[int, int] | None = None,
    frame_rate: float | None = None,
    bitrate: int | None = None,
    loop: bool = True,
) -> list[Media]:
    """The media of one or several cameras that show the same file, or scenes with seeds that count up.

    A file that is H.264 without B frames is sent as it is, unless size, rate or bitrate are asked for.

    Args:
        source: `scene://`, `scene://?seed=N` or the path of a video file.
        cameras: how many media to give.
        size: width and height in pixels; by default 640x360 for a scene, the file's own for a file.
        frame_rate: frames/s; by default 15 for a scene, the file's own for a file.
        bitrate: bits/s; by default as many as a steady quality needs.
        loop: a file begins again at its end; a scene has none.

    Raises:
        MissingExtraError: PyAV is not installed.
        SourceError: the source is missing, is no video or cannot be encoded as asked.
    """
    if importlib.util.find_spec("av") is None:
        raise MissingExtraError("vidpipe fakecam", "av", "fakecam")
    asked = Encoding(*(size or (640, 360)), 15.0 if frame_rate is None else frame_rate, bitrate)
    if source.startswith("scene:"):
        return [_scene(_seed(source) + offset, asked) for offset in range(cameras)]
    if "://" in source:
        raise SourceError("a fake camera serves scene:// or a video file, no other URL")
    return [_file(Path(source), asked, size=size, frame_rate=frame_rate, loop=loop)] * cameras


def _seed(source: str) -> int:
    from engines.scene import DEFAULT_SEED  # noqa: PLC0415 - needs OpenCV, which a file does not

    parts = urlsplit(source)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    seed = query.pop("seed", str(DEFAULT_SEED))
    if query or parts.netloc or parts.path.strip("/") or not (seed.isascii() and seed.isdigit()):
        raise SourceError(f"{source!r} should be scene:// or scene://?seed=N with a whole number N")
    return int(seed)


def _scene(seed: int, encoding: Encoding) -> Media:
    from engines.scene import Scene  # noqa: PLC0415 - needs OpenCV, which a file does not
    from pipeline.fakecam.pictures import PictureMedia  # noqa: PLC0415 - needs PyAV

    return PictureMedia(lambda: Scene(seed, encoding.width, encoding.height, encoding.frame_rate).frame, encoding)


def _file(path: Path, asked: Encoding, *, size: tuple[int, int] | None, frame_rate: float | None, loop: bool) -> Media:
    from pipeline.fakecam.passthrough import PassthroughMedia  # noqa: PLC0415 - needs PyAV
    from pipeline.fakecam.transcoded import TranscodedMedia  # noqa: PLC0415 - needs PyAV
    from pipeline.fakecam.video_file import examine  # noqa: PLC0415 - needs PyAV

    file = examine(path)
    as_asked = (size, frame_rate, asked.bitrate) == (None, None, None)
    if as_asked and file.codec == "h264" and not file.reordered:
        return PassthroughMedia(file, loop=loop)
    encoding = replace(asked, frame_rate=frame_rate or file.frame_rate)
    if size is None:  # H.264 in 4:2:0 wants even sizes
        encoding = replace(encoding, width=file.width // 2 * 2, height=file.height // 2 * 2)
    return TranscodedMedia(file, encoding, loop=loop, resample=frame_rate is not None)
