"""Subscribers that come and go beside the one that measures: polite, killed, stopped, and one that never reads.

As a program it is one of them.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq

from pipeline.stream.subscriber import Subscriber

KINDS = ("polite", "killed", "stopped", "stuck")


class Farewell(msgspec.Struct, frozen=True):
    """What a polite guest says when it leaves."""

    received: int
    missed: int
    damaged: int


@dataclass
class _Guest:
    kind: str
    child: subprocess.Popen[bytes]
    leaves_s: float


class Guests:
    """Keeps a few subscribers of each kind at the pipeline; `tick` lets them come and go."""

    def __init__(self, address: str, seed: int, *, stay_s: tuple[float, float] = (10.0, 60.0)) -> None:
        self._address, self._stay_s = address, stay_s
        self._rng = random.Random(seed)
        self._here: list[_Guest] = []
        self.came = dict.fromkeys(KINDS, 0)
        self.farewells: list[Farewell] = []

    def tick(self, now_s: float) -> None:
        """Send away whose time is up, and let one of each kind that is not here come in."""
        for guest in [guest for guest in self._here if now_s >= guest.leaves_s]:
            self._send_away(guest)
        for kind in set(KINDS) - {guest.kind for guest in self._here}:
            self._here.append(_Guest(kind, self._start(kind), now_s + self._rng.uniform(*self._stay_s)))
            self.came[kind] += 1

    def close(self) -> None:
        """Send all away."""
        for guest in list(self._here):
            self._send_away(guest)

    def _start(self, kind: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(Path(__file__)), self._address, kind]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def _send_away(self, guest: _Guest) -> None:
        self._here.remove(guest)
        if guest.kind == "polite":
            guest.child.send_signal(signal.SIGTERM)
            said, _ = guest.child.communicate(timeout=20)
            if said:
                self.farewells.append(msgspec.json.decode(said, type=Farewell))
            return
        guest.child.kill()
        guest.child.communicate(timeout=20)


def main() -> None:
    """Be one guest until SIGTERM or SIGKILL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("kind", choices=KINDS)
    arguments = parser.parse_args()
    leaving: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: leaving.append(number))
    if arguments.kind == "stuck":
        _never_read(arguments.address, leaving)
        return
    with Subscriber(arguments.address, kinds=["clip", "event", "status"]) as subscriber:
        received = 0
        while not leaving:
            received += subscriber.receive(0.5) is not None
            if arguments.kind == "stopped" and received == 10:
                signal.raise_signal(signal.SIGSTOP)
        farewell = Farewell(received, subscriber.missed, subscriber.damaged)
    sys.stdout.buffer.write(msgspec.json.encode(farewell))


def _never_read(address: str, leaving: list[int]) -> None:
    """Small buffers, so that what is not read piles up at the publisher soon."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVHWM, 1)
        socket.setsockopt(zmq.RCVBUF, 4096)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(address)
        while not leaving:
            time.sleep(0.2)


if __name__ == "__main__":
    main()
