"""Further inputs: samples over real sockets, placed by their times, bad ones counted and dropped, nobody waited for."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import StreamError
from engines.further import FurtherInput
from pipeline.capture.ring import FrameFlag, FrameHeader
from pipeline.inputs.packing import InputPacker
from pipeline.inputs.receiver import InputPlan, InputReceiver
from pipeline.inputs.sample import InputSample, decode, encode, topic
from pipeline.inputs.sender import InputSender
from pipeline.inputs.sockets import Endpoint
from pipeline.inputs.timeline import Timeline
from pipeline.stream.messages import InputCounts

ANY_PORT = "tcp://127.0.0.1:*"
AUDIO, DOOR = FurtherInput("audio", 3, max_age_s=1.0), FurtherInput("door", 1, max_age_s=5.0)
SECOND = 1_000_000_000


def plan(camera: str = "camera0", further: FurtherInput = AUDIO, address: str = ANY_PORT, *, bind=True) -> InputPlan:
    return InputPlan(camera, further, Endpoint(f"cameras.{camera}.inputs.{further.name}", address, bind))


def header(captured_ns: int = 0, media_s: float = 0.0) -> FrameHeader:
    return FrameHeader(0, round(media_s * 1e9), captured_ns, 0, 0, 0, FrameFlag(0))


def until(condition: Callable[[], bool], work: Callable[[], None]) -> None:
    """Do `work` again and again until the condition holds."""
    pause, deadline_s = threading.Event(), time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline_s, "nothing came in 20 s"
        work()
        pause.wait(0.001)


@pytest.fixture
def receiver() -> Iterator[InputReceiver]:
    with InputReceiver([plan(), plan(further=DOOR), plan("camera1")]) as receiver:
        yield receiver


@pytest.fixture
def now_ns() -> int:
    return time.time_ns()


@pytest.fixture
def sender(receiver: InputReceiver) -> Iterator[InputSender]:
    (address,) = receiver.addresses  # one socket for all that is sent to one address
    with InputSender(address, bind=False) as sender:
        until(lambda: sender.wait_for_listener(0.0), receiver.read)
        yield sender


def received(receiver: InputReceiver, camera: str = "camera0", name: str = "audio") -> InputCounts:
    return receiver.counts(camera)[name]


def test_a_frame_takes_the_newest_sample_that_is_not_after_it():
    line = Timeline(8)
    for at_ns in (30, 10, 20):
        line.add(at_ns, np.full(1, at_ns, np.float32))
    assert line.newest(5) is None
    assert line.newest(25) == (20, np.float32(20))
    assert line.newest(29) == (20, np.float32(20)), "it is held until the next"
    assert line.newest(30) == (30, np.float32(30))
    assert len(line) == 1, "those before it are forgotten"


def test_a_timeline_holds_so_many_and_drops_the_oldest():
    line = Timeline(3)
    for at_ns in range(100):
        line.add(at_ns, np.zeros(1, np.float32))
    assert len(line) == 3
    assert line.newest(96) is None
    assert line.newest(97) is not None


def test_samples_arrive_for_their_camera_and_input(receiver, sender, now_ns):
    sender.send("camera0", "audio", [1, 2, 3], now_ns)
    sender.send("camera0", "door", np.array([4.0]), now_ns)
    sender.send("camera1", "audio", (5, 6, 7), now_ns)
    until(lambda: received(receiver, "camera1").received == 1, receiver.read)
    at = header(now_ns + SECOND // 2)
    assert receiver.sample("camera0", "audio", at).tolist() == [1, 2, 3]
    assert receiver.sample("camera0", "door", at).tolist() == [4]
    assert receiver.sample("camera1", "audio", at).tolist() == [5, 6, 7]
    assert receiver.sample("camera1", "door", at) is None, "not configured"


@pytest.mark.parametrize(("age_s", "there"), [(-0.001, False), (0.0, True), (0.999, True), (1.001, False)])
def test_a_sample_counts_as_long_as_it_is_not_too_old(receiver, sender, now_ns, age_s, there):
    sender.send("camera0", "audio", [1, 2, 3], now_ns)
    until(lambda: received(receiver).received == 1, receiver.read)
    assert (receiver.sample("camera0", "audio", header(now_ns + round(age_s * SECOND))) is not None) is there


def test_media_time_counts_where_it_is_given(receiver, sender, now_ns):
    for media_s in (0.0, 0.5, 1.0):
        sender.send("camera0", "audio", [media_s] * 3, media_time=media_s)
    until(lambda: received(receiver).received == 3, receiver.read)
    found = [receiver.sample("camera0", "audio", header(now_ns, media_s)) for media_s in (0.4, 0.9, 2.0, 2.1)]
    assert [None if values is None else values[0] for values in found] == [0.0, 0.5, 1.0, None]


def test_a_sample_without_a_time_is_of_the_moment_when_it_came(receiver):
    sample = InputSample(camera="camera0", input="audio", values=[1, 2, 3])
    with raw_sender(receiver) as send:
        until(lambda: received(receiver).received > 0, lambda: (send(encode(sample)), receiver.read()))
    assert receiver.sample("camera0", "audio", header(time.time_ns())) is not None


class raw_sender:  # noqa: N801 - reads as a verb
    """A PUB socket at the receiver's address that sends any bytes."""

    def __init__(self, receiver: InputReceiver) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.connect(receiver.addresses[0])
        until(lambda: self._socket.poll(0) > 0, receiver.read)

    def __enter__(self) -> Callable[..., None]:
        return lambda *bodies, of=topic("camera0", "audio"): self._socket.send_multipart([of, *bodies])

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)


