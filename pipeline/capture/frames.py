"""Frame sources behind one face: OpenCV for cameras, streams and files; the test scene."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from engines.errors import SourceError

if TYPE_CHECKING:
    from pipeline.capture.protocol import Order
    from pipeline.capture.ring import Picture


class FrameSource(Protocol):
    """Something that yields pictures: `grab` moves to the next one, `retrieve` decodes it to BGR."""

    width: int
    height: int
    fps: float
    frame_count: int

    def grab(self) -> bool:
        """Move to the next frame; False where there is none (now)."""
        ...

    def position_ms(self) -> float:
        """The grabbed frame's stamp on the source's own clock, in milliseconds."""
        ...

    def retrieve(self) -> Picture:
        """The grabbed frame, uint8 `[height, width, 3]` BGR; valid until the next call."""
        ...

    def release(self) -> None:
        """Let go of the source."""
        ...


def open_source(order: Order) -> FrameSource:
    """Open what the order names.

    Raises:
        SourceError: it does not open; the message is general, `pipeline.capture.probe` knows more.
    """
    if order.kind == "scene":
        return SceneSource(order.address)
    return OpenCvSource(order)


class OpenCvSource:
    """cv2.VideoCapture over FFmpeg (or V4L2 for a device), with both timeouts set and one decoder thread."""

    def __init__(self, order: Order) -> None:
        import cv2  # noqa: PLC0415 - a scene needs no decoder

        cv2.setNumThreads(1)
        self._cv2 = cv2
        if order.kind == "device":
            self._capture = cv2.VideoCapture(int(order.address), cv2.CAP_V4L2)
        else:
            options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, order.open_timeout_ms]
            options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, order.read_timeout_ms, cv2.CAP_PROP_N_THREADS, 1]
            self._capture = cv2.VideoCapture(order.address, cv2.CAP_FFMPEG, options)
        if not self._capture.isOpened():
            raise SourceError("it does not open as video")
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.frame_count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._picture: Any = None

    def grab(self) -> bool:
        """Demux and decode the next frame without converting it."""
        return self._capture.grab()

    def position_ms(self) -> float:
        """CAP_PROP_POS_MSEC of the grabbed frame."""
        return self._capture.get(self._cv2.CAP_PROP_POS_MSEC)

    def retrieve(self) -> Picture:
        """Convert the grabbed frame to BGR, into the same memory each time while the size stays."""
        ok, self._picture = self._capture.retrieve(self._picture)
        if not ok:
            raise SourceError("a frame could not be decoded")
        return np.asarray(self._picture, np.uint8)

    def release(self) -> None:
        """Close the stream; an RTSP camera is told."""
        self._capture.release()


class SceneSource:
    """The test scene in real time: `scene://?seed=7&width=640&height=360&fps=15`."""

    def __init__(self, address: str) -> None:
        from engines.scene import Scene  # noqa: PLC0415 - the renderer is wanted here only

        options = scene_options(address)
        self.width, self.height, self.fps = int(options["width"]), int(options["height"]), float(options["fps"])
        self.frame_count = 0
        self._scene = Scene(int(options["seed"]), width=self.width, height=self.height, fps=self.fps)
        self._index = -1
        self._started_s = time.monotonic()

    def grab(self) -> bool:
        """Wait until the next frame's time has come."""
        self._index += 1
        time.sleep(max(0.0, self._started_s + self._index / self.fps - time.monotonic()))
        return True

    def position_ms(self) -> float:
        """The frame's time in the scene."""
        return 1000.0 * self._index / self.fps

    def retrieve(self) -> Picture:
        """Draw the frame."""
        return self._scene.frame(self._index)

    def release(self) -> None:
        """Nothing to let go of."""


def scene_options(address: str) -> dict[str, float]:
    """The options in a scene's address, completed by the defaults.

    Raises:
        SourceError: an option is unknown or no positive number.
    """
    from engines.scene import DEFAULT_SEED  # noqa: PLC0415 - the renderer is wanted here only

    options: dict[str, float] = {"seed": DEFAULT_SEED, "width": 640, "height": 360, "fps": 15}
    for key, value in parse_qsl(urlsplit(address).query, keep_blank_values=True):
        if key not in options:
            raise SourceError(f"scene:// has no option {key!r}; there are {', '.join(options)}")
        if not value.replace(".", "", 1).isdigit() or (float(value) == 0 and key != "seed"):
            raise SourceError(f"scene:// option {key} is {value!r}; it must be a positive number")
        options[key] = float(value)
    return options
