"""Random appearances of people, luggage and rooms: plain values that the renderer draws."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""

OBJECT_KINDS = ("suitcase", "backpack", "handbag", "box")


@dataclass(frozen=True)
class PersonLook:
    """Sizes are fractions of the picture's height at depth scale 1."""

    height: float
    build: float
    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    shoes: Colour
    coat: bool
    hat: bool


@dataclass(frozen=True)
class ObjectLook:
    """One piece of luggage, or of furniture that looks exactly like luggage."""

    kind: str
    height: float
    aspect: float
    body: Colour
    trim: Colour


@dataclass(frozen=True)
class RoomLook:
    """Walls, floor and fittings; `texture_seed` fixes the random fields."""

    horizon: float
    wall: Colour
    floor: Colour
    floor_kind: str
    openings: tuple[tuple[float, float, float], ...]
    bench_x: float | None
    plant_x: float | None
    vignette: float
    texture: float
    noise: float
    texture_seed: int


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """BGR from hue, saturation and value in 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return int(blue * 255), int(green * 255), int(red * 255)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (below 1) or lighter (above 1)."""
    blue, green, red = (int(min(255.0, max(0.0, channel * factor))) for channel in colour)
    return blue, green, red


def random_person(rng: np.random.Generator) -> PersonLook:
    """A person of random size and clothing."""
    child = rng.random() < 0.15
    return PersonLook(
        height=float(rng.uniform(0.30, 0.37) if child else rng.uniform(0.41, 0.53)),
        build=float(rng.uniform(0.85, 1.2)),
        skin=hsv(rng.uniform(0.04, 0.08), rng.uniform(0.25, 0.6), rng.uniform(0.4, 0.95)),
        hair=hsv(rng.uniform(0.02, 0.12), rng.uniform(0.1, 0.7), rng.uniform(0.05, 0.6)),
        top=hsv(rng.random(), rng.uniform(0.1, 0.9), rng.uniform(0.15, 0.95)),
        trousers=hsv(rng.random(), rng.uniform(0.05, 0.6), rng.uniform(0.1, 0.7)),
        shoes=hsv(rng.random(), 0.2, rng.uniform(0.05, 0.5)),
        coat=bool(rng.random() < 0.35),
        hat=bool(rng.random() < 0.25),
    )


def random_object(rng: np.random.Generator, floor: Colour) -> ObjectLook:
    """A piece of luggage that stands out a little from `floor`; furniture and what people carry alike."""
    kind = OBJECT_KINDS[int(rng.integers(len(OBJECT_KINDS)))]
    body = floor
    while sum(abs(a - b) for a, b in zip(body, floor, strict=True)) < 110:
        body = hsv(rng.random(), rng.uniform(0.1, 0.95), rng.uniform(0.08, 0.95))
    low, high = {"suitcase": (0.6, 0.8), "backpack": (0.7, 0.85), "handbag": (1.1, 1.4), "box": (0.9, 1.3)}[kind]
    height = rng.uniform(0.10, 0.13) if kind in ("handbag", "box") else rng.uniform(0.125, 0.165)
    return ObjectLook(
        kind, float(height), float(rng.uniform(low, high)), body, shade(body, 0.45 if sum(body) > 240 else 2.2)
    )


def random_room(rng: np.random.Generator) -> RoomLook:
    """A room or a square with windows, doors and fittings."""
    count = int(rng.integers(1, 4))
    slots = rng.permutation(4)[:count]
    openings = tuple((0.08 + 0.24 * float(slot), float(rng.uniform(0.08, 0.16)), float(rng.random())) for slot in slots)
    return RoomLook(
        horizon=float(rng.uniform(0.40, 0.50)),
        wall=hsv(rng.random(), rng.uniform(0.0, 0.4), rng.uniform(0.35, 0.9)),
        floor=hsv(rng.random(), rng.uniform(0.0, 0.4), rng.uniform(0.3, 0.8)),
        floor_kind=str(rng.choice(["tiles", "planks", "plain"])),
        openings=openings,
        bench_x=float(rng.uniform(0.15, 0.85)) if rng.random() < 0.4 else None,
        plant_x=float(rng.uniform(0.05, 0.95)) if rng.random() < 0.4 else None,
        vignette=float(rng.uniform(0.0, 0.35)),
        texture=float(rng.uniform(4.0, 14.0)),
        noise=float(rng.uniform(1.5, 5.0)),
        texture_seed=int(rng.integers(2**31)),
    )
