"""Publisher and subscriber in processes of their own: stopped, killed, cut off; what comes out is whole."""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random

import msgspec
import psutil
import pytest
import stream_publisher
from stream_publisher import numbered

from pipeline.fakecam.proxy import FaultProxy
from pipeline.fakecam.proxy_faults import Bandwidth, Blackhole, Cut, Latency, Refuse, Slice
from pipeline.stream.continuity import Gap
from pipeline.stream.journal import Journal
from pipeline.stream.messages import Status
from pipeline.stream.publisher import Publisher
from pipeline.stream.replay_server import ReplayServer
from pipeline.stream.subscriber import Subscriber

SUBSCRIBER = """
import sys, time
from pipeline.stream.subscriber import Subscriber
with Subscriber(sys.argv[1], "camera1", repair_timeout_s=10) as subscriber:
    following = None
    for message in subscriber:
        assert following in (None, message.media_time), (following, message.media_time)
        if following is None:
            print("first", flush=True)
        following = message.media_time + 1
        if message.label == "last":
            break
    print(int(following), subscriber.missed, subscriber.repaired, subscriber.duplicates, flush=True)
"""


@contextmanager
def process(*arguments: str):
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@contextmanager
def publisher_process(folder: Path, address: str, epoch: int, rate_hz: float = 200):
    arguments = [stream_publisher.__file__, str(folder), address, str(epoch), str(rate_hz)]
    with process(*arguments) as child:
        assert child.stdout.readline() == "ready\n"
        yield child


def test_a_stopped_subscriber_holds_nobody_up_and_has_everything_when_it_goes_on(tmp_path):
    address = f"ipc://{tmp_path}/socket"
    with (
        ReplayServer(None, address) as server,
        Journal(tmp_path / "journal.sqlite", 1, server=server) as journal,
        Publisher(address, epoch=1, sink=journal.record, replay=server.announced) as publisher,
        process("-c", SUBSCRIBER, address) as child,
    ):
        first = 0
        while not readable(child.stdout, 0.02) and first < 1000:
            publisher.publish(numbered("camera1", first))
            first += 1
        assert child.stdout.readline() == "first\n"
        child.send_signal(signal.SIGSTOP)
        before = psutil.Process().memory_info().rss
        for index in range(first, first + 6000):
            publisher.publish(numbered("camera1", index, 4000))
        grown_mib = (psutil.Process().memory_info().rss - before) / 2**20
        child.send_signal(signal.SIGCONT)
        last = numbered("camera1", first + 6000)
        publisher.publish(msgspec.structs.replace(last, label="last"))
        begun_s = time.monotonic()
        while not readable(child.stdout, 0.2) and time.monotonic() - begun_s < 30:
            publisher.publish(Status(camera="camera1", epoch=0, seq=0, state="running"))
        count, missed, repaired, duplicates = map(int, child.stdout.readline().split())
    assert (count, missed, duplicates) == (first + 6001, 0, 0)
    assert repaired > 1000, "it did lose something"
    assert grown_mib < 100


def readable(stream, wait_s: float) -> bool:
    return bool(select.select([stream], [], [], wait_s)[0])


def test_a_killed_publisher_is_followed_by_the_next_without_a_copy_and_every_loss_told(tmp_path):
    address = f"ipc://{tmp_path}/socket"
    gaps: list[Gap] = []
    seen: dict[str, list[tuple[int, int]]] = {"camera1": [], "camera2": []}
    with Subscriber(address, on_gap=gaps.append) as subscriber:
        for epoch in (1, 2, 3):
            with publisher_process(tmp_path, address, epoch) as child:
                begun_s = time.monotonic()
                count = dict.fromkeys(seen, 0)
                while min(count.values()) < 30 and time.monotonic() < begun_s + 20:
                    message = subscriber.receive(1.0)
                    if message is None:
                        continue
                    seen[message.camera].append((message.epoch, message.seq))
                    count[message.camera] += message.epoch == epoch
                os.kill(child.pid, signal.SIGKILL)
    for places in seen.values():
        assert places == sorted(set(places)), "in order, nothing twice"
        assert {epoch for epoch, _ in places} == {1, 2, 3}
    told = [(gap.camera, gap.epoch) for gap in gaps if gap.open_end]
    assert sorted(told) == [(camera, epoch) for camera in ("camera1", "camera2") for epoch in (1, 2)]
    for camera, places in seen.items():
        for (epoch, seq), (next_epoch, next_seq) in pairwise(places):
            missing = set(range(seq + 1, next_seq)) if epoch == next_epoch else set(range(1, next_seq))
            reported = {
                n
                for g in gaps
                if (g.camera, g.epoch) == (camera, next_epoch)
                for n in range(g.first_seq, g.last_seq + 1)
            }
            assert missing <= reported


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_network_that_fails_for_twenty_seconds_costs_no_message(tmp_path, seed, capsys):
    random = Random(seed)
    address = "tcp://127.0.0.1:*"
    with ExitStack() as stack:
        server = stack.enter_context(ReplayServer(None, address))
        journal = stack.enter_context(Journal(tmp_path / "journal.sqlite", 1, server=server))
        publisher = stack.enter_context(Publisher(address, epoch=1, sink=journal.record, replay=server.announced))
        live, replay = (
            stack.enter_context(FaultProxy("127.0.0.1", int(where.rpartition(":")[2])))
            for where in (publisher.address, server.address)
        )
        subscriber = stack.enter_context(
            Subscriber(
                f"tcp://127.0.0.1:{live.port}",
                replay=f"tcp://127.0.0.1:{replay.port}",
                repair_timeout_s=30,
                max_age_s=60,
            )
        )
        while subscriber.receive(0.05) is None:
            publisher.publish(numbered("camera1", 0))
        begun_s = time.monotonic()
        heartbeat_s = fault_s = begun_s
        got, sent, faults = [], 0, 0
        while time.monotonic() < begun_s + 20:
            if sent < 1500 * (time.monotonic() - begun_s):  # more would be a test of the disk
                sent = publisher.publish(numbered("camera1", sent, 2000)).seq
            if time.monotonic() >= heartbeat_s:
                publisher.publish(Status(camera="camera1", epoch=0, seq=0, state="running"))
                heartbeat_s += 1.0
            if time.monotonic() >= fault_s:
                fault = random.choice(
                    [
                        Latency(0.2, 0.2),
                        Blackhole(),
                        Cut(),
                        Cut(20_000, "close"),
                        Refuse(),
                        Slice(50, 0.001),
                        Bandwidth(20_000),
                    ]
                )
                way = random.choice(["both", "up", "down"])
                random.choice([live, live, replay]).inject(fault, way, for_s=random.uniform(0.1, 4.0))
                faults += 1
                fault_s += random.uniform(0.2, 1.0)
            if (message := subscriber.receive(0.003)) is not None:
                got.append(message.seq)
        live.clear()
        replay.clear()
        until_s = time.monotonic() + 30
        while (not got or got[-1] < sent) and time.monotonic() < until_s:
            publisher.publish(Status(camera="camera1", epoch=0, seq=0, state="running"))
            if (message := subscriber.receive(0.1)) is not None:
                got.append(message.seq)
        with capsys.disabled():
            told = f"{faults} faults, {sent} messages, {subscriber.repaired} repaired, {subscriber.duplicates} twice"
            print(f"\n{told}, {subscriber.missed} missed")  # noqa: T201 - what this test is asked for
    assert got == list(range(got[0], sent + 1))
    assert subscriber.missed == 0
    assert subscriber.repaired > 0
