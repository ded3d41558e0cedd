"""Whatever arrives over ZeroMQ or the control socket is a message, or one of our own errors."""

import contextlib
import itertools
import json
import math
import time

import msgspec
import zmq
from hostile import CASES, altered, attack, bytes_like, values
from hypothesis import strategies as st

from engines.errors import StreamError
from engines.further import FurtherInput
from pipeline.control import protocol as control
from pipeline.inputs import sample as samples
from pipeline.inputs.receiver import InputPlan, InputReceiver
from pipeline.inputs.sockets import Endpoint
from pipeline.keys.zap import Refusal, answer
from pipeline.stream import messages
from pipeline.stream import replay_protocol as replay
from pipeline.stream.archive import Archive
from pipeline.stream.journal_file import Row
from pipeline.stream.replay import ReplayDesk
from pipeline.stream.subscriptions import granted, withdrawn

CLIP = messages.Prediction(
    camera="camera0",
    epoch=3,
    seq=7,
    clip=messages.ClipSpan(0, 0.0, 2.0, 10),
    model=messages.ModelInfo("scene", "1", "ab", "openvino", "f32"),
    state=messages.StateInfo(10, 2.0, True, "start"),
    label="idle",
    scores={"idle": 1.0},
    inputs={"audio": messages.InputShare(0.5)},
)
EVENT = messages.Event(camera="a", epoch=1, seq=1, id="x", type="begin", label="a", start=0, end=1, peak=1)
STATUS = messages.Status(camera="a", epoch=1, seq=1, state="running", last_seq={"clip": 3})
SENT = [CLIP, EVENT, STATUS]
RANGE = replay.RangeRequest(id=1, camera="camera0", kind="clip", after=(1, 2), through=(1, 9))
LAST = replay.LastRequest(id=2, cameras=["camera0"])
ANSWERS = [
    replay.RangeAnswer(
        id=1, through=(1, 9), lost=[replay.LostSpan(epoch=1, first_seq=2, last_seq=3, reason="expired")]
    ),
    replay.LastAnswer(id=2, next="a/clip"),
    replay.Refusal(id=3, reason="no"),
]
SAMPLE = samples.InputSample(camera="camera0", input="audio", values=[0.5, 1.0], captured_at=5, media_time=1.5)
NESTED = [b"[" * 5000, b'{"a":' * 5000, b"\x91" * 5000, b"\x81\xa1a" * 3000]


