"""One camera of a server: its media, its start mode and the feeds that run for its viewers."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor
from typing import Literal

from engines.errors import VidpipeError
from pipeline.fakecam.board import View
from pipeline.fakecam.faults import Resize
from pipeline.fakecam.feed import Feed
from pipeline.fakecam.media import Media, StreamFormat
from pipeline.fakecam.viewer import Viewer

StartMode = Literal["live", "on_connect"]
"""`live`: one clock for all clients, who join where it stands. `on_connect`: each client gets the media from time 0.

With `on_connect` RTP-Info ties media time 0 to the first picture. FFmpeg, and so OpenCV, still gives the first packet
of an RTSP stream no time, whatever the server, and counts from the second: OpenCV's POS_MSEC of picture `i` is that of
`i - 1`.
"""

_READY_S = 0.05  # a live feed begins this far ahead, so its first picture is ready in time

log = logging.getLogger(__name__)


class Camera:
    """Belongs to one event loop.

    Args:
        path: name below the server's address, without a leading slash.
        media: what it shows.
        start: see `StartMode`.
        began_at: the loop's time at which a live camera's media time was 0.
        executor: where pictures are read and encoded.
        view: the faults of the camera.
    """

    def __init__(
        self, path: str, media: Media, start: StartMode, *, began_at: float, executor: Executor, view: View
    ) -> None:
        self.path, self.media, self.start = path, media, start
        self._began_at, self._executor, self._view = began_at, executor, view
        self._watching: list[Viewer] = []
        self._feeds: dict[Viewer | None, asyncio.Task[None]] = {}  # a live camera has one feed, under None

    @property
    def lossless(self) -> bool:
        """Whether the camera waits for a slow client instead of leaving pictures out."""
        return self.start == "on_connect"

    @property
    def format(self) -> StreamFormat:
        """What a client is told before the first picture."""
        shown, resize = self.media.format, self._view.find(Resize)
        if resize is None:
            return shown
        from pipeline.fakecam.studio import altered, altered_format  # noqa: PLC0415 - needs PyAV

        return altered_format(altered(shown, resize))

    @property
    def viewers(self) -> tuple[Viewer, ...]:
        """Who is watching."""
        return tuple(self._watching)

    def attach(self, viewer: Viewer) -> None:
        """Let a viewer watch from now on."""
        self._watching.append(viewer)
        if self.start == "on_connect":
            self._feeds[viewer] = self._begin([viewer], start_s=0.0, began_at=None)
        elif None not in self._feeds or self._feeds[None].done():
            start_s = asyncio.get_running_loop().time() - self._began_at + _READY_S
            self._feeds[None] = self._begin(self._watching, start_s=start_s, began_at=self._began_at)

    def detach(self, viewer: Viewer) -> None:
        """Let a viewer go; a feed that nobody watches ends."""
        if viewer in self._watching:
            self._watching.remove(viewer)
        unwatched = viewer if self.start == "on_connect" else None
        if (unwatched is viewer or not self._watching) and (task := self._feeds.pop(unwatched, None)):
            task.cancel()

    def _begin(self, viewers: list[Viewer], *, start_s: float, began_at: float | None) -> asyncio.Task[None]:
        feed = Feed(self.media, self._executor, viewers, self._view)
        return asyncio.get_running_loop().create_task(self._run(feed, viewers, start_s, began_at))

    async def _run(self, feed: Feed, viewers: list[Viewer], start_s: float, began_at: float | None) -> None:
        try:
            await feed.run(start_s, began_at=began_at)
        except VidpipeError as error:
            log.warning("%s: the media ends early: %s", self.path, error)
            for viewer in tuple(viewers):
                await viewer.end()
