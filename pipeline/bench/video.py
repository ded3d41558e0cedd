"""The video that every bench plays: the test scene as an IP camera would code it, or a recording of the user's own."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engines.errors import MissingExtraError, SourceError

WIDTH, HEIGHT, FPS = 640, 360, 25
BITRATE = 700_000
"""Bits a second at which the scene costs the decoder what real footage costs (docs/speed.md)."""


class Video(msgspec.Struct, frozen=True):
    """One H.264 file without B frames; `name` is what reports call it, without its folder."""

    path: str
    name: str
    width: int
    height: int
    fps: float
    kbit_per_s: float

    def __str__(self) -> str:
        shape = f"{self.width}x{self.height} H.264, {self.fps:g} frames/s, {self.kbit_per_s:.0f} kbit/s"
        return f"{self.name}: {shape}"


def record_scene(path: Path, *, fps: int = FPS, seconds: float = 30.0, seed: int = 1) -> Path:
    """Write so many seconds of the scene to `path`: constant bitrate, a key frame every 2 s, no B frames.

    The scene's pictures carry sensor noise that changes with every frame, so no block can be skipped for free.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    try:
        import av  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise MissingExtraError("vidpipe bench", "av", "bench") from error
    from engines.scene import Scene  # noqa: PLC0415 - needs OpenCV

    scene = Scene(seed, width=WIDTH, height=HEIGHT, fps=fps)
    options = {"preset": "veryfast", "bf": "0", "g": str(2 * fps), "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = BITRATE
        for index in range(round(seconds * fps)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene.frame(index), "bgr24")))
        container.mux(stream.encode())
    return path


def scene_video(folder: Path, *, fps: int = FPS, seconds: float = 30.0) -> Video:
    """Record the scene into `folder`."""
    return _facts(record_scene(folder / "scene.mp4", fps=fps, seconds=seconds), "test scene")


def own_video(path: Path) -> Video:
    """A recording of the user's camera.

    Raises:
        MissingExtraError: PyAV is not installed.
        SourceError: it is missing, no video, or not H.264 without B frames, which is what the fake cameras can send.
    """
    try:
        from pipeline.fakecam.video_file import examine  # noqa: PLC0415 - needs PyAV
    except ModuleNotFoundError as error:
        raise MissingExtraError("vidpipe bench", "av", "bench") from error
    file = examine(path)
    if file.codec != "h264" or file.reordered:
        raise SourceError(
            f"{path} is {file.codec}{' with B frames' if file.reordered else ''}; the bench serves H.264 without B "
            "frames as cameras send it: convert it with ffmpeg -i IN -c:v libx264 -bf 0 -g 50 OUT.mp4"
        )
    return _facts(path, path.name)


def _facts(path: Path, name: str) -> Video:
    import cv2  # noqa: PLC0415 - only those who decode need it

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    fps, frames = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    capture.release()
    if not 1 <= fps <= 240 or frames < 2 * fps:
        raise SourceError(f"{path} has {frames:.0f} frames at {fps:g} a second; a bench needs 2 s at 1 to 240 a second")
    kbit_per_s = path.stat().st_size * 8e-3 / (frames / fps)
    return Video(str(path), name, int(width), int(height), round(fps, 3), round(kbit_per_s, 1))