def wires(*records):
    """Both formats of good records, damaged; and records whose fields have other values."""
    seeds = [msgspec.json.encode(each) for each in records] + [msgspec.msgpack.encode(each) for each in records]
    others = st.one_of(*(altered(each) for each in records), values())
    return st.one_of(
        bytes_like([*seeds, *NESTED], [b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xff\xfe", b"1e999", b"\\ud800"]),
        others.map(lambda value: json.dumps(value).encode()),
        others.map(packed),
    )


def packed(value):
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:
        return b"\xcf" + b"\xff" * 8


def tolerant(decode, encode=None):
    """What is understood can be written again; else it is a StreamError."""

    def target(body):
        with contextlib.suppress(StreamError):
            found = decode(body)
            if encode is not None:
                encode(found)

    return target


@CASES
def test_the_message_decoder(cases):
    attack(tolerant(messages.decode, messages.encode), wires(*SENT), cases)


@CASES
def test_the_decoder_of_input_samples(cases):
    attack(tolerant(samples.decode, samples.encode), wires(SAMPLE), cases)


@CASES
def test_replay_requests(cases):
    attack(tolerant(replay.decode_request, replay.encode), wires(RANGE, LAST), cases)


@CASES
def test_no_question_gets_the_messages_of_another_camera(cases, tmp_path):
    archive = Archive(tmp_path / "journal.sqlite", 3)
    for number, camera in enumerate(("camera0", "camera1", "camera10"), 1):
        for seq in range(1, 4):
            archive.take(Row(camera, "clip", 3, seq, time.time_ns(), f"{camera} {number}".encode()))
    desk = ReplayDesk(archive, lambda user, camera: user == "me" and camera == "camera0")
    now_s = itertools.count()
    others = [replay.RangeRequest(id=1, camera="camera1", kind="clip", after=(0, 0)), replay.LastRequest(id=1)]

    def target(body):
        answer, *bodies = desk.answer(body, "client", "me", float(next(now_s)))
        assert replay.decode_answer(answer).id >= 0
        assert all(found.startswith(b"camera0 ") for found in bodies)
        assert desk.answer(body, "client", None, float(next(now_s)))[1:] == []

    whole = replay.RangeRequest(id=1, camera="camera0", kind="clip", after=(0, 0))
    assert len(desk.answer(replay.encode(whole), "client", "me", float(next(now_s)))) == 4
    attack(target, wires(RANGE, LAST, *others), cases)
    archive.close()


@CASES
def test_replay_answers(cases):
    attack(tolerant(replay.decode_answer, replay.encode), wires(*ANSWERS), cases)


@CASES
def test_orders_over_the_control_socket(cases):
    request, told = control.Request("reset", ("a",)), control.Answer(True, "done")
    attack(tolerant(control.decode_request, control.encode), wires(request), cases)
    attack(tolerant(control.decode_answer, control.encode), wires(told), cases)


@CASES
def test_samples_are_kept_or_counted_as_wrong(cases):
    plan = InputPlan("camera0", FurtherInput("audio", 2, 0.5), Endpoint("inputs.audio", "tcp://127.0.0.1:*", True))
    with InputReceiver([plan]) as receiver:

        def target(body):
            before = receiver.counts("camera0")["audio"]
            receiver._take([samples.topic("camera0", "audio"), body])
            after = receiver.counts("camera0")["audio"]
            assert after.received + after.rejected == before.received + before.rejected + 1

        attack(target, wires(SAMPLE), cases)


ZAP = [b"1.0", b"1", b"vidpipe", b"10.0.0.1", b"", b"CURVE", b"k" * 32]


@CASES
def test_zap_frames(cases):
    def target(frames):
        asked = []
        reply = answer(frames, lambda key, address: asked.append((key, address)) or "somebody")
        assert len(reply) == 6
        right = [frames[i : i + 1] for i in (0, 2, 5)] == [[b"1.0"], [b"vidpipe"], [b"CURVE"]]
        right = right and len(frames) == 7 and len(frames[6]) == 32
        assert (reply[2] == b"200") == bool(asked) == right
        assert answer(frames, lambda *_: Refusal.NEVER)[2] == b"400"

    frame = st.one_of(st.sampled_from(ZAP), st.binary(max_size=40))
    edited = st.tuples(*(st.one_of(st.just(each), st.just(each), frame) for each in ZAP)).map(list)
    attack(target, st.one_of(edited, st.lists(frame, max_size=9)), cases)


@CASES
def test_no_subscription_reaches_beyond_a_clients_cameras(cases):
    """Checked against the definition: every topic that a granted prefix lets through is asked for and allowed."""
    names = st.text("ab/-", min_size=1, max_size=3).filter(lambda name: "/" not in name)
    topics = st.tuples(names, st.sampled_from(["clip", "event"])).map(lambda pair: messages.topic(*pair))
    asked = st.one_of(topics.flatmap(lambda t: st.integers(0, len(t)).map(lambda n: t[:n])), st.binary(max_size=20))

    def target(case):
        prefix, cameras, topic_ = case
        camera = topic_.split(b"/")[2].decode()
        heard = topic_.startswith(tuple(granted(prefix, cameras)))
        wanted = topic_.startswith(prefix)
        assert not heard or camera in cameras
        assert heard or not (wanted and camera in cameras)
        assert set(withdrawn(prefix, cameras)) <= set(granted(prefix, cameras))

    attack(target, st.tuples(asked, st.sets(names, max_size=3), topics), cases)


def test_libzmq_refuses_messages_beyond_the_cap():
    """The cap of every receiving socket is libzmq's, and ends the connection before a byte of it is kept."""
    context = zmq.Context()
    receiver, sender = context.socket(zmq.SUB), context.socket(zmq.XPUB)
    receiver.setsockopt(zmq.MAXMSGSIZE, messages.MAX_MESSAGE_BYTES)
    receiver.setsockopt(zmq.SUBSCRIBE, b"")
    events = receiver.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    receiver.connect(f"tcp://127.0.0.1:{sender.bind_to_random_port('tcp://127.0.0.1')}")
    assert sender.poll(10_000)
    sender.send(b"x" * (messages.MAX_MESSAGE_BYTES + 1))
    assert events.poll(10_000)
    assert not receiver.poll(0)
    context.destroy(linger=0)


def test_finite_numbers_only_matter_where_they_are_used():
    """JSON has no infinity; msgpack has, and a subscriber sees what was sent."""
    with contextlib.suppress(StreamError):
        assert not math.isfinite(messages.decode(packed(msgspec.to_builtins(EVENT) | {"peak": math.inf})).peak)
