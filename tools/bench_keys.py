"""What keys cost: microseconds a message and a turn of the loop, and how long a revocation keeps the others away.

python tools/bench_keys.py
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.keys.server import ServerKeys
from pipeline.keys.store import KeyStore, Role
from pipeline.stream.messages import Status
from pipeline.stream.publisher import Publisher
from pipeline.stream.subscriber import Subscriber

CLIENTS = 100


def microseconds(act: Callable[[], object], times: int) -> float:
    """The least of five means."""
    means = []
    for _ in range(5):
        begun_ns = time.perf_counter_ns()
        for _ in range(times):
            act()
        means.append((time.perf_counter_ns() - begun_ns) / times / 1e3)
    return round(min(means), 2)


def join(publisher: Publisher, subscriber: Subscriber, status: Status) -> None:
    while subscriber.receive(0.002) is None:
        publisher.publish(status)


def measure(folder: Path) -> dict[str, float]:
    store = KeyStore(folder / "keys", create=True)
    for number in range(CLIENTS):
        store.new(f"client{number}", ["camera0"], Role.SUBSCRIBER, "", folder / f"client{number}")
    keys = ServerKeys.load(folder / "keys")
    status = Status(camera="camera0", epoch=0, seq=0, state="running")
    figures: dict[str, float] = {}
    for name, own, file in (("plain", None, None), ("with keys", keys, folder / "client0")):
        with (
            Publisher("tcp://127.0.0.1:*", epoch=1, keys=own) as publisher,
            Subscriber(publisher.address, kinds=["status"], keys=file, repair=False) as subscriber,
        ):
            join(publisher, subscriber, status)
            figures[f"publish, {name}, us"] = microseconds(lambda p=publisher: p.publish(status), 500)  # type: ignore[misc]
            figures[f"turn without news, {name}, us"] = microseconds(publisher.attend, 5000)
            figures[f"look each second, {name}, us"] = microseconds(publisher.look, 50)
            if own is not None:
                while subscriber.receive(0.1) is not None:
                    pass
                store.revoke("client1")
                begun_s = time.perf_counter()
                publisher.look()
                figures["revocation: the loop stands, ms"] = round(1e3 * (time.perf_counter() - begun_s), 2)
                join(publisher, subscriber, status)
                figures["revocation: until another subscriber hears again, ms"] = round(
                    1e3 * (time.perf_counter() - begun_s), 1
                )
    return figures


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder)), indent=2))


if __name__ == "__main__":
    main()
