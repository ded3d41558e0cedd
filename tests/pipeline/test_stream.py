"""Publisher and subscriber over real sockets: numbering, losses seen, old publishers ignored, nobody waited for."""

import time

import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import StreamError
from pipeline.stream.continuity import Gap, StreamOrder
from pipeline.stream.epoch import next_epoch
from pipeline.stream.messages import (
    ClipSpan,
    Event,
    Message,
    ModelInfo,
    Prediction,
    StateInfo,
    Status,
    decode,
    encode,
    topic,
)
from pipeline.stream.publisher import Publisher
from pipeline.stream.replay_server import ReplayServer
from pipeline.stream.subscriber import Subscriber

ANY_PORT = "tcp://127.0.0.1:*"


def clip(camera: str = "camera1", epoch: int = 0, seq: int = 0) -> Prediction:
    return Prediction(
        camera=camera,
        epoch=epoch,
        seq=seq,
        clip=ClipSpan(0, 0.0, 2.0, 10),
        model=ModelInfo("scene", "1", "ab", "openvino", "f32"),
        state=StateInfo(10, 2.0, True, "start"),
        label="idle",
        scores={"idle": 1.0},
    )


def status(camera: str = "camera1", epoch: int = 0, seq: int = 0, **last: int) -> Status:
    return Status(camera=camera, epoch=epoch, seq=seq, state="running", last_seq=last)


@pytest.fixture
def publisher():
    with Publisher(ANY_PORT, epoch=5) as publisher:
        yield publisher


def joined(publisher: Publisher, subscriber: Subscriber) -> None:
    """Publish heartbeats until one arrives: from then on nothing is lost."""
    while subscriber.receive(0.05) is None:
        publisher.publish(status("hello"))


def hear(subscriber: Subscriber) -> Message:
    """The next message that is none of the heartbeats from joining."""
    while True:
        message = subscriber.receive(10.0)
        assert message is not None, "a message was lost"
        if message.camera != "hello":
            return message


def test_messages_arrive_numbered_per_camera_and_kind(publisher):
    with Subscriber(publisher.address, kinds=["clip", "event", "status"]) as subscriber:
        joined(publisher, subscriber)
        event = Event(camera="camera1", epoch=0, seq=0, id="x", type="begin", label="a", start=0, end=1, peak=1)
        for message in (clip(), clip(), event, clip("camera10"), status()):
            publisher.publish(message)
        got = [hear(subscriber) for _ in range(5)]
        assert [(m.camera, type(m).__name__, m.seq, m.epoch) for m in got] == [
            ("camera1", "Prediction", 1, 5),
            ("camera1", "Prediction", 2, 5),
            ("camera1", "Event", 1, 5),
            ("camera10", "Prediction", 1, 5),
            ("camera1", "Status", 1, 5),
        ]
        assert got[-1].last_seq == {"clip": 2, "event": 1}
        assert 0 <= time.time_ns() - got[0].published_at < 60e9
        assert subscriber.missed == 0


def test_a_camera_does_not_hear_another_whose_name_begins_alike(publisher):
    with Subscriber(publisher.address, cameras=["camera1", "hello"], kinds=["clip", "status"]) as subscriber:
        joined(publisher, subscriber)
        publisher.publish(clip("camera10"))
        publisher.publish(clip("camera1"))
        assert hear(subscriber).camera == "camera1"


@pytest.mark.parametrize("wire", ["msgpack", "json"])
def test_a_bare_socket_reads_topic_and_body(wire):
    with Publisher(ANY_PORT, epoch=5, wire=wire) as publisher, zmq.Context() as context:
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.SUBSCRIBE, b"vidpipe/1/camera1/clip/")
        socket.connect(publisher.address)
        while not socket.poll(50):
            publisher.publish(clip())
        name, body = socket.recv_multipart()
        fields = msgspec.json.decode(body) if wire == "json" else msgspec.msgpack.decode(body)
        socket.close(linger=0)
    assert name == b"vidpipe/1/camera1/clip/"
    assert fields["schema"] == "vidpipe.clip/1"
    assert fields["scores"] == {"idle": 1.0}


