"""Real capture processes before a camera that fails in known ways: what each fault costs, says and counts."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from capturing import Log, plan, read
from numbered import numbered

from pipeline.capture.fleet import Fleet
from pipeline.capture.ring import CaptureCounts, FrameFlag
from pipeline.capture.state import CameraState
from pipeline.fakecam import Encoding, FakeCameraServer
from pipeline.fakecam.faults import (
    Codec,
    Corrupt,
    Freeze,
    Jump,
    NoPackets,
    NoVideo,
    Reset,
    Resize,
    Stall,
    Wrap,
)
from pipeline.fakecam.pictures import PictureMedia

BACK_ENDS = ["opencv", pytest.param("pyav", marks=pytest.mark.slow)]
FPS, GOP_S = 25, 1.0
RATE_HZ = 10.0
STALL_S = 2.0
FROZEN_S = 1.5

FAULTS = {
    "sound": None,
    "reset": (Reset(), None),
    "corrupt": (Corrupt(1.0), 0.2),
    "resize": (Resize(320, 240), 1.0),
    "freeze": (Freeze("encoded"), 2.5),
    "held": (Freeze("exact"), 2.5),
    "noisy": (Freeze("noisy"), 2.5),
    "jump": (Jump(3600.0), None),
    "back": (Jump(-30.0), None),
}


@dataclass(frozen=True)
class Told:
    """What became of one camera: its frames and states from the fault on."""

    log: Log
    counts: CaptureCounts
    reconnects: dict[str, int]
    connections: int
    began_ns: int

    def count(self, flag: FrameFlag) -> int:
        return sum(1 for header in self.log.headers if flag in header.flags)

    def states(self) -> list[str]:
        return states(self.log)


def states(log: Log) -> list[str]:
    """The states it went through, each once."""
    return [key for key, _ in itertools.groupby(state.value for state, _ in log.states)]


def pair() -> dict[str, PictureMedia]:
    return {"a": media(), "b": media()}


def media(fps: float = FPS) -> PictureMedia:
    return PictureMedia(lambda: numbered, Encoding(160, 120, fps, gop_s=GOP_S))


def cameras(server: FakeCameraServer, capture: str, **options: object) -> list:
    settings = {"stall_s": STALL_S, "frozen_after_s": FROZEN_S, "capture": capture, **options}
    return [plan(name, url, RATE_HZ, hold_frozen=name == "held", **settings) for name, url in server.urls.items()]


def flowing(count: int) -> Callable[[dict[str, Log]], bool]:
    return lambda logs: all(len(log.numbers) >= count for log in logs.values())


@pytest.fixture(scope="module", params=BACK_ENDS)
def told(request) -> dict[str, Told]:
    """One run of all faults side by side, a camera each, until each is over and the stream flows again."""
    with FakeCameraServer({name: media() for name in FAULTS}) as server, Fleet(cameras(server, request.param)) as fleet:
        read(fleet, flowing(8), limit_s=60)
        began_ns = time.monotonic_ns()
        for name, asked in FAULTS.items():
            if asked is not None:
                server.inject(asked[0], name, for_s=asked[1])
        until_s = time.monotonic() + 3.5
        logs = read(
            fleet,
            lambda logs: (
                time.monotonic() > until_s
                and all(camera.state is CameraState.RUNNING for camera in fleet.cameras.values())
            ),
        )
        return {
            name: Told(logs[name], camera.ring.counts(), dict(camera.reconnects), camera.connections, began_ns)
            for name, camera in fleet.cameras.items()
        }


def test_every_count_adds_up_after_every_fault(told):
    for name, each in told.items():
        counts = each.counts
        assert counts.due == counts.taken + counts.waiting + counts.thinned + counts.overrun, name
        assert counts.overrun == 0, name


def test_time_never_runs_back_and_no_frame_comes_twice(told):
    for name, each in told.items():
        times = [header.media_ns for header in each.log.headers]
        assert times == sorted(set(times)), name
        sequences = [header.sequence for header in each.log.headers]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences))), name


def test_a_camera_beside_failing_ones_notices_nothing(told):
    sound = told["sound"]
    assert (sound.connections, sound.states()) == (1, ["running"])
    seen = FrameFlag(0)
    for header in sound.log.headers:
        seen |= header.flags
    assert seen & ~FrameFlag.CUT == FrameFlag(0)  # the pictures here are bar codes


def test_a_connection_that_breaks_is_seen_in_half_a_second_and_made_again(told):
    reset = told["reset"]
    assert reset.reconnects == {"eof": 1}
    assert reset.connections == 2
    assert reset.states()[:2] == ["running", "backoff"]
    assert reset.count(FrameFlag.CONNECTED) == 1


def test_damage_is_counted_and_marked_until_a_key_frame_and_costs_no_connection(told):
    corrupt = told["corrupt"]
    assert corrupt.connections == 1
    assert corrupt.counts.damaged > 0
    damaged = [k for k, h in enumerate(corrupt.log.headers) if FrameFlag.DAMAGED in h.flags]
    assert 1 <= len(damaged) <= (GOP_S + 0.2) * RATE_HZ + 2
    assert damaged[-1] < len(corrupt.log.headers) - 1, "the stream recovers"
    assert sum(each.counts.damaged for name, each in told.items() if name != "corrupt") == 0


def test_another_picture_size_is_told_with_the_very_frame_there_and_back(told):
    assert told["resize"].count(FrameFlag.RESIZED) == 2
    assert told["resize"].connections == 1
    assert [name for name, each in told.items() if each.count(FrameFlag.RESIZED)] == ["resize"]


def test_a_frozen_picture_is_told_from_a_still_scene_with_noise(told):
    assert told["freeze"].states() == ["running", "frozen", "running"]
    assert told["noisy"].states() == ["running"]
    headers = told["freeze"].log.headers
    flags = [FrameFlag.FROZEN in header.flags for header in headers]
    first, last = flags.index(True), len(flags) - 1 - flags[::-1].index(True)
    assert all(flags[first : last + 1]), "a lasting condition"
    assert (headers[first].monotonic_ns - told["freeze"].began_ns) / 1e9 < FROZEN_S + 1.0
    assert told["freeze"].connections == 1


def test_held_pictures_stay_away_and_the_next_one_says_so(told):
    held = told["held"]
    assert held.states() == ["running", "frozen", "running"]
    assert held.count(FrameFlag.FROZEN) == 0
    (after,) = [k for k, header in enumerate(held.log.headers) if FrameFlag.HELD in header.flags]
    pause_s = (held.log.headers[after].media_ns - held.log.headers[after - 1].media_ns) / 1e9
    assert pause_s > 0.5
    assert held.log.headers[after].dropped == 0, "what is held back was not due"


@pytest.mark.parametrize("name", ["jump", "back"])
def test_a_clock_that_jumps_is_told_once_and_swallowed(told, name):
    assert told[name].count(FrameFlag.JUMPED) == 1
    assert told[name].connections == 1
    times = [header.media_ns for header in told[name].log.headers]
    assert max(b - a for a, b in itertools.pairwise(times)) < 1.5e9


@pytest.mark.slow
@pytest.mark.parametrize("capture", ["opencv", "pyav"])
def test_a_time_stamp_that_wraps_goes_unseen(capture):
    with FakeCameraServer({"a": media()}) as server:
        server.inject(Wrap(3.0))
        with Fleet(cameras(server, capture)) as fleet:
            log = read(fleet, lambda logs: len(logs["a"].headers) > 5 * RATE_HZ)["a"]
    assert not any(FrameFlag.JUMPED in header.flags for header in log.headers)
    gaps = [b.media_ns - a.media_ns for a, b in itertools.pairwise(log.headers[2:])]
    assert max(gaps) < 0.5e9


@pytest.mark.slow
@pytest.mark.parametrize("capture", ["opencv", "pyav"])
def test_a_pause_within_the_limit_costs_no_connection(capture):
    with FakeCameraServer({"a": media()}) as server, Fleet(cameras(server, capture, stall_s=5.0)) as fleet:
        before = read(fleet, flowing(10))["a"].headers[-1]
        server.inject(Stall(), "a", for_s=1.5)
        log = read(fleet, flowing(20))["a"]
        assert (fleet.cameras["a"].connections, fleet.cameras["a"].reconnects) == (1, {})
    arrivals = [header.monotonic_ns for header in (before, *log.headers)]
    assert max(b - a for a, b in itertools.pairwise(arrivals)) > 1.2e9


@pytest.mark.slow
@pytest.mark.parametrize("capture", ["opencv", "pyav"])
def test_a_stall_ends_the_connection_and_no_frame_of_it_is_passed_on(capture):
    with FakeCameraServer({"a": media()}) as server, Fleet(cameras(server, capture, stall_s=2.0)) as fleet:
        camera = fleet.cameras["a"]
        before = read(fleet, flowing(10))["a"]
        began_s = time.monotonic()
        server.inject(Stall(), "a", for_s=3.5)
        ended_s = []

        def back(logs: dict[str, Log]) -> bool:
            if camera.state is CameraState.BACKOFF and not ended_s:
                ended_s.append(time.monotonic())
            return camera.connections == 2 and camera.state is CameraState.RUNNING and len(logs["a"].headers) > 20

        log = read(fleet, back)["a"]
        assert camera.reconnects == {"stall": 1}
        assert ended_s[0] - began_s < 2.5
    assert [key for key, _ in itertools.groupby(s.value for s, _ in log.states)][:3] == [
        "running",
        "stalled",
        "backoff",
    ]
    headers = [*before.headers, *log.headers]
    arrivals = [header.monotonic_ns for header in headers]
    pauses = [b - a for a, b in itertools.pairwise(arrivals) if b - a > 0.5e9]
    assert len(pauses) == 1, "the frames that the decoder held back would make another one"
    behind = next(k for k, (a, b) in enumerate(itertools.pairwise(arrivals)) if b - a > 0.5e9) + 1
    assert FrameFlag.CONNECTED in headers[behind].flags


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        (NoPackets(), CameraState.BACKOFF, "no_picture"),
        (NoVideo(), CameraState.UNSUPPORTED, "unsupported"),
        (Codec("X-OTHER"), CameraState.UNSUPPORTED, "unsupported"),
    ],
    ids=["silent", "no video", "codec"],
)
@pytest.mark.parametrize("capture", ["opencv", "pyav"])
def test_a_camera_that_gives_no_picture_never_runs_and_is_tried_again_as_it_deserves(capture, fault, state, reason):
    with FakeCameraServer({"a": media()}) as server:
        server.inject(fault, "a")
        with Fleet(cameras(server, capture)) as fleet:
            camera = fleet.cameras["a"]
            log = read(fleet, lambda _: bool(camera.reconnects))["a"]
            wait_s = camera.retry_in_s(time.monotonic())
            assert (camera.state, dict(camera.reconnects)) == (state, {reason: 1})
    assert CameraState.RUNNING not in {each for each, _ in log.states}
    assert (wait_s > 55) is (state is CameraState.UNSUPPORTED)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGSEGV, signal.SIGKILL])
def test_a_capture_process_that_hangs_or_dies_is_replaced_and_the_loop_does_not_wait_for_it(number):
    with FakeCameraServer(pair()) as server, Fleet(cameras(server, "opencv")) as fleet:
        camera = fleet.cameras["a"]
        read(fleet, flowing(10 * int(RATE_HZ)))
        assert camera.process is not None
        os.kill(camera.process.pid, number)
        hit_s, turns = time.monotonic(), [time.monotonic()]
        seen_s: list[float] = []

        def back(logs: dict[str, Log]) -> bool:
            turns.append(time.monotonic())
            if camera.state is CameraState.BACKOFF and not seen_s:
                seen_s.append(turns[-1] - hit_s)
            return camera.connections == 2 and camera.state is CameraState.RUNNING

        log = read(fleet, back)["b"]
        back_s = time.monotonic() - hit_s
    limit_s = 3.0 if number == signal.SIGSTOP else 1.0
    assert seen_s[0] <= limit_s, seen_s
    assert back_s - seen_s[0] <= 3.5, (seen_s, back_s)
    assert max(b - a for a, b in itertools.pairwise(turns)) < 0.25, (
        "a turn of the loop, its own wait of 0.05 s included"
    )
    assert max(b.monotonic_ns - a.monotonic_ns for a, b in itertools.pairwise(log.headers)) < 0.5e9


@pytest.mark.slow
def test_a_process_that_crashes_again_and_again_is_tried_slowly_and_the_others_live_on():
    with FakeCameraServer({"a": media(), "b": media()}) as server, Fleet(cameras(server, "opencv")) as fleet:
        camera = fleet.cameras["a"]
        killed: set[int] = set()

        def looping(logs: dict[str, Log]) -> bool:
            process = camera.process
            if process is not None and process.pid not in killed:
                killed.add(process.pid)
                os.kill(process.pid, signal.SIGKILL)
            return camera.reconnects["crashed"] == 5

        log = read(fleet, looping, limit_s=60)["b"]
        wait_s = camera.retry_in_s(time.monotonic())
        assert camera.state is CameraState.BACKOFF
    assert wait_s > 55
    assert max(b.monotonic_ns - a.monotonic_ns for a, b in itertools.pairwise(log.headers)) < 0.5e9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_no_frame_is_lost_doubled_or_uncounted_however_often_processes_are_killed(seed):
    chance = random.Random(seed)
    with FakeCameraServer({name: media() for name in "abc"}) as server, Fleet(cameras(server, "opencv")) as fleet:
        deaths = sorted((chance.uniform(2.0, 25.0), name) for name in "abc" for _ in range(4))
        began_s = time.monotonic()

        def over(logs: dict[str, Log]) -> bool:
            for camera in fleet.cameras.values():
                counts = camera.ring.counts()
                assert counts.due == counts.taken + counts.waiting + counts.thinned + counts.overrun
            while deaths and time.monotonic() - began_s > deaths[0][0]:
                process = fleet.cameras[deaths.pop(0)[1]].process
                if process is not None:
                    os.kill(process.pid, chance.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM]))
            return not deaths and all(camera.state is CameraState.RUNNING for camera in fleet.cameras.values())

        logs = read(fleet, over, limit_s=90)
        fleet.halt()
        last = read(fleet, lambda _: not any(camera.ring.backlog for camera in fleet.cameras.values()))
        for name, camera in fleet.cameras.items():
            headers, counts = [*logs[name].headers, *last[name].headers], camera.ring.counts()
            assert [header.sequence for header in headers] == list(range(counts.written))
            assert sum(header.dropped for header in headers) <= counts.thinned + counts.overrun
            assert counts.due == counts.taken + counts.thinned + counts.overrun
            times = [header.media_ns for header in headers]
            assert times == sorted(set(times))