def packed(**changes: object) -> bytes:
    sample = {"schema": "vidpipe.input/1", "camera": "camera0", "input": "audio", "values": [1.0, 2.0, 3.0]}
    return msgspec.msgpack.encode({**sample, "captured_at": time.time_ns(), **changes})


def encoded(sample: dict[str, object]) -> bytes:
    """As msgpack, or nothing where that has no words for it."""
    try:
        return msgspec.msgpack.encode(sample)
    except (OverflowError, TypeError):
        return b""


BAD = {
    "nothing": b"",
    "noise": bytes(range(256)),
    "half a sample": packed()[:20],
    "half a JSON": b'{"schema": "vidpipe.input/1"',
    "no UTF-8": b'{"camera": "\xff"}',
    "deep": b"[" * 5000,
    "deep JSON": b'{"a":' * 3000,
    "another schema": packed(schema="vidpipe.clip/1"),
    "no schema": msgspec.msgpack.encode({"camera": "camera0"}),
    "too few": packed(values=[1.0, 2.0]),
    "too many": packed(values=[1.0] * 4),
    "text": packed(values=["a", "b", "c"]),
    "no list": packed(values=3.0),
    "nan": packed(values=[1.0, float("nan"), 3.0]),
    "infinite": packed(values=[1.0, float("inf"), 3.0]),
    "beyond float32": packed(values=[1.0, 1e300, 3.0]),
    "another camera": packed(camera="camera1"),
    "another input": packed(input="door"),
    "from yesterday": packed(captured_at=time.time_ns() - 86400 * SECOND),
    "from tomorrow": packed(captured_at=time.time_ns() + 86400 * SECOND),
    "before 1970": packed(captured_at=-(2**62)),
    "in 1970": packed(captured_at=1),
    "after the sun": json.dumps({**msgspec.msgpack.decode(packed()), "captured_at": 10**400}).encode(),
    "at no time": packed(media_time=float("nan")),
    "at the end of time": packed(media_time=1e300),
}


