"""Strangers at the doors, over real sockets: known subscribers go on, and nobody takes all there is."""

import logging
import os
import resource
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
import zmq
from key_folder import KeyFolder

from engines.errors import StreamError
from engines.further import FurtherInput
from pipeline.inputs.receiver import InputPlan, InputReceiver
from pipeline.inputs.sender import InputSender
from pipeline.inputs.sockets import Endpoint
from pipeline.keys.client import ClientKeys
from pipeline.keys.server import ServerKeys
from pipeline.publishing import most_connections
from pipeline.stream import grip, outlet, subscription_count
from pipeline.stream.grip import Grip
from pipeline.stream.journal import Journal
from pipeline.stream.messages import Status
from pipeline.stream.outlet import Outlet
from pipeline.stream.publisher import Publisher
from pipeline.stream.replay_protocol import LastAnswer, LastRequest, Refusal, decode_answer, encode
from pipeline.stream.replay_server import ReplayServer
from pipeline.stream.subscriber import Subscriber
from pipeline.stream.subscription_count import SubscriptionCount

ANY_PORT = "tcp://127.0.0.1:*"
TOPIC = b"vidpipe/1/a/clip/"


def until(condition, act=lambda: None, limit_s=20.0):
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s
        act()
        threading.Event().wait(0.005)


def place(address):
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return host, int(port)


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


class Sockets(list):
    """Sockets of one context, kept until it is destroyed."""

    def __init__(self):
        self._context = zmq.Context()

    def new(self, kind):
        self.append(self._context.socket(kind))
        self[-1].setsockopt(zmq.LINGER, 0)
        return self[-1]

    def close(self):
        self._context.destroy(linger=0)


@pytest.fixture
def context(stack):
    return stack.enter_context(closing(Sockets()))


def client(context, address, kind=zmq.SUB, topic=b"vidpipe/1/", carried=None):
    link = context.new(kind)
    if carried is not None:
        ClientKeys.load(carried).secure(link)
    link.setsockopt(zmq.RECONNECT_IVL, 20)
    if kind == zmq.SUB:
        link.setsockopt(zmq.SUBSCRIBE, topic)
    link.connect(address)
    return link


def hears(publisher, *links):
    """Publish until all of them have heard something that was sent from now on."""
    for link in links:
        while link.poll(0):
            link.recv_multipart()
    until(lambda: all(link.poll(0) for link in links), lambda: publisher.publish(status()))


def status():
    return Status(camera="a", epoch=0, seq=0, state="running")


def strangers(stack, address, number):
    """Connections that say nothing."""
    links = []
    for _ in range(number):
        with suppress(OSError):
            links.append(stack.enter_context(closing(socket.create_connection(place(address), timeout=10))))
    return links


@pytest.mark.parametrize("with_keys", [False, True])
def test_strangers_who_say_nothing_take_no_place_from_subscribers(stack, context, caplog, tmp_path, with_keys):
    caplog.set_level(logging.INFO)
    server = carried = None
    if with_keys:
        keys = KeyFolder(tmp_path)
        carried = keys.new("one")
        server = ServerKeys.load(keys.folder)
    publisher = stack.enter_context(Publisher(ANY_PORT, epoch=1, most=8, keys=server))
    known = [client(context, publisher.address, carried=carried) for _ in range(3)]
    hears(publisher, *known)
    strangers(stack, publisher.address, 40)
    until(lambda: publisher.sent_away >= 35 and publisher.subscribers <= 8)
    newcomer = client(context, publisher.address, carried=carried)
    hears(publisher, newcomer, *known)
    assert publisher.alarm == "publish.bind: connections are ended, since all of 8 connections are taken"
    assert caplog.text.count("connections are ended") == 1, "a line a minute"


