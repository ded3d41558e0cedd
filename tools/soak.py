"""Hours of failing cameras and subscribers that come and go: does vidpipe grow, slow down or lose anything?

    python tools/soak.py --minutes 60 --cameras 6 --reconnects 300 --json soak.json --plot soak.png

Real fake cameras in a process of their own, `vidpipe run` in another. Cameras fail on a schedule made from the seed:
they hang up, stall, go away and come back; capture processes get SIGSEGV and SIGSTOP; with --mild, pictures freeze,
break and change their size too. Every few seconds the processes are looked at; slopes are Theil-Sen over the medians of
minutes after the warm-up, with 95 % intervals. Ends with 1 where a verdict is `fail`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil
from faults.cameras import SteeredCameras, steered_cameras
from faults.guests import Guests
from faults.rig import Rig, leave_in_order, running, write_config
from faults.sampling import Sampler
from faults.schedule import SHORT, Act, plan
from faults.soak_report import Ledger, Report, Setting, judge_again, judge_all, lines

from pipeline.bench.video import record_scene
from pipeline.fakecam import faults
from pipeline.stream.subscriber import Subscriber

_START_S = 60.0
_CALM_END_S = 15.0
_PROGRESS_S = 60.0
_LATER_S = 2.0
_MILD: dict[str, faults.Fault] = {
    "freeze": faults.Freeze(),
    "corrupt": faults.Corrupt(0.2),
    "drop": faults.Drop(0.2),
    "resize": faults.Resize(320, 240),
}


class Soak:
    """One run: does what is due, listens in between, and keeps the books."""

    def __init__(
        self, setting: Setting, rig: Rig, cameras: SteeredCameras, subscriber: Subscriber, guests: Guests
    ) -> None:
        self._setting, self._rig, self._cameras = setting, rig, cameras
        self._subscriber, self._guests = subscriber, guests
        self._ports = [urlsplit(url).port or 0 for url in cameras.urls]
        self._acts: list[Act] = []
        self._down: set[int] = set()
        self.ledger = Ledger()

    def run(self) -> None:
        """From the first clips to the end of the time.

        Raises:
            RuntimeError: the pipeline did not start, or ended by itself.
        """
        self._wait_for_all()
        setting = self._setting
        self._acts = plan(
            seed=setting.seed,
            cameras=setting.cameras,
            reconnects=setting.reconnects,
            begin_s=5.0,
            end_s=setting.seconds - _CALM_END_S,
            mild=setting.mild,
        )
        sampler = Sampler(self._rig.process)
        began_s = time.monotonic()
        next_s = {"sample": 0.0, "progress": _PROGRESS_S, "guests": 0.0}
        while (at_s := time.monotonic() - began_s) < setting.seconds:
            if not self._rig.alive:
                raise RuntimeError(f"vidpipe ended by itself: {self._rig.errors[-2000:]}")
            while self._acts and self._acts[0].at_s <= at_s:
                self._do(self._acts.pop(0), at_s)
            if at_s >= next_s["sample"]:
                self.ledger.samples.append(sampler.look())
                next_s["sample"] += setting.every_s
            if at_s >= next_s["guests"]:
                self._guests.tick(time.monotonic())
                next_s["guests"] = at_s + 1.0
            if at_s >= next_s["progress"]:
                print(self.ledger.progress(at_s, setting, self._subscriber.missed), flush=True)
                next_s["progress"] += _PROGRESS_S
            self._hear(began_s)

    def _wait_for_all(self) -> None:
        deadline_s = time.monotonic() + _START_S
        seen: set[str] = set()
        while len(seen) < self._setting.cameras:
            if time.monotonic() > deadline_s or not self._rig.alive:
                raise RuntimeError(f"{len(seen)} of {self._setting.cameras} cameras came up: {self._rig.errors}")
            message = self._subscriber.receive(1.0)
            seen |= {message.camera} if message is not None else set()

    def _hear(self, began_s: float) -> None:
        message = self._subscriber.receive(0.1)
        while message is not None:
            self.ledger.note(time.monotonic() - began_s, message)
            message = self._subscriber.receive(0.0)

    def _do(self, act: Act, at_s: float) -> None:
        """Do it, or do it later where there is no process to be hurt right now."""
        if act.act not in SHORT[1:]:
            self._cameras.do(act.camera, act.act, _MILD[act.fault] if act.act == "inject" else None)
        elif not self._hurt_process(act):
            self._acts = sorted([*self._acts, replace(act, at_s=at_s + _LATER_S)], key=lambda each: each.at_s)
            return
        if act.begins:
            self.ledger.faults[act.fault] += 1
            self.ledger.marks.append((round(at_s, 1), act.camera, act.fault))

    def _hurt_process(self, act: Act) -> bool:
        child = self._rig.capture_of(self._ports[act.camera])
        if child is None:
            return False
        try:
            child.send_signal(signal.SIGSEGV if act.act == "crash" else signal.SIGSTOP)
        except psutil.NoSuchProcess:
            return False
        return True


def main() -> None:
    """Run once, write what was measured, and print the verdicts."""
    leave_in_order()
    arguments = _arguments()
    setting = Setting(
        seconds=60.0 * arguments.minutes,
        cameras=arguments.cameras,
        reconnects=arguments.reconnects,
        seed=arguments.seed,
        every_s=arguments.every,
        warm_up_s=min(600.0, 60.0 * arguments.minutes / 5) if arguments.warm_up is None else arguments.warm_up,
        model=arguments.model,
        mild=tuple(_MILD) if arguments.mild else (),
    )
    report = _earlier(arguments.again) if arguments.again else _measure(setting)
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    if arguments.plot:
        from faults.soak_plot import draw  # noqa: PLC0415 - matplotlib takes a second

        draw(report, arguments.plot)
    print("\n".join(lines(report)))
    sys.exit(any(verdict.verdict == "fail" for verdict in report.verdicts))


def _earlier(path: Path) -> Report:
    return judge_again(msgspec.json.decode(path.read_bytes(), type=Report))


def _measure(setting: Setting) -> Report:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vidpipe-soak-")))
        video = record_scene(folder / "scene.mp4", fps=15)
        cameras = stack.enter_context(steered_cameras(video, setting.cameras))
        sources = {f"cam{k}": {"source": url, "model": setting.model} for k, url in enumerate(cameras.urls)}
        config, address = write_config(folder, sources)
        subscriber = stack.enter_context(Subscriber(address, kinds=["clip", "event", "status"]))
        rig = stack.enter_context(running(folder, config, address))
        guests = Guests(address, setting.seed)
        stack.callback(guests.close)
        soak = Soak(setting, rig, cameras, subscriber, guests)
        soak.run()
        ledger = soak.ledger
        guests.close()
        code, took_s = rig.stop()
        while (message := subscriber.receive(1.0)) is not None:
            ledger.note(setting.seconds, message)
        ledger.end(code, took_s, rig.errors)
        ledger.missed, ledger.damaged = subscriber.missed, subscriber.damaged
        ledger.guests, ledger.farewells = Counter(guests.came), list(guests.farewells)
    return judge_all(setting, ledger)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument("--reconnects", type=int, default=300, help="faults that end a connection")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks at the processes")
    parser.add_argument("--warm-up", type=float, help="seconds that no slope counts; by default 600, or a fifth")
    parser.add_argument("--model", default="scene", help="a bundle's name or folder")
    parser.add_argument("--mild", action="store_true", help="also freeze, break and resize pictures")
    parser.add_argument("--again", type=Path, metavar="JSON", help="judge an earlier run that --json wrote")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write everything that was measured")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
