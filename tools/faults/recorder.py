"""A subscriber in a process of its own that writes down what it gets: python recorder.py ADDRESS FILE.

One line of JSON a message: when it arrived, and which it was; a line with `gap` for what was lost for good.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pipeline.stream.continuity import Gap
from pipeline.stream.messages import KINDS
from pipeline.stream.subscriber import Subscriber


class Line(msgspec.Struct, frozen=True):
    """One message, or a gap of `gap` messages from `seq` on; `repaired` counts what was asked for and came so far."""

    at_s: float
    camera: str
    kind: str
    epoch: int
    seq: int
    published_at: int = 0
    gap: int = 0
    repaired: int = 0


@dataclass(frozen=True)
class Recorder:
    """A recording subscriber: its process, and what it has written so far."""

    child: subprocess.Popen[bytes]
    path: Path

    def lines(self) -> list[Line]:
        """What it has got."""
        rows = self.path.read_bytes().splitlines() if self.path.exists() else []
        return [msgspec.json.decode(row, type=Line) for row in rows if row.endswith(b"}")]


@contextmanager
def recording(address: str, path: Path) -> Iterator[Recorder]:
    """A subscriber to all messages until the context ends."""
    with subprocess.Popen([sys.executable, str(Path(__file__)), address, str(path)]) as child:
        try:
            yield Recorder(child, path)
        finally:
            child.kill()


def main() -> None:
    """Record until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    with arguments.path.open("ab", buffering=0) as file:

        def gap(found: Gap) -> None:
            row = Line(time.monotonic(), found.camera, found.kind, found.epoch, found.first_seq, gap=found.count)
            file.write(msgspec.json.encode(row) + b"\n")

        with Subscriber(arguments.address, kinds=["clip", "event", "status"], on_gap=gap) as subscriber:
            for message in subscriber:
                row = Line(
                    time.monotonic(),
                    message.camera,
                    KINDS[type(message)],
                    message.epoch,
                    message.seq,
                    message.published_at,
                    repaired=subscriber.repaired,
                )
                file.write(msgspec.json.encode(row) + b"\n")


if __name__ == "__main__":
    main()
