"""Publisher, journal and subscriber over real sockets: what got lost comes again, in order, once; or is reported."""

import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.stream.archive import Limits
from pipeline.stream.continuity import Gap
from pipeline.stream.journal import Journal
from pipeline.stream.messages import ClipSpan, Event, Message, ModelInfo, Prediction, StateInfo, Status
from pipeline.stream.publisher import Publisher
from pipeline.stream.replay_server import ReplayServer
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