def test_bad_samples_are_counted_and_dropped_with_one_line(receiver, caplog):
    with raw_sender(receiver) as send:
        for body in BAD.values():
            send(body)
        send(packed(), b"a third part")
        send()
        send(packed())
        until(lambda: received(receiver).received == 1, receiver.read)
    assert received(receiver) == InputCounts(1, len(BAD) + 2)
    assert received(receiver, "camera1") == InputCounts(0, 0)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("input audio of camera0: a sample was dropped: it cannot be read:")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("too few", "it has 2 values, the model takes 3"),
        ("nan", "its values are not all finite float32 numbers"),
        ("beyond float32", "its values are not all finite float32 numbers"),
        ("another camera", "its body says 'camera1' and 'audio', its topic says otherwise"),
        ("from yesterday", r"it is 8\d{4} s old: send it sooner, or set both machines' clocks alike"),
        ("from tomorrow", r"it is from 8\d{4} s ahead: set the clocks of both machines alike"),
        ("at no time", "its media_time is nan, which is no time in seconds"),
    ],
)
def test_the_line_says_what_is_wrong(receiver, caplog, name, reason):
    with raw_sender(receiver) as send:
        send(BAD[name])
        until(lambda: received(receiver).rejected == 1, receiver.read)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.endswith("(1 dropped so far)")
    assert re.search(reason, warning)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
TIMES = st.integers(-(2**63), 2**64 - 1) | st.floats() | st.none()


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=64).map(lambda body: [body])
    | st.lists(st.binary(max_size=8), max_size=3)
    | st.fixed_dictionaries({
        "schema": st.just("vidpipe.input/1"),
        "camera": st.just("camera0"),
        "input": st.just("audio"),
        "values": st.lists(st.floats(), min_size=3, max_size=3) | ANYTHING,
        "captured_at": TIMES,
        "media_time": TIMES,
    }).flatmap(lambda sample: st.sampled_from([[json.dumps(sample, default=str).encode()], [encoded(sample)]]))
)  # fmt: skip
def test_whatever_comes_is_taken_or_dropped(bodies):
    with InputReceiver([plan()]) as receiver:
        receiver._take([topic("camera0", "audio"), *bodies])
        counts = received(receiver)
        assert counts.received + counts.rejected == 1
        found = [receiver.sample("camera0", "audio", header(now, at)) for now, at in ((0, 0.0), (2**62, 9e8))]
        assert all(values is None or np.isfinite(values).all() for values in found)


def test_values_for_somebody_else_are_told_of_once(receiver, caplog):
    with raw_sender(receiver) as send:
        for k in range(5):
            send(packed(), of=topic(f"camera{k + 7}", "audio"))
        send(packed())
        until(lambda: received(receiver).received == 1, receiver.read)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("values that no camera here takes come under the topic b'vidpipe/1/camera7/input/audio/'")


def test_a_message_that_is_far_too_large_only_costs_its_connection(receiver):
    with raw_sender(receiver) as send:
        send(b"x" * 20_000)
        until(lambda: received(receiver).received > 0, lambda: (send(packed()), receiver.read()))
    assert received(receiver).rejected == 0


def test_a_flood_ends_no_reading_and_fills_no_memory(receiver):
    stop, body = threading.Event(), packed()
    with raw_sender(receiver) as send:

        def flood() -> None:
            while not stop.is_set():
                send(body)

        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            # `read` comes back, however much there is
            until(lambda: received(receiver).received > 5000, receiver.read)
        finally:
            stop.set()
            flooding.join()
    assert len(receiver._inputs["camera0", "audio"].wall) <= 4096


