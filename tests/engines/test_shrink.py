"""How pictures become small: the plain area average, or near it, in the memory that is given."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engines.scene import Scene
from engines.shrink import shrink, shrunk


def picture(width: int, height: int) -> np.ndarray:
    """A frame of the scene with some noise, so that there is something to lose."""
    frame = Scene(5, width=width, height=height, fps=5).frame(40)
    noise = np.random.default_rng(0).normal(0, 6, frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


def area(full: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(cv2.resize(full, (width, height), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize(
    ("full", "small"), [((640, 360), (160, 90)), ((1280, 720), (160, 90)), ((640, 360), (640, 360))]
)
def test_halving_gives_the_area_average_but_for_rounding(full: tuple[int, int], small: tuple[int, int]) -> None:
    frame = picture(*full)
    difference = shrunk(frame, small[::-1]).astype(int) - area(frame, *small)
    assert np.abs(difference).max() <= 2
    assert abs(difference.mean()) < 0.5


@pytest.mark.parametrize("full", [(640, 360), (1280, 720), (1920, 1080), (1919, 1079), (704, 576)])
def test_other_sizes_come_near_it(full: tuple[int, int]) -> None:
    frame = picture(*full)
    error = shrunk(frame, (224, 224)).astype(float) - area(frame, 224, 224)
    psnr_db = 10 * np.log10(255**2 / max(np.mean(error**2), 1e-9))
    assert psnr_db > 38
    naive = np.asarray(cv2.resize(frame, (224, 224), interpolation=cv2.INTER_NEAREST)).astype(float)
    assert np.mean((naive - area(frame, 224, 224)) ** 2) > 2 * np.mean(error**2), "the measure tells bad from good"


def test_a_small_picture_is_enlarged() -> None:
    into = np.zeros((90, 160, 3), np.uint8)
    shrink(np.full((45, 80, 3), 7, np.uint8), into)
    assert (into == 7).all()
