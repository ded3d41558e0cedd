"""Keys over real sockets: who hears what, who hears nothing, and who is cut off."""

import errno
import logging
import os
from types import SimpleNamespace

import pytest
import zmq
from key_folder import KeyFolder, handshake, outcome

from engines.errors import StreamError
from engines.further import FurtherInput
from pipeline.inputs.receiver import InputPlan, InputReceiver
from pipeline.inputs.sender import InputSender
from pipeline.inputs.sockets import Endpoint
from pipeline.keys import files
from pipeline.keys.certificate import read_text
from pipeline.keys.client import ClientKeys
from pipeline.keys.server import ServerKeys
from pipeline.keys.store import Role
from pipeline.stream.address import exposure, is_local
from pipeline.stream.journal import Journal
from pipeline.stream.messages import ClipSpan, ModelInfo, Prediction, StateInfo, Status, decode
from pipeline.stream.publisher import Publisher
from pipeline.stream.replay_protocol import RangeAnswer, RangeRequest, decode_answer, encode
from pipeline.stream.replay_protocol import Refusal as Refused
from pipeline.stream.replay_server import ReplayServer
from pipeline.stream.subscriber import Subscriber
from pipeline.stream.subscriptions import granted, withdrawn

ANY_PORT = "tcp://127.0.0.1:*"
CAMERAS = ("camera1", "camera10")


def clip(camera):
    return Prediction(
        camera=camera,
        epoch=0,
        seq=0,
        clip=ClipSpan(0, 0.0, 2.0, 10),
        model=ModelInfo("scene", "1", "ab", "openvino", "f32"),
        state=StateInfo(10, 2.0, True, "start"),
        label="idle",
        scores={"idle": 1.0},
    )


def status(camera):
    return Status(camera=camera, epoch=0, seq=0, state="running")


@pytest.fixture
def keys(tmp_path):
    return KeyFolder(tmp_path)


@pytest.fixture
def server(keys, monkeypatch):
    monkeypatch.setattr("pipeline.keys.server._HANDSHAKE_MS", 300)
    return ServerKeys.load(keys.folder)


@pytest.fixture
def publisher(server):
    with Publisher(ANY_PORT, epoch=5, keys=server) as publisher:
        yield publisher


class Bare(list):
    """A context with its sockets."""

    def __init__(self):
        self.context = zmq.Context()


@pytest.fixture
def context():
    bare = Bare()
    yield bare
    bare.context.destroy(linger=0)


def raw(context, publisher, carried=None, kind=zmq.SUB):
    """A bare socket with a client's keys that is about to connect; and its events."""
    socket = context.context.socket(kind)
    context.append(socket)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    if carried is not None:
        ClientKeys.load(carried).secure(socket)
    if kind == zmq.SUB:
        socket.setsockopt(zmq.SUBSCRIBE, b"")
    monitor = handshake(socket)
    context.append(monitor)
    socket.connect(publisher.address)
    return socket, monitor


def heard(publisher, subscriber, rounds=3):
    """The cameras that are heard within some rounds after the first message: everybody is in by then."""
    cameras = set()
    while rounds:
        for camera in CAMERAS:
            publisher.publish(status(camera))
        while (message := subscriber.receive(0.03)) is not None:
            cameras.add(message.camera)
        rounds -= bool(cameras)
    return cameras


