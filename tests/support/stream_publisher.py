"""A publisher with a journal, in a process that can be killed: clips of two cameras, each message with its own number.

Usage: python stream_publisher.py FOLDER ADDRESS EPOCH RATE_HZ
"""

import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from pipeline.stream.journal import Journal
from pipeline.stream.messages import ClipSpan, ModelInfo, Prediction, StateInfo, Status
from pipeline.stream.publisher import Publisher
from pipeline.stream.replay_server import ReplayServer

CAMERAS = ("camera1", "camera2")


def numbered(camera: str, index: int, padding: int = 0) -> Prediction:
    return Prediction(
        camera=camera,
        epoch=0,
        seq=0,
        session="x" * padding,
        media_time=float(index),
        clip=ClipSpan(index, 0.0, 2.0, 10),
        model=ModelInfo("scene", "1", "ab", "openvino", "f32"),
        state=StateInfo(10, 2.0, True, "start"),
        label="idle",
        scores={"idle": 1.0},
    )


def main(folder: str, address: str, epoch: int, rate_hz: float) -> None:
    never = threading.Event()
    with ExitStack() as stack:
        server = stack.enter_context(ReplayServer(None, address))
        journal = stack.enter_context(Journal(Path(folder) / "journal.sqlite", epoch, server=server))
        publisher = stack.enter_context(Publisher(address, epoch=epoch, sink=journal.record, replay=server.announced))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        heartbeat_s = 0.0
        for index in range(1_000_000):
            for camera in CAMERAS:
                publisher.publish(numbered(camera, index))
                if time.monotonic() >= heartbeat_s:
                    publisher.publish(Status(camera=camera, epoch=0, seq=0, state="running"))
            if time.monotonic() >= heartbeat_s:
                heartbeat_s = time.monotonic() + 1.0
            never.wait(1 / rate_hz)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
