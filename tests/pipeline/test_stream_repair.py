"""Publisher, journal and subscriber over real sockets: what got lost comes again, in order, once; or is reported."""

import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest
import zmq

from engines.errors import StreamError
from pipeline.stream.archive import Limits
from pipeline.stream.continuity import Gap
from pipeline.stream.journal import Journal
from pipeline.stream.messages import ClipSpan, Event, Message, ModelInfo, Prediction, StateInfo, Status, topic
from pipeline.stream.publisher import Publisher
from pipeline.stream.replay_client import resolve
from pipeline.stream.replay_protocol import LastRequest, decode_answer, encode
from pipeline.stream.replay_server import ReplayServer, default_address
from pipeline.stream.subscriber import Subscriber

ANY_PORT = "tcp://127.0.0.1:*"


def clip(camera: str = "camera1", label: str = "idle") -> Prediction:
    return Prediction(
        camera=camera,
        epoch=0,
        seq=0,
        clip=ClipSpan(0, 0.0, 2.0, 10),
        model=ModelInfo("scene", "1", "ab", "openvino", "f32"),
        state=StateInfo(10, 2.0, True, "start"),
        label=label,
        scores={"idle": 1.0},
    )


def status(camera: str = "camera1") -> Status:
    return Status(camera=camera, epoch=0, seq=0, state="running")


def event(camera: str = "camera1") -> Event:
    return Event(camera=camera, epoch=0, seq=0, id="x", type="begin", label="a", start=0, end=1, peak=1)


class Network:
    """A publisher whose messages get lost on demand: they reach the journal, and no subscriber."""

    def __init__(self, publisher: Publisher, journal: Journal, server: ReplayServer) -> None:
        self.publisher, self.journal, self.server = publisher, journal, server

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.publisher.publish(message)

    def lose(self, *messages: Message) -> None:
        send = self.publisher._outlet.send
        self.publisher._outlet.send = lambda frames: None
        self.send(*messages)
        self.publisher._outlet.send = send


@contextmanager
def network(folder: Path, epoch: int = 1, bind: str = ANY_PORT, **limits: float):
    with ExitStack() as stack:
        server = stack.enter_context(ReplayServer(None, bind))
        journal = stack.enter_context(Journal(folder / "journal.sqlite", epoch, Limits(**limits), server=server))
        publisher = stack.enter_context(Publisher(bind, epoch=epoch, sink=journal.record, replay=server.announced))
        yield Network(publisher, journal, server)


def join(network: Network, subscriber: Subscriber, camera: str = "camera1") -> None:
    """Publish heartbeats until one arrives: from then on nothing is lost by chance."""
    deadline_s = time.monotonic() + 10
    while camera not in subscriber._order._status and time.monotonic() < deadline_s:
        network.send(status(camera))
        subscriber._turn(0.02)
    assert camera in subscriber._order._status


def take(subscriber: Subscriber, count: int) -> list[Message]:
    got = [subscriber.receive(10.0) for _ in range(count)]
    assert None not in got, f"only {got} came"
    return got


def numbers(messages: list[Message]) -> list[tuple[int, int]]:
    return [(message.epoch, message.seq) for message in messages]


def test_a_hole_is_filled_in_order_and_nothing_comes_twice(tmp_path):
    gaps: list[Gap] = []
    with network(tmp_path) as net, Subscriber(net.publisher.address, on_gap=gaps.append) as subscriber:
        join(net, subscriber)
        net.send(clip())
        net.lose(clip(), clip(), clip())
        net.send(clip(), clip())
        assert numbers(take(subscriber, 6)) == [(1, n) for n in range(1, 7)]
        assert (subscriber.repaired, subscriber.missed, subscriber.duplicates, gaps) == (3, 0, 0, [])


def test_a_loss_in_silence_is_repaired_at_the_next_heartbeat(tmp_path):
    with network(tmp_path) as net, Subscriber(net.publisher.address, kinds=["clip", "event"]) as subscriber:
        join(net, subscriber)
        net.lose(clip(), event())
        net.send(status())
        assert {type(m).__name__ for m in take(subscriber, 2)} == {"Prediction", "Event"}