@pytest.mark.parametrize(
    ("asked", "cameras", "subscribed"),
    [
        (b"", None, [b""]),
        (b"vidpipe/1/a/clip/", None, [b"vidpipe/1/a/clip/"]),
        (b"", {"a", "b"}, [b"vidpipe/1/a/", b"vidpipe/1/b/"]),
        (b"vidpipe/1/", {"a"}, [b"vidpipe/1/a/"]),
        (b"vidpipe/1/cam", {"cam", "cam1", "x"}, [b"vidpipe/1/cam/", b"vidpipe/1/cam1/"]),
        (b"vidpipe/1/cam/", {"cam", "cam1"}, [b"vidpipe/1/cam/"]),
        (b"vidpipe/1/a/event/", {"a"}, [b"vidpipe/1/a/event/"]),
        (b"vidpipe/1/ab/event/", {"a"}, []),
        (b"vidpipe/1/ab", {"a"}, []),
        (b"vidpipe/2/", {"a"}, []),
        (b"", set(), []),
    ],
)
def test_a_subscription_is_narrowed_to_what_is_allowed(asked, cameras, subscribed):
    assert granted(asked, cameras) == subscribed


def test_a_whole_camera_is_not_taken_back_since_a_wider_wish_may_rest_on_it():
    assert withdrawn(b"vidpipe/1/a/clip/", {"a"}) == [b"vidpipe/1/a/clip/"]
    assert withdrawn(b"vidpipe/1/a/", {"a"}) == []
    assert withdrawn(b"vidpipe/1/", {"a"}) == []
    assert withdrawn(b"vidpipe/1/", None) == [b"vidpipe/1/"]


def test_each_key_hears_its_own_cameras_however_it_asks(keys, server, publisher):
    files = {"one": keys.new("one", "camera1"), "ten": keys.new("ten", "camera10"), "all": keys.new("all")}
    server.refresh()
    own = {"one": {"camera1"}, "ten": {"camera10"}, "all": {"camera1", "camera10"}}
    for name, file in files.items():
        with Subscriber(publisher.address, kinds=["status"], keys=file) as subscriber:
            assert heard(publisher, subscriber) == own[name]
        with Subscriber(publisher.address, CAMERAS, kinds=["status"], keys=file) as subscriber:
            assert heard(publisher, subscriber) == own[name]
    assert publisher.auth_failures == 0


