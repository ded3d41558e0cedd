"""From a schedule to pictures: a cached picture of all that stands, then people in order of depth, light and noise."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.scene.canvas import Canvas, Image
from engines.scene.figures import draw_object, draw_object_shadow, draw_person, draw_person_shadow
from engines.scene.light import Light
from engines.scene.room import draw_room
from engines.scene.schedule import Schedule
from engines.scene.visits import Standing, Visit, depth_scale

NOISE_MARGIN = 96
"""How far the window into the noise texture may move, in pixels."""


class Renderer:
    """Draws moments of one schedule at one size; sensor noise depends on the seed and the frame's index alone."""

    def __init__(self, schedule: Schedule, seed: int, width: int, height: int) -> None:
        self._schedule, self._seed, self._size = schedule, seed, (width, height)
        self._light = Light(seed)
        self._room = draw_room(schedule.room, width, height)
        self._noise = _noise(width + NOISE_MARGIN, height + NOISE_MARGIN, round(4 * schedule.room.noise))
        self._still_key: tuple[Standing, ...] | None = None
        self._still = self._room

    def render(self, time_s: float, index: int) -> Image:
        """The picture at a time, uint8 `[height, width, 3]` BGR."""
        self._schedule.extend(time_s)
        standing = sorted(self._schedule.standing_at(time_s), key=lambda item: item.y)
        people = self._schedule.visits_at(time_s)
        image = self._stills(standing)
        if people:
            image = image.copy()
            self._draw_people(Canvas(image), people, standing, time_s)
        lit = np.asarray(cv2.LUT(image, _table(self._light.gain(time_s))), np.uint8)
        return self._add_noise(lit, index)

    def _stills(self, standing: list[Standing]) -> Image:
        """The room with all that stands in it; drawn again only when something was put down or taken."""
        key = tuple(standing)
        if key != self._still_key:
            self._still_key, self._still = key, self._room.copy()
            canvas = Canvas(self._still)
            for item in standing:
                where, scale = item.x * canvas.width, depth_scale(item.y)
                draw_object_shadow(canvas, item.look, where, item.y, scale=scale, slant=self._light.slant)
            for item in standing:
                _draw_standing(canvas, item)
        return self._still

    def _draw_people(self, canvas: Canvas, people: list[Visit], standing: list[Standing], time_s: float) -> None:
        """People from back to front; what stands in front of one is drawn over them again."""
        feet = {visit.person: visit.path.at(time_s)[1] for visit in people}
        for visit in people:
            draw_person_shadow(canvas, visit, time_s, self._light.slant)
        front = [item for item in standing if item.y > min(feet.values())]
        things: list[tuple[float, Standing | Visit]] = [(item.y, item) for item in front]
        things += [(feet[visit.person], visit) for visit in people]
        for _, thing in sorted(things, key=lambda pair: pair[0]):
            if isinstance(thing, Standing):
                _draw_standing(canvas, thing)
            else:
                draw_person(canvas, thing, time_s)

    def _add_noise(self, image: Image, index: int) -> Image:
        dx, dy = np.random.default_rng([self._seed, 4, index]).integers(0, NOISE_MARGIN, 2)
        width, height = self._size
        noise = self._noise[dy : dy + height, dx : dx + width]
        return np.asarray(cv2.addWeighted(image, 1.0, noise, 1.0, -128.0), np.uint8)


def _draw_standing(canvas: Canvas, item: Standing) -> None:
    draw_object(canvas, item.look, item.x * canvas.width, item.y, depth_scale(item.y))


def _table(gain: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Look-up table of the light's gains, uint8 `[1, 256, 3]`."""
    return np.asarray(np.clip(np.arange(256)[None, :, None] * gain, 0, 255), np.uint8)


@lru_cache(maxsize=32)
def _noise(width: int, height: int, quarter_levels: int) -> Image:
    """Sensor noise around 128 with a standard deviation in quarters of a grey level; a pure function, hence cached."""
    rng = np.random.default_rng([width, height, quarter_levels])
    noise = rng.standard_normal((height, width, 3), np.float32) * (quarter_levels / 4.0) + 128.0
    return np.asarray(np.clip(np.rint(noise), 0, 255), np.uint8)