def test_where_all_are_known_who_comes_last_is_sent_away_and_comes_in_once_there_is_room(stack, context):
    publisher = stack.enter_context(Publisher(ANY_PORT, epoch=1, most=4))
    known = [client(context, publisher.address) for _ in range(4)]
    hears(publisher, *known)
    late = client(context, publisher.address)
    until(lambda: publisher.sent_away > 1, lambda: publisher.publish(status()))
    assert not late.poll(0)
    hears(publisher, *known)
    known.pop().close()
    hears(publisher, late, *known)


def test_the_same_over_a_path(stack, context, tmp_path):
    publisher = stack.enter_context(Publisher(f"ipc://{tmp_path}/feed", epoch=1, most=2))
    known = [client(context, publisher.address) for _ in range(2)]
    hears(publisher, *known)
    client(context, publisher.address)
    until(lambda: publisher.sent_away > 1, lambda: publisher.publish(status()))
    hears(publisher, *known)


def test_another_machine_may_have_half_of_the_places(stack, context, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(grip.Link, "remote", "10.0.0.9")
        publisher = stack.enter_context(Publisher(ANY_PORT, epoch=1, most=6))
        held = strangers(stack, publisher.address, 3)
        until(lambda: publisher.subscribers == 3)
        strangers(stack, publisher.address, 1)
        until(lambda: publisher.sent_away == 1)
        assert publisher.alarm.endswith("since 10.0.0.9 has half of all 6 connections")
        held.pop().close()
        until(lambda: publisher.subscribers == 2)
        strangers(stack, publisher.address, 1)
        until(lambda: publisher.subscribers == 3)
        assert publisher.sent_away == 1


def test_a_descriptor_that_is_another_by_now_is_left_alone():
    out, into = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as server, closing(Grip()) as hand:
        endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with socket.create_connection(server.getsockname()) as caller, server.accept()[0] as accepted:
            before = len(list(Path("/proc/self/fd").iterdir()))
            for other in (out, into, caller.fileno(), 9999):
                with hand.on(other, endpoint) as link:
                    assert link is None
            caller.sendall(b"hello")
            assert accepted.recv(9, socket.MSG_PEEK) == b"hello"
            with hand.on(accepted.fileno(), endpoint) as link:
                assert (link.received_bytes, link.remote) == (5, "")
                link.hang_up()
            assert caller.recv(1) == b""
            assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.close(out)
    os.close(into)


@pytest.mark.parametrize("name", ["{}/feed", "@vidpipe-{}"], ids=["a path", "a name"])
def test_a_capture_process_is_not_taken_for_a_subscriber_at_a_path(stack, context, tmp_path, name):
    """Both are sockets of one family."""
    publisher = stack.enter_context(Publisher(f"ipc://{name.format(tmp_path)}", epoch=1, insecure=True))
    known = client(context, publisher.address)
    hears(publisher, known)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, closing(Grip()) as hand:
        with hand.on(ours.fileno(), publisher.address) as link:
            assert link is None
        guest = next(iter(publisher._outlet._door._inside.values()))
        with hand.on(guest.descriptor, guest.endpoint) as link:
            assert link is not None


FLOODS = {
    "topics": lambda number: b"\x01vidpipe/1/%d" % number,
    "there and back": lambda number: (b"\x01" if number % 2 else b"\x00") + TOPIC,
    "something else": lambda _number: b"\x05",
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_subscriptions_holds_nobody_up(stack, context, monkeypatch, flood):
    """libzmq reads on within our own send for as long as there is something to read."""
    monkeypatch.setattr(subscription_count, "MOST_IN_A_SECOND", 2000)
    monkeypatch.setattr(outlet, "MOST_IN_A_SECOND", 2000)
    monkeypatch.setattr(subscription_count, "MOST_TOPICS", 500)
    monkeypatch.setattr(SubscriptionCount, "is_far_too_much", False)
    publisher = stack.enter_context(Publisher(ANY_PORT, epoch=1))
    known = client(context, publisher.address)
    hears(publisher, known)
    over = threading.Event()
    attacker = client(context, publisher.address, zmq.XSUB)

    def attack():
        number = 0
        while not over.is_set():
            with suppress(zmq.Again):
                attacker.send(FLOODS[flood](number), zmq.NOBLOCK)
                number += 1

    thread = threading.Thread(target=attack)
    thread.start()
    events = known.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    try:
        until(lambda: publisher.sent_away, lambda: publisher.publish(status()))
        for _ in range(50):
            publisher.publish(status())
    finally:
        over.set()
        thread.join()
    assert not events.poll(0), "the others stay connected"
    assert publisher.alarm.endswith("since one subscribes to too much")
    hears(publisher, known)
    known.disable_monitor()
    events.close()


def test_where_nobody_can_tell_who_floods_all_are_cut_off_and_come_back(stack, context, monkeypatch, tmp_path):
    monkeypatch.setattr(subscription_count, "MOST_TOPICS", 500)
    publisher = stack.enter_context(Publisher(f"ipc://{tmp_path}/feed", epoch=1))
    known = client(context, publisher.address)
    hears(publisher, known)
    events = known.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    attacker = client(context, publisher.address, zmq.XSUB)
    for number in range(900):
        attacker.send(FLOODS["topics"](number))
    until(lambda: events.poll(0), publisher.attend)
    attacker.close()
    hears(publisher, known)
    known.disable_monitor()
    events.close()


def test_what_no_topic_begins_with_costs_a_key_its_place_only_in_great_numbers(stack, context, tmp_path, monkeypatch):
    monkeypatch.setattr(subscription_count, "MOST_TOPICS", 20)
    keys = KeyFolder(tmp_path)
    carried = keys.new("one")
    server = ServerKeys.load(keys.folder)
    publisher = stack.enter_context(Publisher(ANY_PORT, epoch=1, keys=server))
    link = client(context, publisher.address, zmq.XSUB, carried=carried)
    for number in range(100):
        link.send(b"\x01nonsense/%d" % number)
    link.send(b"\x01vidpipe/1/")
    hears(publisher, link)
    for number in range(30):
        link.send(b"\x01vidpipe/1/camera%d/" % number)
    user = ClientKeys.load(carried)._certificate.public_key
    until(lambda: server.cameras(user) == frozenset(), publisher.attend)


@pytest.mark.parametrize("with_keys", [False, True])
def test_one_who_asks_without_end_starves_nobody_with_the_same_key(stack, context, tmp_path, with_keys):
    secure = {}
    keys = carried = None
    if with_keys:
        keys = KeyFolder(tmp_path)
        carried = keys.new("one")
        server = ServerKeys.load(keys.folder)
        secure = {"secure": server.secure, "allowed": server.allowed}
    replay = stack.enter_context(ReplayServer(None, ANY_PORT, **secure))
    stack.enter_context(Journal(tmp_path / "journal.sqlite", 1, server=replay))

    def dealer():
        return client(context, replay.address, zmq.DEALER, carried=carried)

    def said(link):
        assert link.poll(10_000)
        return decode_answer(link.recv_multipart()[0])

    question = encode(LastRequest(id=1))
    greedy = [dealer() for _ in range(3)]
    busy = set()
    while len(busy) < len(greedy):
        for link in greedy:
            for _ in range(50):
                link.send(question)
            answers = [said(link) for _ in range(50)]
            if any(isinstance(answer, Refusal) and answer.busy for answer in answers):
                busy.add(link)
    polite = dealer()
    for _ in range(20):
        polite.send(question)
        assert isinstance(said(polite), LastAnswer)


def test_who_asks_on_and_on_has_to_leave(stack, context, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.stream.replay_server._MOST_EARLY", 50)
    replay = stack.enter_context(ReplayServer(None, ANY_PORT))
    stack.enter_context(Journal(tmp_path / "journal.sqlite", 1, server=replay))
    link = client(context, replay.address, zmq.DEALER)

    def ask():
        for _ in range(100):
            with suppress(zmq.Again):
                link.send(encode(LastRequest(id=1)), zmq.NOBLOCK)
        while link.poll(0):
            link.recv_multipart()

    until(lambda: replay.tally.sent_away, ask)
    assert replay.alarm == "publish.replay: connections are ended, since one asks on and on"


def test_strangers_at_the_replay_keep_no_subscriber_from_its_repair(stack, tmp_path):
    replay = stack.enter_context(ReplayServer(None, ANY_PORT, most=6))
    journal = stack.enter_context(Journal(tmp_path / "journal.sqlite", 1, server=replay))
    publisher = stack.enter_context(Publisher(ANY_PORT, epoch=1, sink=journal.record, replay=replay.announced))
    strangers(stack, replay.address, 30)
    until(lambda: replay.tally.sent_away >= 24)
    publisher.publish(status())
    subscriber = Subscriber(publisher.address, kinds=["status"], last=True, replay=replay.address)
    with subscriber:
        assert subscriber.receive(10.0).camera == "a"


def test_strangers_at_an_input_keep_no_sender_out(stack):
    further = FurtherInput("audio", 2, 0.5)
    receiver = stack.enter_context(InputReceiver([InputPlan("a", further, Endpoint("inputs.audio", ANY_PORT, True))]))
    held = strangers(stack, receiver.addresses[0], 200)
    until(lambda: sum(map(is_over, held)) >= 100)
    sender = stack.enter_context(InputSender(receiver.addresses[0], bind=False))

    def send():
        sender.send("a", "audio", [1.0, 2.0])
        receiver.read()

    until(lambda: receiver.counts("a")["audio"].received, send)


def test_a_machine_that_sends_the_inputs_of_many_cameras_has_a_place_for_each(stack, monkeypatch):
    monkeypatch.setattr(grip.Link, "remote", "10.0.0.9")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    further = FurtherInput("audio", 2, 0.5)
    plans = [InputPlan(f"c{number}", further, Endpoint("audio", address, True)) for number in range(40)]
    receiver = stack.enter_context(InputReceiver(plans))
    senders = [stack.enter_context(InputSender(address, bind=False)) for _ in plans]

    def send():
        for plan, sender in zip(plans, senders, strict=True):
            sender.send(plan.camera, "audio", [1.0, 2.0])
        receiver.read()

    until(lambda: all(receiver.counts(plan.camera)["audio"].received for plan in plans), send)


def is_over(link):
    """Whether the other end has hung up: it sends its greeting first."""
    link.settimeout(0)
    try:
        while link.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize("fault", [(Grip, "__init__", OSError(24, "x")), (threading.Thread, "start", RuntimeError())])
def test_a_door_that_cannot_be_watched_is_not_opened_and_nobody_waits(monkeypatch, fault):
    place, name, error = fault

    def fail(_self):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(place, name, fail)
        for opened in (lambda: Outlet(ANY_PORT), lambda: ReplayServer(None, ANY_PORT)):
            with pytest.raises(StreamError, match="cannot be bound"):
                opened()


def test_descriptors_are_left_for_cameras(monkeypatch):
    limits = {256: 32, 1024: 416, 64: 16, 65536: 1024, resource.RLIM_INFINITY: 1024}
    for limit, most in limits.items():
        monkeypatch.setattr(resource, "getrlimit", lambda _what, limit=limit: (limit, limit))
        assert most_connections(4) == most


def test_a_door_takes_no_descriptor_along(context):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        each = Outlet(ANY_PORT)
        link = client(context, each.address)
        until(lambda each=each: each.subscribers == 1)
        each.close()
        link.close()
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before + 4)


def test_many_programs_with_one_key_may_come_back_at_once_and_one_may_not_ask_as_much_alone():
    wanted = [b"vidpipe/1/camera%d/clip/" % number for number in range(90)]
    count = SubscriptionCount()
    assert all(count.ask("key", [topic], connections=300) for _ in range(300) for topic in wanted)
    alone = SubscriptionCount()
    assert not all(alone.ask("key", wanted[:1], connections=1) for _ in range(300 * 90))