def test_who_has_no_right_hears_nothing(keys, server, publisher, context, tmp_path, caplog):
    good, revoked, sender = keys.new("good"), keys.new("revoked"), keys.new("mic", role=Role.SENDER)
    keys.store.revoke("revoked")
    stranger = KeyFolder(tmp_path / "elsewhere") if (tmp_path / "elsewhere").mkdir() is None else None
    other_server = stranger.new("good")
    unknown = tmp_path / "unknown"
    unknown.touch(0o600)
    unknown.write_text(other_server.read_text().replace(stranger.store.server().public_key, server.public_key))
    server.refresh()
    files = {"plain": None, "unknown key": unknown, "wrong server key": other_server, "revoked": revoked}
    sockets = {name: raw(context, publisher, file) for name, file in files.items()}
    bad = {name: outcome(monitor) for name, (_, monitor) in sockets.items()}
    assert zmq.EVENT_HANDSHAKE_SUCCEEDED not in bad.values()
    assert None not in bad.values()
    assert bad["revoked"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH, "it is told, and tries no more"
    sockets["sender"] = raw(context, publisher, sender)
    assert outcome(sockets["sender"][1]) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    with Subscriber(publisher.address, kinds=["status"], keys=good) as subscriber:
        assert heard(publisher, subscriber, rounds=5) == set(CAMERAS)
    assert {name: socket.poll(0) for name, (socket, _) in sockets.items()} == dict.fromkeys(sockets, 0)
    publisher.look()
    assert publisher.auth_failures >= 4
    for name, (_, monitor) in sockets.items():
        if name != "sender":
            while (event := outcome(monitor, 0)) is not None:
                assert event != zmq.EVENT_HANDSHAKE_SUCCEEDED, name
    assert len([r for r in caplog.records if "refused" in r.message]) == 1, "one line a minute"
    assert "127.0.0.1" in caplog.text


def hears_why_not(subscriber, publisher, word):
    while word not in subscriber.refused:
        publisher.look()
        subscriber.receive(0.02)


def test_a_subscriber_is_told_that_it_is_not_let_in(keys, server, publisher, tmp_path, caplog):
    key = keys.new("mine")
    server.refresh()
    (tmp_path / "elsewhere").mkdir()
    foreign = KeyFolder(tmp_path / "elsewhere").new("foreign")
    with Subscriber(publisher.address) as plain, Subscriber(publisher.address, keys=foreign) as unknown:
        hears_why_not(plain, publisher, "wants a key")
        hears_why_not(unknown, publisher, "does not know this key")
    with Subscriber(publisher.address, kinds=["status"], keys=key) as mine:
        assert heard(publisher, mine) >= {"camera1"}
        assert mine.refused == ""
        keys.store.revoke("mine")
        hears_why_not(mine, publisher, "revoked")
    told = [record.message for record in caplog.records if "does not let this subscriber in" in record.message]
    assert len(told) == 3, "each is told once, however often it tries"


def test_revoking_cuts_the_live_session_and_the_others_come_back(keys, server, publisher, context, caplog):
    bad, good = keys.new("bad"), keys.new("good", "camera1")
    server.refresh()
    socket, monitor = raw(context, publisher, bad)
    assert outcome(monitor) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    with Subscriber(publisher.address, kinds=["status"], keys=good) as subscriber:
        assert heard(publisher, subscriber) == {"camera1"}
        while not socket.poll(20):
            publisher.publish(status("camera1"))
        publisher.look()
        assert publisher.subscribers == 2
        keys.store.revoke("bad")
        publisher.look()
        assert outcome(monitor) == zmq.EVENT_DISCONNECTED
        while socket.poll(0):
            socket.recv_multipart()
        assert heard(publisher, subscriber, rounds=5) == {"camera1"}
        assert outcome(monitor) == zmq.EVENT_HANDSHAKE_FAILED_AUTH
        assert not socket.poll(0)
        publisher.look()
        assert publisher.subscribers == 1
    assert "cut off" in caplog.text


def test_a_restart_of_the_socket_works_for_an_address_on_disk_too(keys, tmp_path, server):
    file, other = keys.new("good", "camera1"), keys.new("other")
    server.refresh()
    with (
        Publisher(f"ipc://{tmp_path}/feed", epoch=1, keys=server) as publisher,
        Subscriber(publisher.address, kinds=["status"], keys=file) as subscriber,
    ):
        assert heard(publisher, subscriber) == {"camera1"}
        assert other.exists()
        keys.store.revoke("other")
        publisher.look()
        while subscriber.receive(0.0) is not None:
            pass
        assert heard(publisher, subscriber) == {"camera1"}


@pytest.fixture
def replaying(server, tmp_path):
    """A publisher whose messages are kept and replayed, under the same keys."""
    with (
        ReplayServer(None, ANY_PORT, secure=server.secure, allowed=server.allowed) as replay,
        Journal(tmp_path / "journal.sqlite", 5, server=replay) as journal,
        Publisher(ANY_PORT, epoch=5, keys=server, sink=journal.record, replay=replay.announced) as publisher,
    ):
        yield publisher, replay.address


def ask(context, address, carried, camera):
    """One question for all of a camera's clips; its answer's frames, None where none comes."""
    socket = context.context.socket(zmq.DEALER)
    context.append(socket)
    if carried is not None:
        ClientKeys.load(carried).secure(socket)
    socket.connect(address)
    socket.send(encode(RangeRequest(id=1, camera=camera, kind="clip", after=(0, 0))))
    return socket.recv_multipart() if socket.poll(5000 if carried else 200) else None


def test_each_key_is_replayed_its_own_cameras_only(keys, server, replaying, context):
    publisher, address = replaying
    files = {"one": keys.new("one", "camera1"), "ten": keys.new("ten", "camera10"), "all": keys.new("all")}
    server.refresh()
    for camera in CAMERAS:
        publisher.publish(clip(camera))
    table = {}
    for name, file in files.items():
        for camera in CAMERAS:
            answer, *bodies = ask(context, address, file, camera)
            table[name, camera] = [decode(body).camera for body in bodies]
            assert isinstance(decode_answer(answer), RangeAnswer if bodies else Refused)
    own = {"one": ["camera1"], "ten": ["camera10"], "all": list(CAMERAS)}
    assert table == {(name, camera): [camera] * (camera in own[name]) for name in files for camera in CAMERAS}
    assert ask(context, address, None, "camera1") is None
    keys.store.revoke("one")
    server.refresh()
    socket = next(each for each in context if each.type == zmq.DEALER)
    socket.send(encode(RangeRequest(id=2, camera="camera1", kind="clip", after=(0, 0))))
    assert isinstance(decode_answer(socket.recv_multipart()[0]), Refused), "a session that lives on may nothing"


def test_a_late_joiner_with_a_key_gets_the_last_of_its_cameras_and_repairs_what_a_revocation_cut(
    keys, server, replaying
):
    publisher, address = replaying
    file, other = keys.new("one", "camera1"), keys.new("other")
    server.refresh()
    for camera in CAMERAS:
        publisher.publish(clip(camera))
    with Subscriber(publisher.address, keys=file, last=True, replay=address) as subscriber:
        assert subscriber.receive(10.0).camera == "camera1"
        seen = []
        while not seen:
            publisher.publish(clip("camera1"))
            publisher.publish(clip("camera10"))
            if (message := subscriber.receive(0.05)) is not None:
                seen.append(message)
        keys.store.revoke("other")
        assert other.exists()
        publisher.look()
        last = [publisher.publish(clip("camera1")) for _ in range(5)][-1]
        while not seen or seen[-1].seq < last.seq:
            publisher.publish(status("camera1"))
            if (message := subscriber.receive(0.05)) is not None:
                seen.append(message)
        numbers = [message.seq for message in seen]
        assert numbers == list(range(numbers[0], last.seq + 1))
        assert {message.camera for message in seen} == {"camera1"}
        assert subscriber.missed == 0


def test_unsubscribing_ends_what_is_sent(keys, server, publisher, context):
    file = keys.new("one", "camera1")
    server.refresh()
    socket, _ = raw(context, publisher, file, zmq.XSUB)
    topics = [b"vidpipe/1/camera1/status/", b"vidpipe/1/camera1/event/"]
    for each in topics:
        socket.send(b"\x01" + each)
    while not socket.poll(20):
        publisher._outlet.send([topics[0], b"x"])
    socket.send(b"\x00" + topics[0])
    while True:
        publisher._outlet.send([topics[0], b"x"])
        publisher._outlet.send([topics[1], b"y"])
        got = [socket.recv_multipart()[0]]
        while got[-1] != topics[1]:
            got.append(socket.recv_multipart()[0])
        if got == [topics[1]]:
            break


@pytest.mark.parametrize("content", [b"\x05", b"", b"hello"])
def test_a_client_that_sends_something_else_cannot_shift_rights_and_is_shut_out(
    keys, server, publisher, context, content
):
    """libzmq 4.3.5 gives the next subscription to another connection after such a message."""
    narrow, wide = keys.new("narrow", "camera1"), keys.new("wide")
    server.refresh()
    attacker, events = raw(context, publisher, narrow, zmq.XSUB)
    victim, others = raw(context, publisher, wide, zmq.XSUB)
    assert outcome(events) == outcome(others) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    attacker.send(content)
    victim.send(b"\x01vidpipe/1/")
    attacker.send(b"\x01vidpipe/1/camera1/")
    while not victim.poll(20):
        publisher._outlet.send([b"vidpipe/1/camera10/clip/", b"secret"])
    assert outcome(events) == zmq.EVENT_DISCONNECTED
    assert outcome(events) == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert not attacker.poll(0)


def test_a_flood_of_subscriptions_and_a_long_one_end_the_connection(keys, server, publisher, context, monkeypatch):
    monkeypatch.setattr("pipeline.stream.subscription_count.MOST_IN_A_SECOND", 2000)
    flooder, long = keys.new("flooder"), keys.new("long")
    server.refresh()
    socket, events = raw(context, publisher, long, zmq.XSUB)
    assert outcome(events) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    socket.send(b"\x01" + b"x" * 2000)
    assert outcome(events) == zmq.EVENT_DISCONNECTED
    socket.disconnect(publisher.address)
    socket, events = raw(context, publisher, flooder, zmq.XSUB)
    socket.setsockopt(zmq.SNDHWM, 0)
    assert outcome(events) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    for number in range(5000):
        socket.send(b"\x01%d" % number)
    while events.poll(5) == 0:
        publisher.attend()
    assert outcome(events) == zmq.EVENT_DISCONNECTED


def test_open_addresses_need_keys(keys, server, tmp_path):
    for address in ("tcp://0.0.0.0:*", "ipc://@vidpipe-test"):
        with pytest.raises(StreamError, match=r"vidpipe keys new NAME.*--insecure"):
            Publisher(address, epoch=1)
    with Publisher("tcp://0.0.0.0:*", epoch=1, keys=server) as publisher:
        assert publisher.address
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(StreamError, match=f"in the folder {folder} that other users can enter"):
        Publisher(f"ipc://{folder}/feed", epoch=1)
    with pytest.raises(StreamError, match="that other users can enter"):
        InputSender(f"ipc://{folder}/feed")


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("tcp://127.0.0.1:5555", True),
        ("tcp://127.8.8.8:*", True),
        ("tcp://[::1]:5555", True),
        ("tcp://localhost:5555", True),
        ("tcp://127.example.org:5555", False),
        ("tcp://localhost.example.org:5555", False),
        ("tcp://*:5555", False),
        ("tcp://eth0:5555", False),
        ("tcp://[::]:5555", False),
        ("tcp://10.0.0.1:5555", False),
        ("udp://127.0.0.1:5555", False),
    ],
)
def test_loopback_is_what_cannot_be_anything_else(address, private):
    assert is_local(address) == private
    assert (exposure(address) == "") == private


