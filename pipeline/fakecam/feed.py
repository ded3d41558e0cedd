"""The clock of a camera: plays a media once and shows each picture to its viewers when it is due."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial

from pipeline.fakecam.board import View
from pipeline.fakecam.faults import Freeze, Resize
from pipeline.fakecam.media import Media, Playback
from pipeline.fakecam.viewer import Viewer
from pipeline.rtsp.h264 import CLOCK_HZ, AccessUnit


class Feed:
    """One paced run.

    Args:
        media: what to play.
        executor: where pictures are read and encoded, one read ahead of the one on show.
        viewers: who watches; may change while the feed runs.
        view: the faults of the camera.
    """

    def __init__(self, media: Media, executor: Executor, viewers: Sequence[Viewer], view: View) -> None:
        self._media, self._executor, self._viewers, self._view = media, executor, viewers, view
        from pipeline.fakecam.studio import Studio  # noqa: PLC0415 - needs PyAV

        self._studio = Studio(media.format)
        self._idr_asked = False

    async def run(self, start_s: float = 0.0, *, began_at: float | None = None) -> None:
        """Play from `start_s` to the end, then tell the viewers.

        `began_at` is the loop's time at which the media's time was 0; by default such that the first picture is due
        when it is ready. Raises SourceError where the media cannot be read on.
        """
        loop = asyncio.get_running_loop()
        playback = await loop.run_in_executor(self._executor, self._media.play, start_s)
        ahead = self._read(playback)
        try:
            while units := await ahead:
                ahead = self._read(playback)
                if began_at is None:
                    began_at = loop.time() - units[0].timestamp / CLOCK_HZ
                for unit in units:
                    await asyncio.sleep(began_at + unit.timestamp / CLOCK_HZ - loop.time())
                    await self._show(unit)
        finally:
            ahead.cancel()
        for viewer in tuple(self._viewers):
            await viewer.end()

    def _read(self, playback: Playback) -> asyncio.Future[list[AccessUnit]]:
        fresh = not self._idr_asked and (self._idr_wanted() or self._studio.busy)
        self._idr_asked = self._idr_asked or fresh
        return asyncio.get_running_loop().run_in_executor(self._executor, partial(playback.read, fresh=fresh))

    def _idr_wanted(self) -> bool:
        return any(viewer.wants_idr and not viewer.muted for viewer in self._viewers)

    async def _show(self, unit: AccessUnit) -> None:
        if unit.idr:
            self._idr_asked = False
        unit = await self._altered(unit)
        for viewer in tuple(self._viewers):
            await viewer.show(unit)

    async def _altered(self, unit: AccessUnit) -> AccessUnit:
        """The picture as the camera's faults make it."""
        self._studio.follow(unit)
        freeze, resize = self._view.find(Freeze), self._view.find(Resize)
        if not (freeze or resize or self._studio.busy):
            return unit
        alter = partial(self._studio.alter, unit, freeze, resize, fresh=self._idr_wanted())
        return await asyncio.get_running_loop().run_in_executor(self._executor, alter)
