"""The empty room: wall, floor, windows and fittings, drawn once per scene and size."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.scene.canvas import Canvas, Image
from engines.scene.looks import RoomLook, hsv, shade


def draw_room(look: RoomLook, width: int, height: int) -> Image:
    """The room without anything that moves, uint8 `[height, width, 3]` BGR."""
    image = np.empty((height, width, 3), np.uint8)
    edge = round(look.horizon * height)
    image[:edge], image[edge:] = look.wall, look.floor
    canvas = Canvas(image)
    _floor(canvas, look)
    canvas.rectangle(0.0, look.horizon - 0.015, canvas.width, look.horizon + 0.005, shade(look.wall, 0.6))
    for x, opening, tone in look.openings:
        _opening(canvas, look, x * canvas.width, opening, tone)
    _fittings(canvas, look)
    return _textured(image, look)


def _floor(canvas: Canvas, look: RoomLook) -> None:
    """Tiles or planks in perspective; the lines meet far above the horizon."""
    if look.floor_kind == "plain":
        return
    line, middle, depth = shade(look.floor, 0.85), 0.5 * canvas.width, 1.0 - look.horizon
    for step in range(-14, 15):
        near, far = middle + step * 0.22, middle + step * 0.12
        canvas.limb((far, look.horizon), (near, 1.0), 0.004, line)
    if look.floor_kind == "tiles":
        for step in range(1, 9):
            y = look.horizon + depth * (step / 8.0) ** 1.6
            canvas.limb((0.0, y), (canvas.width, y), 0.004, line)


def _opening(canvas: Canvas, look: RoomLook, x: float, half: float, tone: float) -> None:
    """A door, a window or a picture on the wall."""
    top, bottom = (0.12, look.horizon) if tone < 0.35 else (0.10, 0.10 + 0.55 * look.horizon)
    canvas.rectangle(x - half - 0.012, top - 0.012, x + half + 0.012, bottom, shade(look.wall, 0.5))
    fill = hsv(tone * 3.0, 0.35, 0.35 if tone < 0.35 else 0.85)
    canvas.rectangle(x - half, top, x + half, bottom - (0.0 if tone < 0.35 else 0.012), fill)
    if tone > 0.6:
        canvas.rectangle(x - 0.006, top, x + 0.006, bottom, shade(look.wall, 0.5))


def _fittings(canvas: Canvas, look: RoomLook) -> None:
    """A bench and a plant against the wall: not luggage, and never in its way."""
    if look.bench_x is not None:
        x, y, colour = look.bench_x * canvas.width, look.horizon + 0.05, shade(look.floor, 0.5)
        canvas.rectangle(x - 0.18, y - 0.06, x + 0.18, y - 0.035, colour)
        for leg in (-0.16, 0.15):
            canvas.rectangle(x + leg, y - 0.04, x + leg + 0.015, y + 0.02, colour)
    if look.plant_x is not None:
        x, y = look.plant_x * canvas.width, look.horizon + 0.03
        for lean in (-0.05, -0.02, 0.01, 0.045):
            canvas.limb((x, y - 0.05), (x + lean, y - 0.22 + abs(lean)), 0.02, hsv(0.33 + lean, 0.6, 0.35))
        canvas.polygon([(x - 0.03, y - 0.06), (x + 0.03, y - 0.06), (x + 0.02, y), (x - 0.02, y)], hsv(0.05, 0.5, 0.45))


def _textured(image: Image, look: RoomLook) -> Image:
    """Add stains and grain of fixed world size, and darken the corners."""
    rng = np.random.default_rng(look.texture_seed)
    height, width = image.shape[:2]
    field = np.zeros((height, width), np.float32)
    for rows, share in ((6, 0.5), (24, 0.3), (90, 0.35)):
        grid = rng.standard_normal((rows, rows * 2)).astype(np.float32)
        field += share * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    shaded = image + look.texture * field[:, :, None]
    return np.clip(shaded * _vignette(width, height, look.vignette)[:, :, None], 0, 255).astype(np.uint8)


def _vignette(width: int, height: int, strength: float) -> NDArray[np.float32]:
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    fade: NDArray[np.float32] = 1.0 - strength * 0.5 * (x[None] ** 2 + y[:, None] ** 2)
    return fade