def test_without_keys_subscribers_are_counted_too(context):
    with Publisher(ANY_PORT, epoch=1) as publisher, Subscriber(publisher.address, kinds=["status"]) as subscriber:
        assert heard(publisher, subscriber) == set(CAMERAS)
        publisher.look()
        assert publisher.subscribers == 1
        assert publisher.auth_failures == 0


def further_plan(camera, address, *, bind=True, sender=""):
    return InputPlan(
        camera, FurtherInput("audio", 2, 0.5), Endpoint(f"cameras.{camera}.inputs.audio", address, bind, sender)
    )


def until(receiver, condition):
    """Read until something holds; the poll is the wait."""
    poller = receiver._sockets._poller
    for _ in range(2000):
        receiver.read()
        if condition():
            return
        poller.poll(5)
    raise AssertionError("it never came")


def test_senders_send_for_their_own_cameras_only(keys, server, caplog):
    mine, reader = keys.new("mic", "a", role=Role.SENDER), keys.new("reader")
    server.refresh()
    with InputReceiver([further_plan("a", ANY_PORT), further_plan("b", "tcp://127.0.0.1:*")], keys=server) as receiver:
        (address, *_) = receiver.addresses
        with (
            InputSender(address, bind=False, keys=mine) as sender,
            InputSender(address, bind=False, keys=reader) as other,
        ):
            until(receiver, lambda: sender.wait_for_listener(0.0) and other.wait_for_listener(0.0))
            other.send("a", "audio", [1, 2])
            sender.send("b", "audio", [1, 2])
            sender.send("a", "audio", [1, 2])
            until(receiver, lambda: receiver.counts("a")["audio"].received == 1 and receiver._sockets.refused == 2)
            assert receiver.counts("b")["audio"].received == 0
            keys.store.revoke("mic")
            server.refresh()
            sender.send("a", "audio", [1, 2])
            until(receiver, lambda: receiver._sockets.refused == 3)
            assert receiver.counts("a")["audio"].received == 1
    assert caplog.text.count("the key of its sender is not for that camera") == 1