def test_a_reader_that_never_reads_does_not_hold_up_the_publisher(publisher):
    context = zmq.Context()
    stuck = context.socket(zmq.SUB)
    stuck.setsockopt(zmq.RCVHWM, 1)
    stuck.setsockopt(zmq.SUBSCRIBE, b"")
    stuck.connect(publisher.address)
    while not stuck.poll(50):
        publisher.publish(clip())
    sent = [publisher.publish(clip()).seq for _ in range(5000)]
    assert sent[-1] - sent[0] == 4999
    context.destroy(linger=0)


def heard(order: StreamOrder, message: Message) -> tuple[list[Message], list[tuple]]:
    """What comes out when a message comes in: messages, and gaps as (kind, epoch, first, last)."""
    order.hear(message, 0.0)
    out = list(order.out)
    order.out.clear()
    gaps = [gap for gap in out if isinstance(gap, Gap)]
    return [m for m in out if not isinstance(m, Gap)], [(g.kind, g.epoch, g.first_seq, g.last_seq) for g in gaps]


def without_repair(*kinds: str) -> StreamOrder:
    return StreamOrder(kinds or ("clip", "event", "status"), repairing=False)


def test_losses_are_reported_even_in_silence():
    order = without_repair()
    assert heard(order, clip(epoch=1, seq=1)) == ([clip(epoch=1, seq=1)], [])
    assert heard(order, clip(epoch=1, seq=4)) == ([clip(epoch=1, seq=4)], [("clip", 1, 2, 3)])
    assert heard(order, status(epoch=1, seq=9, clip=6, event=0))[1] == [("clip", 1, 5, 6)]
    assert heard(order, status(epoch=1, seq=10, clip=6, event=0))[1] == []
    assert order.missed == 4


def test_what_was_sent_before_we_listened_is_no_loss():
    order = without_repair()
    assert heard(order, status(epoch=1, seq=50, clip=500))[1] == []
    assert heard(order, clip(epoch=1, seq=501)) == ([clip(epoch=1, seq=501)], [])


def test_copies_and_old_publishers_are_ignored():
    order = without_repair("clip")
    heard(order, clip(epoch=2, seq=7))
    assert heard(order, clip(epoch=2, seq=7)) == ([], [])
    assert heard(order, clip(epoch=1, seq=99)) == ([], [])
    assert heard(order, clip(epoch=3, seq=1))[0] == [clip(epoch=3, seq=1)], "a new publisher starts anew"
    assert heard(order, clip(epoch=2, seq=8)) == ([], [])
    assert (order.duplicates, order.stale) == (1, 2)


@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_every_lost_message_is_counted_once(arrives):
    order = without_repair()
    count = 0
    for seq, arrived in enumerate([True, *arrives, True], 1):
        if arrived:
            fresh, _ = heard(order, clip(epoch=1, seq=seq))
            count += len(fresh)
    assert count + order.missed == len(arrives) + 2


@pytest.mark.parametrize("body", [b"", b"{", b"\xc1", b'{"schema":"vidpipe.clip/9"}', b"x" * (2 << 20)])
def test_a_broken_message_is_one_sentence(body):
    with pytest.raises(StreamError, match="message"):
        decode(body)


def test_unknown_fields_are_ignored_and_both_formats_agree():
    message = clip()
    fields = msgspec.json.decode(encode(message, "json")) | {"invented_later": 1}
    assert decode(msgspec.json.encode(fields)) == decode(encode(message)) == message


def test_a_port_in_use_and_an_open_address_are_refused(publisher):
    with pytest.raises(StreamError, match="already in use: stop the other program or choose another port"):
        Publisher(publisher.address, epoch=1)
    with pytest.raises(StreamError, match="--insecure"):
        Publisher("tcp://0.0.0.0:*", epoch=1)
    with pytest.raises(StreamError, match=r"publish\.bind is tcp://0\.0\.0\.0:5555, which .* --insecure"):
        ReplayServer(None, "tcp://0.0.0.0:5555")
    with pytest.raises(StreamError, match=r"publish\.replay is tcp://0\.0\.0\.0:5556, which .* --insecure"):
        ReplayServer("tcp://0.0.0.0:5556", "tcp://127.0.0.1:5555")
    with pytest.raises(StreamError, match="cannot be bound"):
        Publisher("tcp://127.0.0.1:notaport", epoch=1)
    with Publisher("tcp://0.0.0.0:*", epoch=1, insecure=True) as open_to_all:
        assert open_to_all.address


