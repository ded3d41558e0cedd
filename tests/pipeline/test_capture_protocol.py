"""What passes between capture processes and their parent beside frames."""

import os

from capturing import plan

from pipeline.capture.fleet import Fleet
from pipeline.capture.protocol import NOBODY, pack_token, unpack_tokens


def test_tokens_come_out_as_they_went_in():
    tokens = [0, 3, 255, 256, NOBODY]
    assert unpack_tokens(b"".join(map(pack_token, tokens))) == tokens
    assert unpack_tokens(b"") == []


def test_half_a_token_is_left_out():
    assert unpack_tokens(pack_token(5) + b"x") == [5]


def test_the_fleet_knows_who_has_frames_and_ignores_whom_it_does_not_know():
    with Fleet([]) as fleet:
        os.write(fleet._wake_out, pack_token(7) + pack_token(0))
        fleet.wake()
        fleet.wait(5.0)
        assert fleet.arrived == []
    fleet.wake()  # of one that is gone: nothing happens


def test_each_frame_of_a_camera_is_told_once():
    with Fleet([plan("a", "scene://?fps=30"), plan("b", "scene://?fps=30")]) as fleet:
        told = {"a": 0, "b": 0}
        while min(told.values()) < 5:
            fleet.wait(5.0)
            for camera in fleet.arrived:
                told[camera.plan.name] += 1
        for name, camera in fleet.cameras.items():
            assert camera.ring.counts().written >= told[name] >= 5