def test_a_sender_that_is_bound_is_heard_by_its_own_pipeline_alone(keys, server, context):
    file, other = keys.new("mic", "a", role=Role.SENDER), keys.new("other", "a")
    server.refresh()
    with InputSender(ANY_PORT, keys=file) as sender:
        spy, events = raw(context, sender, other)
        assert outcome(events) != zmq.EVENT_HANDSHAKE_SUCCEEDED
        with InputReceiver([further_plan("a", sender.address, bind=False, sender="mic")], keys=server) as receiver:
            until(receiver, lambda: sender.wait_for_listener(0.0))
            sender.send("a", "audio", [1, 2])
            until(receiver, lambda: receiver.counts("a")["audio"].received == 1)
        assert not spy.poll(0)
        with pytest.raises(StreamError, match="there is no key mik"):
            InputReceiver([further_plan("a", sender.address, bind=False, sender="mik")], keys=server)


def test_no_key_is_ever_logged_whole(keys, server, publisher, context, caplog):
    caplog.set_level(logging.DEBUG)
    file = keys.new("late")
    _, monitor = raw(context, publisher, file)  # not read again yet: unknown
    assert outcome(monitor) == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    keys.store.revoke("late")
    server.refresh()
    while (event := outcome(monitor)) != zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        assert event is not None
    carried = read_text(file.read_text(), "it")
    assert "refused" in caplog.text
    for key in (carried.public_key, carried.secret_key, keys.store.server().secret_key):
        assert key not in caplog.text
        assert key[:8] not in caplog.text