def test_the_end_of_an_old_publisher_and_the_begin_of_the_new_one_are_repaired(tmp_path):
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        net = first.enter_context(network(tmp_path, 1, f"ipc://{tmp_path}/socket"))
        gaps: list[Gap] = []
        subscriber = stack.enter_context(Subscriber(net.publisher.address, on_gap=gaps.append))
        join(net, subscriber)
        net.send(clip(), clip())
        net.lose(clip(), clip())
        first.close()
        with network(tmp_path, 2, f"ipc://{tmp_path}/socket") as between:
            between.lose(clip())
        net = stack.enter_context(network(tmp_path, 3, f"ipc://{tmp_path}/socket"))
        net.lose(clip(), clip())
        assert numbers(take(subscriber, 2)) == [(1, 1), (1, 2)]
        send_until(net, subscriber, status())
        net.send(clip())
        assert numbers(take(subscriber, 6)) == [(1, 3), (1, 4), (2, 1), (3, 1), (3, 2), (3, 3)]
        assert (subscriber.missed, gaps) == (0, [])


def send_until(net: Network, subscriber: Subscriber, message: Message) -> None:
    """Publish until the subscriber has heard of this publisher."""
    deadline_s = time.monotonic() + 10
    while subscriber._order._epochs[message.camera] < net.publisher.epoch and time.monotonic() < deadline_s:
        net.send(message)
        subscriber._turn(0.02)


def test_a_late_joiner_gets_the_last_value_of_each_camera_first(tmp_path):
    with network(tmp_path) as net:
        net.lose(clip("a"), clip("a"), clip("b"), event("b"), status("a"), status("b"))
        with Subscriber(net.publisher.address, kinds=["clip", "event"], last=True, replay=net.server.address) as late:
            got = take(late, 3)
            assert [(m.camera, type(m).__name__, m.seq) for m in got] == [
                ("a", "Prediction", 2),
                ("b", "Prediction", 1),
                ("b", "Event", 1),
            ]
            join(net, late, "a")
            net.lose(clip("a"))
            net.send(clip("a"))
            assert numbers(take(late, 2)) == [(1, 3), (1, 4)]
            assert (late.missed, late.duplicates) == (0, 0)


def test_the_next_subscriber_begins_where_the_last_one_was(tmp_path):
    with network(tmp_path) as net:
        with Subscriber(net.publisher.address) as first:
            join(net, first)
            net.send(clip(), clip(), clip(), clip())
            assert numbers(take(first, 2)) == [(1, 1), (1, 2)]
            places = first.positions
        assert places == {("camera1", "clip"): (1, 2)}
        net.lose(clip())
        with Subscriber(net.publisher.address, since=places) as second:
            join(net, second)
            assert numbers(take(second, 3)) == [(1, 3), (1, 4), (1, 5)]


def test_latest_gives_the_newest_of_what_has_arrived(tmp_path):
    with network(tmp_path) as net, Subscriber(net.publisher.address, latest=True) as subscriber:
        join(net, subscriber)
        net.send(*[clip("a") for _ in range(50)], clip("b"), status("end"))
        deadline_s = time.monotonic() + 10
        while not subscriber._feed.socket.poll(100) and time.monotonic() < deadline_s:
            pass
        got = []
        while not got or got[-1].camera != "b":
            got += take(subscriber, 1)
        assert got[-1].seq == 1
        assert len(got) < 51
        assert [m.seq for m in got if m.camera == "a"][-1] == 50


def test_messages_that_are_too_old_when_they_are_read_are_counted(tmp_path, caplog):
    with network(tmp_path) as net, Subscriber(net.publisher.address, max_age_s=0.0) as subscriber:
        join(net, subscriber)
        net.send(clip(), clip())
        take(subscriber, 2)
        assert subscriber.late >= 2
        assert caplog.text.count("too slow") == 1


def test_a_message_that_arrives_broken_is_had_by_replay(tmp_path):
    with network(tmp_path) as net, Subscriber(net.publisher.address) as subscriber:
        join(net, subscriber)
        net.send(clip())
        net.lose(clip())
        net.publisher._outlet.send([topic("camera1", "clip"), b"\xc1"])
        net.send(clip())
        assert numbers(take(subscriber, 3)) == [(1, 1), (1, 2), (1, 3)]
        assert (subscriber.damaged, subscriber.repaired) == (1, 1)


def test_without_an_answer_the_hole_is_reported_in_time_and_the_stream_goes_on(tmp_path):
    gaps: list[Gap] = []
    nobody = f"ipc://{tmp_path}/nobody"
    with (
        network(tmp_path) as net,
        Subscriber(net.publisher.address, on_gap=gaps.append, replay=nobody, repair_timeout_s=0.3) as subscriber,
    ):
        join(net, subscriber)
        net.send(clip())
        net.lose(clip(), clip())
        net.send(clip(), clip("camera2"))
        begun_s = time.monotonic()
        got = take(subscriber, 3)
        assert 0.25 < time.monotonic() - begun_s < 5
        assert [(m.camera, m.seq) for m in got] == [("camera1", 1), ("camera2", 1), ("camera1", 4)], (
            "others do not wait"
        )
        assert gaps == [Gap("camera1", "clip", 1, 2, 3, "no answer")]
        assert subscriber.missed == 2


