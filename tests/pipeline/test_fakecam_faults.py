"""Each fault of the fake camera, seen through a client that looks at every byte."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from numbered import SIZE, decoded, numbered_media, numbers, ticks
from rtsp_client import Picture, RtspClient

from engines.errors import ConfigError, SourceError
from pipeline.fakecam import FakeCamera, FakeCameraServer
from pipeline.fakecam.faults import (
    Answer,
    Close,
    Codec,
    Corrupt,
    Drip,
    Drop,
    Fault,
    Freeze,
    Full,
    Hang,
    Jump,
    NoPackets,
    NoVideo,
    Off,
    Reset,
    Resize,
    Silent,
    SlowAccept,
    Stall,
    StopClock,
    Truncate,
    Wrap,
)
from pipeline.fakecam.history import FaultBegan, FaultEnded, PictureSent
from pipeline.rtsp.sdp import parse_sdp
from pipeline.rtsp.sps import parse_sps

QUIET_S = 0.1
RATE = 200.0
STEP_TICKS = ticks(1, RATE)


@pytest.fixture
def camera() -> Iterator[FakeCamera]:
    with FakeCamera(numbered_media(gop_s=0.1, rate=RATE), start="on_connect") as camera:
        yield camera


def ended_by(client: RtspClient) -> str:
    """How the other side ends the connection."""
    try:
        while client.socket.recv(65536):
            pass
    except ConnectionResetError:
        return "reset"
    return "close"


def steps(pictures: list[Picture]) -> list[int]:
    """Differences of the RTP timestamps, as a receiver unwraps them."""
    return [((b.timestamp - a.timestamp + 2**31) % 2**32) - 2**31 for a, b in pairwise(pictures)]


def test_silent_camera_takes_connections_and_says_nothing(camera: FakeCamera) -> None:
    with RtspClient(camera.url) as watching:
        watching.play()
        watching.pictures(2)
        camera.inject(Silent())
        with RtspClient(camera.url) as client:
            client.send("OPTIONS")
            assert client.quiet(QUIET_S)
            assert watching.quiet(QUIET_S)
            camera.clear()
            assert client.answer("OPTIONS").status == 200
            assert max(steps(watching.pictures(60))) > QUIET_S * 90000


@pytest.mark.parametrize("step", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
def test_hang_holds_one_answer_back(camera: FakeCamera, step: str) -> None:
    camera.inject(Hang(step))
    with RtspClient(camera.url) as client:
        for method in ("OPTIONS", "DESCRIBE", "SETUP", "PLAY"):
            client.send(method)
            if method == step:
                assert client.quiet(QUIET_S)
                camera.clear()
            assert client.answer(method).status == 200
        assert numbers(client.pictures(2)) == [0, 1]


def test_client_that_leaves_a_hanging_camera_is_let_go(camera: FakeCamera) -> None:
    camera.inject(Hang("DESCRIBE"))
    with RtspClient(camera.url) as client:
        client.send("DESCRIBE")
        client.send("OPTIONS")  # asks on while it waits
        assert client.quiet(QUIET_S)
    assert camera.wait_event(lambda event: type(event).__name__ == "Closed")


def test_play_without_packets(camera: FakeCamera) -> None:
    with RtspClient(camera.url) as before, RtspClient(camera.url) as after:
        before.play()
        camera.inject(NoPackets())
        assert after.play().status == 200
        assert after.quiet(QUIET_S)
        assert len(before.pictures(20)) == 20
        camera.clear()
        assert after.pictures(1)[0].idr


def test_stall_keeps_the_connection_and_pictures_go_on_at_the_clock(camera: FakeCamera) -> None:
    with RtspClient(camera.url) as client:
        client.play()
        seen = client.pictures(5)
        camera.inject(Stall(), for_s=1.0)
        assert client.ask("GET_PARAMETER").status == 200
        seen += client.pictures(30)
    began, ended = (event.time_s for event in camera.history if isinstance(event, FaultBegan | FaultEnded))
    sent = [event.time_s for event in camera.history if isinstance(event, PictureSent)]
    assert ended - began >= 1.0
    assert not [moment for moment in sent if began + 0.05 < moment < ended]
    gap = max(steps(seen))
    assert gap >= 0.25 * 90000
    assert gap % STEP_TICKS == 0
    assert seen[steps(seen).index(gap) + 1].idr


def test_stall_of_present_connections_spares_the_next(camera: FakeCamera) -> None:
    with RtspClient(camera.url) as stuck:
        stuck.play()
        stuck.pictures(2)
        camera.inject(Stall(), reach="present")
        with RtspClient(camera.url) as client:
            client.play()
            assert numbers(client.pictures(3)) == [0, 1, 2]
        assert stuck.quiet(QUIET_S)


def test_drip_sends_byte_by_byte(camera: FakeCamera) -> None:
    camera.inject(Drip(0.002))
    with RtspClient(camera.url) as client:
        client.send("OPTIONS")
        assert len(client.socket.recv(65536, socket.MSG_PEEK)) < 8
        assert client.answer("OPTIONS").status == 200
        camera.clear()
        client.play()
        assert numbers(client.pictures(2)) == [0, 1]


@pytest.mark.parametrize(("fault", "how"), [(Reset(), "reset"), (Close(), "close")], ids=["RST", "FIN"])
def test_connections_end_at_once_and_the_next_is_welcome(camera: FakeCamera, fault: Fault, how: str) -> None:
    with RtspClient(camera.url) as client, RtspClient(camera.url) as idle:
        client.play()
        client.pictures(2)
        camera.inject(fault)
        assert ended_by(client) == how
        assert ended_by(idle) == how
    with RtspClient(camera.url) as client:
        client.play()
        assert numbers(client.pictures(1)) == [0]


@pytest.mark.parametrize(("fault", "how"), [(Reset("PLAY"), "reset"), (Close("PLAY"), "close")], ids=["RST", "FIN"])
def test_connection_ends_within_the_answer(camera: FakeCamera, fault: Fault, how: str) -> None:
    camera.inject(fault)
    with RtspClient(camera.url) as client:
        client.ask("SETUP")
        client.send("PLAY")
        assert client.socket.recv(65536).startswith(b"RTSP/1.0 200 OK")
        assert ended_by(client) == how
    camera.clear()
    with RtspClient(camera.url) as client:
        client.play()
        assert client.pictures(1)


def test_lasting_reset_meets_who_comes_meanwhile(camera: FakeCamera) -> None:
    camera.inject(Reset(), for_s=60)
    with pytest.raises(ConnectionResetError), RtspClient(camera.url) as client:
        client.socket.recv(1)


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_lost_packets_leave_gaps_in_the_sequence(camera: FakeCamera, udp: bool) -> None:
    camera.inject(Drop(0.5, seed=3))
    lost = []
    for _ in range(2):
        with RtspClient(camera.url, udp=udp) as client:
            first = int(re.search(r"seq=(\d+)", client.play().headers.get("RTP-Info"))[1])
            stream = client.packets()
            lost.append([(next(stream).sequence - first) % 65536 for _ in range(30)])
    assert lost[0] == lost[1]  # by seed
    assert 45 <= lost[0][-1] <= 75


def test_damaged_slices_differ_by_seed_and_parameter_sets_stay(camera: FakeCamera) -> None:
    def received(fault: Fault | None) -> list[tuple[bytes, ...]]:
        camera.clear()
        if fault:
            camera.inject(fault)
        with RtspClient(camera.url) as client:
            client.play()
            return [one.nals for one in client.pictures(20)]

    whole, flipped, again, cut = map(received, [None, Corrupt(0.3, seed=1), Corrupt(0.3, seed=1), Truncate(0.3)])
    other = received(Corrupt(0.3, seed=2))
    assert flipped == again != other
    for damaged in (flipped, cut):
        hit = [at for at in range(20) if damaged[at] != whole[at]]
        assert 2 <= len(hit) <= 12
        assert [nals[:2] for nals in damaged if len(nals) > 1] == [nals[:2] for nals in whole if len(nals) > 1]
    pairs = [(a, b) for x, y in zip(whole, flipped, strict=True) for a, b in zip(x, y, strict=True) if a != b]
    assert all(len(a) == len(b) and a[0] == b[0] for a, b in pairs)


def test_whole_nal_units_can_be_lost(camera: FakeCamera) -> None:
    camera.inject(Drop(0.4, unit="nal"))
    with RtspClient(camera.url) as client:
        client.play()
        stream = client.packets()
        sequences = [next(stream).sequence for _ in range(20)]
    assert (sequences[-1] - sequences[0]) % 65536 > 22


def test_picture_size_changes_on_the_connection_and_back(camera: FakeCamera) -> None:
    with RtspClient(camera.url) as client:
        client.play()
        seen = client.pictures(5)
        camera.inject(Resize(320, 200))
        (video,) = parse_sdp(client.ask("DESCRIBE").body.decode())
        assert parse_sps(video.parameter_sets()[0]).width == 320
        seen += client.pictures(12)
        camera.clear()
        seen += client.pictures(12)
    pictures = decoded(seen)
    shapes = [picture.shape[1::-1] for picture in pictures]
    changes = [at for at in range(1, len(shapes)) if shapes[at] != shapes[at - 1]]
    assert [shapes[0], *(shapes[at] for at in changes)] == [SIZE, (320, 200), SIZE]
    assert numbers(seen) == list(range(len(seen)))  # no picture is lost
    assert set(steps(seen)) == {STEP_TICKS}


def frozen_part(camera: FakeCamera, fault: Freeze) -> tuple[list[np.ndarray], list[Picture]]:
    """What a client decodes while a picture is frozen, from the second frozen picture on."""
    with RtspClient(camera.url) as client:
        client.play()
        seen = client.pictures(10)
        camera.inject(fault)
        seen += client.pictures(30)
        camera.clear()
        seen += client.pictures(25)
    shown = numbers(seen)
    (number,) = {one for one in shown if shown.count(one) > 10}
    count = shown.count(number)
    assert shown == [*range(number), *[number] * count, *range(number + count, len(seen))]
    return decoded(seen)[number + 1 : number + count], seen


def test_frozen_picture_is_the_same_to_the_byte_while_time_goes_on(camera: FakeCamera) -> None:
    frozen, seen = frozen_part(camera, Freeze())
    assert len(frozen) > 20
    assert all(np.array_equal(one, frozen[0]) for one in frozen)
    assert set(steps(seen)) == {STEP_TICKS}
    after = numbers(seen)[-5:]
    assert after == list(range(len(seen) - 5, len(seen)))


def test_frozen_picture_may_be_encoded_again_or_noisy(camera: FakeCamera) -> None:
    encoded, _ = frozen_part(camera, Freeze("encoded"))
    noisy, _ = frozen_part(camera, Freeze("noisy", noise=4.0))

    def change(pictures: list[np.ndarray]) -> list[float]:
        return [float(np.abs(b.astype(int) - a).mean()) for a, b in pairwise(pictures)]

    assert max(change(encoded)) < 2
    assert min(change(noisy)) > 0


@pytest.mark.parametrize("by_s", [3600.0, -30.0])
def test_clock_jumps_for_running_streams(camera: FakeCamera, by_s: float) -> None:
    with RtspClient(camera.url) as client:
        client.play()
        seen = client.pictures(5)
        camera.inject(Jump(by_s))
        seen += client.pictures(20)
        with RtspClient(camera.url) as later:
            first = int(later.play().headers.get("RTP-Info").partition("rtptime=")[2])
            assert later.pictures(1)[0].timestamp == first
    assert sorted(set(steps(seen))) == sorted({STEP_TICKS, STEP_TICKS + int(by_s * 90000)})
    assert numbers(seen) == list(range(25))


def test_timestamps_wrap(camera: FakeCamera) -> None:
    camera.inject(Wrap(0.03))
    with RtspClient(camera.url) as client:
        client.play()
        seen = client.pictures(12)
    assert set(steps(seen)) == {STEP_TICKS}
    assert [one.timestamp < 2**31 for one in seen] == [False] * 6 + [True] * 6


def test_clock_stands_still_and_goes_on(camera: FakeCamera) -> None:
    with RtspClient(camera.url) as client:
        client.play()
        seen = client.pictures(3)
        camera.inject(StopClock(), for_s=0.1)
        seen += client.pictures(40)
    assert steps(seen).count(0) >= 10
    assert (seen[-1].timestamp - seen[0].timestamp) % 2**32 == ticks(42, RATE)


def test_descriptions_that_cannot_be_used(camera: FakeCamera) -> None:
    def described() -> tuple[str, str]:
        with RtspClient(camera.url) as client:
            (one,) = parse_sdp(client.ask("DESCRIBE").body.decode())
            return one.kind, one.encoding

    assert described() == ("video", "H264")
    camera.inject(Codec("H265"))
    assert described() == ("video", "H265")
    camera.inject(NoVideo())
    assert described()[0] == "audio"


def test_answers_with_a_status(camera: FakeCamera) -> None:
    camera.inject(Answer(404))
    camera.inject(Answer(503, "SETUP"))
    with RtspClient(camera.url) as client:
        assert [client.ask(method).status for method in ("OPTIONS", "DESCRIBE", "SETUP")] == [200, 404, 503]


def test_full_camera_turns_more_viewers_away(camera: FakeCamera) -> None:
    camera.inject(Full(1))
    with RtspClient(camera.url) as first, RtspClient(camera.url) as second:
        first.play()
        assert first.pictures(1)
        assert second.ask("DESCRIBE").status == 503
        first.close()
        assert camera.wait_for(lambda seen: seen.viewers == 0)
        assert second.play().status == 200


def test_slow_greeting(camera: FakeCamera) -> None:
    camera.inject(SlowAccept(0.2))
    began = time.monotonic()
    with RtspClient(camera.url) as client:
        assert client.ask("OPTIONS").status == 200
    assert time.monotonic() - began >= 0.2


def test_camera_is_switched_off_and_on_at_its_port(camera: FakeCamera) -> None:
    with RtspClient(camera.url) as client:
        client.play()
        client.pictures(1)
        camera.inject(Off(), for_s=0.1)
        assert ended_by(client) == "reset"
    with pytest.raises(ConnectionRefusedError):
        RtspClient(camera.url)
    assert camera.wait_event(lambda event: isinstance(event, FaultEnded))
    with RtspClient(camera.url) as client:
        client.play()
        assert client.pictures(1)
        camera.inject(Off())
    with pytest.raises(ConnectionRefusedError):
        RtspClient(camera.url)
    camera.stop()
    with camera, RtspClient(camera.url) as client:
        assert client.ask("OPTIONS").status == 200


def test_faults_keep_to_their_camera() -> None:
    with FakeCameraServer(
        {"a": numbered_media(rate=RATE), "b": numbered_media(rate=RATE)}, start="on_connect"
    ) as server:
        server.inject(Hang("DESCRIBE"), "a")
        server.inject(Freeze(), "a", after_s=0.05)
        with RtspClient(server.urls["a"]) as a, RtspClient(server.urls["b"]) as b:
            b.ask("DESCRIBE")
            a.play(), b.play()
            assert server.wait_event(lambda event: isinstance(event, FaultBegan) and event.fault == Freeze())
            assert numbers(b.pictures(20)) == list(range(20))
            assert len(set(numbers(a.pictures(60)))) < 50
        assert server.clear("b") == 0
        assert server.clear("a", Freeze) == 1
        assert server.clear() == 1


def test_history_tells_what_was_sent_when(camera: FakeCamera) -> None:
    with RtspClient(camera.url) as client:
        client.ask("DESCRIBE")
        began = time.monotonic()
        client.play()
        seen = client.pictures(10)
    assert camera.wait_event(lambda event: type(event).__name__ == "Closed")
    history = camera.history
    assert [event.time_s for event in history] == sorted(event.time_s for event in history)
    names = [type(event).__name__ for event in history if not isinstance(event, PictureSent)]
    assert names == ["Opened", *["Asked", "Answered"] * 3, "Played", "Left", "Closed"]
    sent = [event for event in history if isinstance(event, PictureSent)][:10]
    assert [event.index for event in sent] == list(range(10))
    assert [event.ticks for event in sent] == [ticks(number, RATE) for number in range(10)]
    assert [event.rtp_timestamp for event in sent] == [one.timestamp for one in seen]
    assert began <= sent[0].time_s <= time.monotonic()
    assert camera.counters.pictures >= 10
    assert camera.wait_event(lambda event: isinstance(event, PictureSent), 0.01, since_s=time.monotonic()) is None


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((Corrupt(1.5),), {}, "the fault corrupt cannot be had so: .*<= 1"),
        ((Resize(321, 200),), {}, "the fault resize"),
        ((Hang("SING"),), {}, "the fault hang"),
        ((Stall(), "other"), {}, "there is no camera 'other'; there are camera0"),
        ((SlowAccept(1), "camera0"), {}, "leave the path out"),
        ((Freeze(),), {"reach": "new"}, "leave reach=new out"),
    ],
)
def test_mistakes_are_told(camera: FakeCamera, arguments: tuple, options: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        camera.inject(*arguments, **options)


def test_stopped_camera_has_no_faults() -> None:
    camera = FakeCamera(numbered_media(), start="on_connect")
    with pytest.raises(SourceError, match="not running"):
        camera.inject(Stall())
    with camera:
        camera.inject(Stall())
    with camera, RtspClient(camera.url) as client:
        client.play()
        assert client.pictures(1)