def test_strangers_who_take_all_descriptors_shut_out_nobody(keys, server, monkeypatch):
    keys.new("early")
    assert not server.refresh()
    known = dict(server._clients)

    def none_left(*_arguments, **_options):
        raise OSError(errno.EMFILE, "Too many open files")

    keys.new("late")
    for place, name in ((os, "scandir"), (files, "os")):
        with monkeypatch.context() as patched:
            broken = none_left if name == "scandir" else SimpleNamespace(**vars(os) | {"open": none_left})
            patched.setattr(place, name, broken)
            assert not server.refresh()
        assert server._clients == known
    assert not server.refresh()
    assert len(server._clients) == 2, "what changed meanwhile counts once it can be read"


def test_a_publisher_that_cannot_be_opened_anew_goes_on_and_is_back_later(keys, publisher, monkeypatch):
    hall, *_ = [keys.new(name) for name in ("hall", "first", "second", "third")]
    publisher.look()
    context = type(publisher._outlet._context)
    make = context.socket

    def no_bind(_socket, _address):
        raise zmq.ZMQError(zmq.EADDRNOTAVAIL)

    def no_socket(each, kind, *arguments, **options):
        if kind == zmq.XPUB:
            raise zmq.ZMQError(errno.EMFILE)
        return make(each, kind, *arguments, **options)

    with Subscriber(publisher.address, keys=hall, kinds=["status"]) as subscriber:
        assert heard(publisher, subscriber) == set(CAMERAS)
        for place, name, fault, revoked in (
            (zmq.Socket, "bind", no_bind, ("first", "second")),
            (context, "socket", no_socket, ("third",)),
        ):
            with monkeypatch.context() as patched:
                patched.setattr(place, name, fault)
                for key in revoked:
                    keys.store.revoke(key)
                    publisher.look()
                    publisher.publish(status("camera1"))
                    publisher.attend()
            publisher.look()
            assert heard(publisher, subscriber) == set(CAMERAS)
