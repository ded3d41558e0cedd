"""What passes between capture processes and their parent beside frames."""

from capturing import plan

from pipeline.capture.bell import Bell, ring
from pipeline.capture.fleet import Fleet


def test_a_bell_is_heard_once_however_often_it_was_rung_and_never_makes_anybody_wait():
    bell = Bell()
    assert not bell.heard()
    for _ in range(100_000):
        bell.ring()
    while bell.heard():
        pass
    assert not bell.heard()
    ring(bell.rope_fd)
    assert bell.heard()
    bell.close()
    bell.ring()


def test_a_fleet_is_woken_at_once_and_nobody_has_arrived():
    with Fleet([]) as fleet:
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