def test_a_subscriber_refuses_what_it_cannot_hear():
    with pytest.raises(StreamError, match="kinds is"):
        Subscriber("tcp://127.0.0.1:1", kinds=["clips"])
    with pytest.raises(StreamError, match="no address to connect to"):
        Subscriber("here")


def test_the_epoch_grows_even_when_the_clock_stands_back_or_the_disk_is_read_only(tmp_path, caplog):
    first = next_epoch(tmp_path)
    (tmp_path / "epoch").write_text(str(first + 10**9))
    assert next_epoch(tmp_path) == first + 10**9 + 1
    (tmp_path / "file").touch()
    assert next_epoch(tmp_path / "file" / "below") >= first
    assert "cannot be written" in caplog.text


def test_topics_end_with_a_slash():
    assert topic("camera1", "clip") == b"vidpipe/1/camera1/clip/"


def test_what_a_new_publisher_sent_before_we_heard_it_is_a_loss_for_those_who_heard_the_old_one():
    order = without_repair()
    heard(order, clip(epoch=1, seq=7))
    order.hear(clip(epoch=2, seq=4), 0.0)
    assert order.out.popleft() == Gap("camera1", "clip", 1, 8, 7, "no replay", open_end=True), "who knows what it sent"
    assert order.out.popleft() == Gap("camera1", "clip", 2, 1, 3, "no replay")
    order.out.clear()
    gaps = heard(order, status(epoch=3, seq=1, clip=2, event=1))[1]
    assert gaps == [("clip", 2, 5, 4), ("clip", 3, 1, 2), ("event", 2, 1, 0), ("event", 3, 1, 1)]
    assert order.missed == 6


def test_names_may_come_alone_but_not_be_missing(publisher):
    with Subscriber(publisher.address, cameras="hello", kinds=["status"]) as subscriber:
        joined(publisher, subscriber)
    with pytest.raises(StreamError, match="cameras is empty"):
        Subscriber(publisher.address, cameras=[])


def test_an_address_on_disk_is_not_taken_from_whoever_has_it(tmp_path):
    address = f"ipc://{tmp_path}/socket"
    with Publisher(address, epoch=1), pytest.raises(StreamError, match="already in use"):
        Publisher(address, epoch=2)
    with Publisher(address, epoch=3) as publisher:
        assert publisher.address == address


def test_a_kind_that_was_invented_later_is_ignored(publisher):
    with Subscriber(publisher.address, kinds=["clip", "status"]) as subscriber:
        joined(publisher, subscriber)
        publisher._outlet.send([b"vidpipe/1/camera1/mood/", b"\x80"])
        publisher.publish(clip())
        assert hear(subscriber).camera == "camera1"
        assert subscriber.damaged == 0


def test_a_publisher_with_a_lower_epoch_is_not_believed_and_that_is_told_once(caplog):
    with Publisher(ANY_PORT, epoch=6) as newer, Subscriber(newer.address, repair=False) as subscriber:
        joined_at(newer, subscriber)
        with Publisher(ANY_PORT, epoch=5) as older:
            subscriber._feed.socket.connect(older.address)
            while not subscriber.stale:
                older.publish(clip())
                assert subscriber.receive(0.02) is None
            older.publish(clip())
            assert subscriber.receive(0.1) is None
    assert [r.message for r in caplog.records if "is not believed" in r.message] == [
        f"what {newer.address} publishes of camera1 is not believed: its epoch 5 is lower than one heard before. "
        "Two publishers run there, or one has lost its state folder while its clock is behind"
    ]


def joined_at(publisher: Publisher, subscriber: Subscriber) -> None:
    """Publish clips until one arrives."""
    while subscriber.receive(0.05) is None:
        publisher.publish(clip())
