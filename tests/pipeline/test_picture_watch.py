"""What the pictures themselves tell: a frozen feed told from a still scene, a cut told from motion and other light."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.scene import Scene
from pipeline.capture.picture_watch import PictureWatch
from pipeline.capture.ring import FrameFlag

FEED = Path(__file__).parents[3] / "shared" / "data" / "feeds" / "vtest_bar.mp4"
HZ = 5


def room(seed: int = 1, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """Large patches of different brightness, uint8 [height, width, 3]."""
    patches = np.random.default_rng(seed).integers(30, 220, (6, 8)).astype(np.uint8)
    return np.repeat(cv2.resize(patches, size[::-1], interpolation=cv2.INTER_CUBIC)[..., None], 3, axis=2)


def coded(picture: np.ndarray, seed: int, levels: float = 2.0) -> np.ndarray:
    """As it looks after one more round of coding: a fixed error that belongs to the seed."""
    error = np.random.default_rng(seed).normal(0, levels, picture.shape[:2])
    return np.clip(picture + error[..., None], 0, 255).astype(np.uint8)


def watch(pictures, after_s: float = 4.0) -> list[FrameFlag]:
    watcher = PictureWatch(after_s)
    return [watcher.look(picture, round(k * 1e9 / HZ)) for k, picture in enumerate(pictures)]


def frozen(flags) -> list[bool]:
    return [FrameFlag.FROZEN in each for each in flags]


def cuts(flags) -> list[int]:
    return [k for k, each in enumerate(flags) if FrameFlag.CUT in each]


def test_the_same_picture_again_and_again_is_frozen_after_so_long_and_not_before():
    assert frozen(watch([room()] * 30)) == [False] * 20 + [True] * 10


def test_a_frozen_picture_has_a_few_looks_that_come_back_with_the_key_frames():
    looks = [coded(room(), seed) for seed in range(3)]
    cycle = [looks[k // 3 % 3] for k in range(60)]
    assert all(frozen(watch(cycle))[25:])


def test_a_still_scene_has_a_new_look_with_each_key_frame():
    scene = [coded(room(), k // 10) for k in range(120)]  # between two key frames nothing but skipped blocks
    assert not any(frozen(watch(scene)))


def test_noise_in_every_picture_is_not_frozen():
    assert not any(frozen(watch([coded(room(), k, 1.0) for k in range(60)])))


def test_a_clock_in_the_corner_is_enough():
    def with_clock(k: int) -> np.ndarray:
        picture = room()
        cv2.putText(picture, f"12:00:{k // HZ:02}", (8, 230), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
        return picture

    assert not any(frozen(watch([with_clock(k) for k in range(60)])))


def test_it_moves_again_at_once():
    flags = frozen(watch([room()] * 30 + [room(2)] * 3))
    assert flags[29:31] == [True, False]


def test_another_size_begins_anew():
    flags = watch([room()] * 15 + [room(size=(480, 640))] * 15)
    assert not any(frozen(flags))
    assert cuts(flags) == []


def test_another_place_is_a_cut():
    noisy = [coded(room(1), k) for k in range(10)] + [coded(room(2), k) for k in range(10)]
    assert cuts(watch(noisy)) == [10]


def test_a_covered_lens_is_a_cut():
    assert cuts(watch([room()] * 5 + [np.full_like(room(), 12)] * 5)) == [5]


def test_a_light_that_is_switched_is_none():
    dark = (room() * 0.4).astype(np.uint8)
    assert cuts(watch([room()] * 5 + [dark] * 5 + [room()] * 5)) == []


def test_another_place_after_a_pause_is_a_gap_and_no_cut():
    watcher = PictureWatch(4.0)
    watcher.look(room(1), 0)
    assert watcher.look(room(2), 3_000_000_000) == FrameFlag(0)


@pytest.mark.parametrize("seed", [1, 7])
def test_the_test_scene_is_neither_frozen_nor_cut(seed):
    scene = Scene(seed, width=320, height=180, fps=HZ)
    assert set(watch(scene.frame(k) for k in range(150))) == {FrameFlag(0)}


@pytest.mark.data
@pytest.mark.skipif(not FEED.exists(), reason="the street scene does not lie beside the checkout")
@pytest.mark.parametrize("step", [2, 5])
def test_real_footage_is_neither_frozen_nor_cut(step):
    capture = cv2.VideoCapture(str(FEED))
    pictures = []
    while capture.grab():
        if len(pictures) % step == 0:
            pictures.append(capture.retrieve()[1])
        else:
            pictures.append(None)
    seen = watch(picture for picture in pictures if picture is not None)
    assert len(seen) >= 100
    assert set(seen) == {FrameFlag(0)}
