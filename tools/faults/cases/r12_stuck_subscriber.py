"""R12: a subscriber that hangs, and one that went away for a while."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import psutil

from faults.bench import Bench
from faults.recorder import Line, Recorder, recording
from faults.rig import free_address
from faults.verdict import Case, Checks, Finding
from pipeline.stream.messages import Counts, Status
from pipeline.stream.publisher import Publisher

_MESSAGES, _MORE, _PACE_S = 3000, 20_000, 0.001
_NOTHING_US = 50  # a frame at 30 a second takes 33,000
_MESSAGE = Status(camera="cam0", epoch=0, seq=0, state="running", counts=Counts(due=1))
_AWAY_S = 8.0


def run(bench: Bench) -> Finding:
    """The publisher alone with a stuck subscriber, then a pipeline with one that is stopped for a while."""
    checks = Checks()
    _publisher_alone(bench, checks)
    _gap_and_repair(bench, checks)
    return checks.finding()


def _publisher_alone(bench: Bench, checks: Checks) -> None:
    """Two publishers in turn, each with two subscribers; of the second one's, one is stopped."""
    folder = bench.own_folder()
    with ExitStack() as stack:
        publishers, recorders = [], []
        for k in range(2):
            address = free_address()
            publishers.append(stack.enter_context(Publisher(address, epoch=1)))
            recorders += [stack.enter_context(recording(address, folder / f"{k}{j}")) for j in range(2)]
        for publisher, pair in zip(publishers, (recorders[:2], recorders[2:]), strict=True):
            _until_heard(publisher, pair)
        recorders[3].child.send_signal(signal.SIGSTOP)
        times_us = np.array([[_publish_us(publisher) for publisher in publishers] for _ in range(_MESSAGES)])
        p99_us = np.percentile(times_us, 99, axis=0).tolist()
        before = psutil.Process().memory_info().rss
        for _ in range(_MORE):
            publishers[1].publish(_MESSAGE)
        grown_mib = (psutil.Process().memory_info().rss - before) / 2**20
        checks.that(
            f"publish p99 {p99_us[0]:.0f} us without and {p99_us[1]:.0f} us with a stuck subscriber",
            met=p99_us[1] <= max(1.1 * p99_us[0], p99_us[0] + _NOTHING_US),
            limit=f"at most 10 % or {_NOTHING_US} us more",
        )
        checks.at_most(f"memory grows over {_MORE} further messages by", grown_mib, 2.0, "MiB")


def _publish_us(publisher: Publisher) -> float:
    time.sleep(_PACE_S)
    begun_ns = time.perf_counter_ns()
    publisher.publish(_MESSAGE)
    return (time.perf_counter_ns() - begun_ns) / 1e3


def _until_heard(publisher: Publisher, recorders: Sequence[Recorder]) -> None:
    deadline_s = time.monotonic() + 20.0
    while not all(recorder.lines() for recorder in recorders):
        publisher.publish(Status(camera="cam0", epoch=0, seq=0, state="running"))
        time.sleep(0.05)
        if time.monotonic() > deadline_s:
            raise RuntimeError("the subscribers heard nothing within 20 s")


def _gap_and_repair(bench: Bench, checks: Checks) -> None:
    """A subscriber is stopped until the publisher has cut it off, then goes on."""
    with bench.stage(2) as stage, recording(stage.rig.address, stage.rig.folder / "recorded") as recorder:
        stage.ear.listen(5.0)
        recorder.child.send_signal(signal.SIGSTOP)
        stage.ear.listen(_AWAY_S)
        stopped = recorder.lines()
        recorder.child.send_signal(signal.SIGCONT)
        woken_s = time.monotonic()
        stage.ear.listen(6.0)
        lines = recorder.lines()
        news = [line for line in lines[len(stopped) :] if not line.gap]
        gaps = [line for line in lines if line.gap]
        checks.at_most(f"stopped for {_AWAY_S:.0f} s: hears again after", _first_s(news, woken_s), 3.0)
        checks.equal("messages lost for good", sum(line.gap for line in gaps), 0)
        checks.note(f"{max(line.repaired for line in lines)} messages came from the journal")
        checks.equal("clips and events missing or twice", _wrong(lines), 0)
        last_s = max((line.at_s for line in news if line.published_at < _wall_ns(woken_s)), default=woken_s) - woken_s
        checks.at_most("what was missed is filled in after", last_s, 3.0)


def _first_s(lines: Sequence[Line], since_s: float) -> float | None:
    return min((line.at_s for line in lines), default=since_s + 1e9) - since_s if lines else None


def _wall_ns(monotonic_s: float) -> float:
    return (time.time() - time.monotonic() + monotonic_s) * 1e9


def _wrong(lines: Sequence[Line]) -> int:
    """Clips and events that are missing between the first and the last, or came twice; a heartbeat ages at once."""
    seen: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for line in lines:
        if not line.gap:
            seen[line.camera, line.kind, line.epoch].append(line.seq)
    repaired = [numbers for (_, kind, _), numbers in seen.items() if kind != "status"]
    return sum(abs(max(numbers) - min(numbers) + 1 - len(numbers)) for numbers in repaired)


CASE = Case(
    "R12",
    "subscriber hangs, or is away",
    "publish p99 within 10 % of that without it (or 50 us: both are next to nothing), memory bounded; "
    "what it missed is noticed and filled in from the journal",
    run,
)
