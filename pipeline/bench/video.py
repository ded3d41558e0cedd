"""The video that every bench plays: the test scene as H.264, 640x360 at 25 frames a second, without B frames."""

from __future__ import annotations

from pathlib import Path

from engines.errors import MissingExtraError

WIDTH, HEIGHT, FPS = 640, 360, 25


def record_scene(path: Path, *, fps: int = FPS, seconds: float = 60.0, seed: int = 1) -> Path:
    """Write so many seconds of the scene to `path`, as an IP camera would code them.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    try:
        import av  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise MissingExtraError("vidpipe bench", "av", "bench") from error
    from engines.scene import Scene  # noqa: PLC0415 - needs OpenCV

    scene = Scene(seed, width=WIDTH, height=HEIGHT, fps=fps)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "bf": "0", "g": str(2 * fps)})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(round(seconds * fps)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene.frame(index), "bgr24")))
        container.mux(stream.encode())
    return path