def test_where_there_is_no_replay_a_hole_is_a_gap_at_once(tmp_path):
    gaps: list[Gap] = []
    with Publisher(ANY_PORT, epoch=1) as publisher, Subscriber(publisher.address, on_gap=gaps.append) as subscriber:
        net = Network(publisher, None, None)
        join(net, subscriber)
        net.lose(clip())
        net.send(clip())
        assert numbers(take(subscriber, 1)) == [(1, 2)]
        assert [gap.reason for gap in gaps] == ["no replay"]


def test_a_request_from_another_language_is_json_over_req(tmp_path):
    with network(tmp_path) as net, zmq.Context() as context:
        net.send(clip(), clip(), clip())
        socket = context.socket(zmq.REQ)
        socket.connect(net.server.address)
        request = {"request": "range", "id": 1, "camera": "camera1", "kind": "clip", "after": [1, 1]}
        socket.send(msgspec.json.encode(request))
        assert socket.poll(10_000)
        head, *bodies = socket.recv_multipart()
        socket.close(linger=0)
    assert msgspec.json.decode(head) == {"answer": "range", "id": 1, "through": [1, 3], "more": False, "lost": []}
    assert [msgspec.msgpack.decode(body)["seq"] for body in bodies] == [2, 3]


def test_a_request_that_is_too_large_ends_the_connection_and_nothing_else(tmp_path):
    with network(tmp_path) as net, zmq.Context() as context:
        net.send(clip())
        hostile = context.socket(zmq.DEALER)
        hostile.connect(net.server.address)
        hostile.send(b"{" * 1_000_000)
        hostile.send(b"{}")
        good = context.socket(zmq.DEALER)
        good.connect(net.server.address)
        good.send(encode(LastRequest(id=3)))
        assert good.poll(10_000)
        assert decode_answer(good.recv_multipart()[0]).id == 3
        hostile.close(linger=0)
        good.close(linger=0)


def test_where_the_endpoint_is_and_how_it_is_announced(tmp_path):
    assert default_address("tcp://127.0.0.1:5555") == "tcp://127.0.0.1:5556"
    assert default_address("tcp://*:65535") == "tcp://*:*"
    assert default_address("tcp://127.0.0.1:*") == "tcp://127.0.0.1:*"
    assert default_address("ipc:///tmp/x") == "ipc:///tmp/x.replay"
    assert resolve(":5556", "tcp://camera-box:5555") == "tcp://camera-box:5556"
    assert resolve("ipc:///tmp/x.replay", "ipc:///tmp/x") == "ipc:///tmp/x.replay"
    with ReplayServer(None, ANY_PORT) as first:
        port = first.address.rpartition(":")[2]
        assert first.announced == f":{port}"
        with ReplayServer(None, f"tcp://127.0.0.1:{int(port) - 1}") as second:
            assert second.address != first.address, "the default was taken"
        with pytest.raises(StreamError, match="already in use"):
            ReplayServer(first.address, ANY_PORT)
        with ReplayServer(f"ipc://{tmp_path}/r", ANY_PORT) as elsewhere:
            assert elsewhere.announced == f"ipc://{tmp_path}/r"
    with pytest.raises(StreamError, match="other machines"):
        ReplayServer("tcp://0.0.0.0:*", ANY_PORT)
    with pytest.raises(StreamError, match="cannot be bound"):
        ReplayServer("tcp://127.0.0.1:nowhere", ANY_PORT)
    with pytest.raises(StreamError, match=r"^publish.bind is tcp://192.0.2.1:5595, and .* cannot be bound"):
        ReplayServer(None, "tcp://192.0.2.1:5595", insecure=True)


def test_a_bad_replay_address_is_one_sentence():
    with pytest.raises(StreamError, match="replay is here"):
        Subscriber(replay="here")


@pytest.mark.parametrize("announced", ["nonsense", "inproc://here", ":port"])
def test_an_announcement_that_is_no_address_ends_the_repairs_and_not_the_stream(tmp_path, announced, caplog):
    with (
        Publisher(ANY_PORT, epoch=1, replay=announced) as publisher,
        Subscriber(publisher.address) as subscriber,
    ):
        net = Network(publisher, None, None)
        join(net, subscriber)
        net.send(status())
        net.lose(clip())
        net.send(clip())
        assert numbers(take(subscriber, 1)) == [(1, 2)]
        assert subscriber.missed == 1
        assert caplog.text.count("not asked for") == 1
