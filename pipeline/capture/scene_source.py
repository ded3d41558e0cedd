"""The test scene as a frame source, in real time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from engines.errors import SourceError
from pipeline.capture.decoder_log import NO_NEWS, DecoderNews

if TYPE_CHECKING:
    from pipeline.capture.ring import Picture


class SceneSource:
    """The test scene in real time: `scene://?seed=7&width=640&height=360&fps=15`."""

    def __init__(self, address: str) -> None:
        from engines.scene import Scene  # noqa: PLC0415 - the renderer is wanted here only

        options = scene_options(address)
        self.width, self.height, self.fps = int(options["width"]), int(options["height"]), float(options["fps"])
        self.frame_count = self.read_ahead = 0
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

    def is_intra(self) -> bool:
        """Each picture is drawn by itself."""
        return True

    def retrieve(self) -> Picture:
        """Draw the frame."""
        return self._scene.frame(self._index)

    def news(self) -> DecoderNews:
        """Nothing ever breaks here."""
        return NO_NEWS

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
