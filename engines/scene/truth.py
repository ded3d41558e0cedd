"""What is true of the test scene at one moment: the label and the facts behind it."""

from __future__ import annotations

from dataclasses import dataclass

LABELS = ("idle", "passing", "loitering", "left_behind")
"""The labels in rising priority: where several apply, the later one wins."""

LOITERING_AFTER_S = 6.0
"""A person who has been in view for longer than this loiters."""


@dataclass(frozen=True)
class PersonTruth:
    """A person in view; positions are fractions of the picture, the feet being the anchor."""

    person: int
    x: float
    y: float
    height: float
    in_view_s: float
    carrying: bool


@dataclass(frozen=True)
class ObjectTruth:
    """A standing piece of luggage, furniture included; anchor is the middle of its foot."""

    x: float
    y: float
    height: float
    brought_by: int | None
    put_s: float
    left: bool


@dataclass(frozen=True)
class Truth:
    """Label and facts at `time_s`; `objects` holds everything that looks like luggage and stands on the floor."""

    time_s: float
    label: str
    people: tuple[PersonTruth, ...]
    objects: tuple[ObjectTruth, ...]

    @property
    def brought(self) -> int:
        """Standing objects that a person brought."""
        return sum(item.brought_by is not None for item in self.objects)

    @property
    def furniture(self) -> int:
        """Objects that look like luggage but stood there from the start."""
        return len(self.objects) - self.brought

    @property
    def left(self) -> int:
        """Standing objects whose bringer has gone."""
        return sum(item.left for item in self.objects)