def test_a_batch_is_packed_in_the_order_of_the_model(receiver, sender, now_ns):
    sender.send("camera0", "door", [4.0], now_ns)
    sender.send("camera1", "audio", [5, 6, 7], now_ns)
    until(lambda: received(receiver, "camera1").received == 1, receiver.read)
    packer = InputPacker((DOOR, AUDIO), receiver)
    frames = [(name, header(now_ns + 10)) for name in ("camera1", "camera0", "camera2")]
    features, present = packer.pack(frames, np.arange(6, dtype=np.float32).reshape(3, 2))
    assert features.tolist() == [
        [0, 1, 0, 0, 5, 6, 7, 1],
        [2, 3, 4, 1, 0, 0, 0, 0],
        [4, 5, 0, 0, 0, 0, 0, 0],
    ]
    assert features.dtype == np.float32
    assert present == [(False, True), (True, False), (False, False)]


def test_two_pipelines_that_listen_to_one_sender_both_hear_all_of_it():
    with InputSender(ANY_PORT) as sender:
        both = [InputReceiver([plan(address=sender.address, bind=False)]) for _ in range(2)]

        def send() -> None:
            sender.send("camera0", "audio", [1, 2, 3])
            for receiver in both:
                receiver.read()

        until(lambda: all(received(receiver).received for receiver in both), send)
        for receiver in both:
            receiver.close()


def test_a_sender_that_nobody_hears_does_not_wait():
    with InputSender(ANY_PORT) as sender:
        for _ in range(5000):
            sender.send("camera0", "audio", [1, 2, 3])
        assert not sender.wait_for_listener(0.0)


def test_a_sender_in_json_is_understood(receiver):
    with InputSender(receiver.addresses[0], bind=False, wire="json") as sender:
        until(lambda: sender.wait_for_listener(0.0), receiver.read)
        sender.send("camera0", "audio", [1, 2, 3])
        until(lambda: received(receiver).received == 1, receiver.read)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_sender_refuses_what_is_no_number(value):
    with InputSender(ANY_PORT) as sender, pytest.raises(StreamError, match="audio for camera0 are not all finite"):
        sender.send("camera0", "audio", [value])


def test_addresses_that_others_can_reach_need_consent():
    with pytest.raises(
        StreamError, match=r"inputs\.audio\.bind is tcp://0\.0\.0\.0:\*, which other machines can reach"
    ):
        InputReceiver([plan(address="tcp://0.0.0.0:*")])
    with pytest.raises(StreamError, match="an address which other machines can reach"):
        InputSender("tcp://0.0.0.0:*")
    InputReceiver([plan(address="tcp://0.0.0.0:*")], insecure=True).close()
    with pytest.raises(StreamError, match=r"inputs\.audio\.connect is tcp://192\.0\.2\.1:5560, which other machines"):
        InputReceiver([plan(address="tcp://192.0.2.1:5560", bind=False)])
    InputReceiver([plan(address="tcp://192.0.2.1:5560", bind=False)], insecure=True).close()


def test_a_taken_address_is_a_sentence(receiver, tmp_path: Path):
    (address,) = receiver.addresses
    with pytest.raises(StreamError, match=rf"inputs\.audio\.bind {address} is in use"):
        InputReceiver([plan(address=address)])
    with pytest.raises(StreamError, match=f"{address} cannot be bound: Address already in use"):
        InputSender(address)
    with pytest.raises(StreamError, match="cannot be connected to"):
        InputReceiver([plan(address="tcp://nowhere", bind=False)], insecure=True)
    local = f"ipc://{tmp_path}/a"
    with InputReceiver([plan(address=local)]), pytest.raises(StreamError, match="in use"):
        InputReceiver([plan(address=local)])


def test_stored_samples_stay_readable():
    folder = Path(__file__).parent / "golden"
    stored = (folder / "input-1.json").read_bytes().strip()
    sample = decode(stored)
    assert sample == decode((folder / "input-1.msgpack").read_bytes())
    assert (sample.camera, sample.input, sample.values) == ("camera0", "audio", [0.25, -1.5, 3.0])
    assert (sample.captured_at, sample.media_time) == (1763760012345678901, 11.8)
    fields = json.loads(stored)
    assert set(fields) == {"schema", "camera", "input", "values", "captured_at", "media_time"}
