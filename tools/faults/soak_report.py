"""A soak run's books, and the verdicts that they allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from faults.guests import Farewell
from faults.sampling import Sample
from faults.slopes import Slope, Verdict, judge, theil_sen
from pipeline.stream.messages import Message, Prediction, Status

_MEMORY_MIB_PER_HOUR = 1.0
_ONE_PER_HOUR = 1.0
_DRIFT = 1.2  # of the median latency, last third over first third
_LEAVE_S = 5.0
_LONG_ENOUGH_S = 900.0  # what grows in less may be anything


class Setting(msgspec.Struct, frozen=True):
    """What a soak was asked for."""

    seconds: float
    cameras: int
    reconnects: int
    seed: int
    every_s: float
    warm_up_s: float
    model: str
    mild: tuple[str, ...] = ()

    @property
    def bin_s(self) -> float:
        """Length of the windows whose medians make the slopes: a minute, or less in a short run."""
        return min(60.0, (self.seconds - self.warm_up_s) / 10)


class Window(msgspec.Struct, frozen=True):
    """Milliseconds from capture to publication over one window's clips; `at_s` is its middle."""

    at_s: float
    clips: int
    p50_ms: float
    p99_ms: float


class Judgement(msgspec.Struct, frozen=True):
    """One question, what was measured, and the answer."""

    question: str
    measured: str
    verdict: Verdict


@dataclass
class Ledger:
    """Everything that happened."""

    samples: list[Sample] = field(default_factory=list)
    clips: list[tuple[float, float]] = field(default_factory=list)  # arrival in s, latency in ms
    faults: Counter[str] = field(default_factory=Counter)
    marks: list[tuple[float, int, str]] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    alarms: Counter[str] = field(default_factory=Counter)
    last: dict[str, Status] = field(default_factory=dict)
    balances: Counter[int] = field(default_factory=Counter)
    connections: list[tuple[float, int]] = field(default_factory=list)
    statuses: int = 0
    missed: int = 0
    damaged: int = 0
    guests: Counter[str] = field(default_factory=Counter)
    farewells: list[Farewell] = field(default_factory=list)
    exit_code: int | None = None
    exit_s: float = 0.0
    errors: str = ""

    def note(self, at_s: float, message: Message) -> None:
        """Take a message that arrived at `at_s`."""
        if isinstance(message, Prediction):
            self.clips.append((at_s, (message.published_at - message.captured_at) / 1e6))
        elif isinstance(message, Status):
            self.statuses += 1
            self.states[message.state] += 1
            self.alarms.update(message.alarms)
            self.last[message.camera] = message
            self.balances[balance(message)] += 1
            self.connections.append((at_s, sum(each.counts.connections for each in self.last.values())))

    def end(self, code: int | None, took_s: float, errors: str) -> None:
        """Note how the pipeline left, and what it wrote to stderr."""
        self.exit_code, self.exit_s, self.errors = code, took_s, errors[-4000:]

    @property
    def reconnects(self) -> int:
        """Connections begun after the first of each camera."""
        return sum(max(0, each.counts.connections - 1) for each in self.last.values())

    def progress(self, at_s: float, setting: Setting, missed: int) -> str:
        """One line for who waits."""
        newest = self.samples[-1]
        return (
            f"{at_s / 60:5.1f} of {setting.seconds / 60:g} min: {self.reconnects} reconnects, {len(self.clips)} clips, "
            f"missed {missed}; main {newest.main_rss_mib:.1f} MiB RSS, {newest.main_fds} descriptors, "
            f"{newest.main_threads} threads; {newest.captures} captures, {newest.captures_pss_mib:.0f} MiB PSS; "
            f"zombies {newest.zombies}; machine {newest.busy_cores:.1f} cores"
        )


class Report(msgspec.Struct, frozen=True):
    """What a soak came to."""

    setting: Setting
    verdicts: list[Judgement]
    slopes: dict[str, Slope]
    reconnects: int
    faults: dict[str, int]
    reconnect_reasons: dict[str, int]
    resets: dict[str, int]
    states: dict[str, int]
    alarms: dict[str, int]
    balances: dict[int, int]
    guests: dict[str, int]
    farewells: list[Farewell]
    clips: int
    missed: int
    exit_code: int | None
    exit_s: float
    errors: str
    windows: list[Window]
    marks: list[tuple[float, int, str]]
    samples: list[Sample]


def balance(status: Status) -> int:
    """Frames due and not accounted for."""
    c = status.counts
    return c.due - c.processed - c.thinned - c.overrun - c.in_flight


def windows_of(clips: Sequence[tuple[float, float]], window_s: float) -> list[Window]:
    """Latency by window; those without a clip are left out."""
    if not clips:
        return []
    at_s, late_ms = np.array(clips).T
    bins = np.floor(at_s / window_s).astype(int)
    found = []
    for kind in np.unique(bins):
        inside = late_ms[bins == kind]
        p50, p99 = np.percentile(inside, [50, 99]).tolist()
        found.append(Window(float((kind + 0.5) * window_s), len(inside), p50, p99))
    return found


def judge_all(setting: Setting, ledger: Ledger) -> Report:
    """Slopes after the warm-up, and every verdict."""
    slopes = _slopes(ledger.samples, setting)
    windows = windows_of(ledger.clips, setting.bin_s)
    verdicts = [*_growth(slopes, setting), _latency(windows, setting), *_integrity(setting, ledger)]
    totals = {"reconnects": Counter[str](), "resets": Counter[str]()}
    for status in ledger.last.values():
        totals["reconnects"].update(status.reconnects)
        totals["resets"].update(status.resets)
    return Report(
        setting=setting,
        verdicts=verdicts,
        slopes=slopes,
        reconnects=ledger.reconnects,
        faults=dict(ledger.faults),
        reconnect_reasons=dict(totals["reconnects"]),
        resets=dict(totals["resets"]),
        states=dict(ledger.states),
        alarms=dict(ledger.alarms),
        balances=dict(ledger.balances),
        guests=dict(ledger.guests),
        farewells=ledger.farewells,
        clips=len(ledger.clips),
        missed=ledger.missed,
        exit_code=ledger.exit_code,
        exit_s=ledger.exit_s,
        errors=ledger.errors,
        windows=windows,
        marks=ledger.marks,
        samples=ledger.samples,
    )


def judge_again(report: Report) -> Report:
    """The same run with its growth judged anew from its samples; all else stays."""
    slopes = _slopes(report.samples, report.setting)
    others = report.verdicts[len(report.slopes) :]
    return msgspec.structs.replace(report, slopes=slopes, verdicts=[*_growth(slopes, report.setting), *others])


LOOKS: dict[str, Callable[[Sample], float]] = {
    "main RSS, MiB": lambda s: s.main_rss_mib,
    "main heap and stacks, MiB": lambda s: s.main_own_mib,
    "main shared memory, MiB": lambda s: s.main_shared_mib,
    # not PSS: it grows where other programs that use the same libraries end
    "RSS per capture process, MiB": lambda s: s.captures_rss_mib / max(1, s.captures),
    "main descriptors": lambda s: s.main_fds,
    "main threads": lambda s: s.main_threads,
    "shared memories (memfd)": lambda s: s.memfds,
    "descriptors per capture process": lambda s: s.captures_fds / max(1, s.captures),
    "capture processes": lambda s: s.captures,
}


def _slopes(samples: Sequence[Sample], setting: Setting) -> dict[str, Slope]:
    after = [sample for sample in samples if sample.at_s >= setting.warm_up_s]
    at_s = [sample.at_s for sample in after]
    return {name: theil_sen(at_s, [look(sample) for sample in after], setting.bin_s) for name, look in LOOKS.items()}


def _growth(slopes: dict[str, Slope], setting: Setting) -> list[Judgement]:
    found = []
    long_enough = setting.seconds - setting.warm_up_s >= _LONG_ENOUGH_S
    for name, slope in slopes.items():
        limit = _MEMORY_MIB_PER_HOUR if "MiB" in name else _ONE_PER_HOUR
        measured = f"{slope.per_hour:+.3f} per hour, 95 % interval {slope.low:+.3f} to {slope.high:+.3f}"
        verdict = judge(slope, limit) if long_enough else "unclear"
        found.append(Judgement(f"{name}: grows by at most {limit:g} per hour", measured, verdict))
    return found


def _latency(windows: Sequence[Window], setting: Setting) -> Judgement:
    after = [window for window in windows if window.at_s >= setting.warm_up_s]
    third = len(after) // 3
    question = f"latency: median of the last third at most {_DRIFT:g} times that of the first"
    if not third:
        return Judgement(question, f"{len(after)} windows are too few", "unclear")
    parts = [after[:third], after[-third:]]
    (first50, last50), (first99, last99) = (
        [float(np.median([getattr(window, name) for window in part])) for part in parts]
        for name in ("p50_ms", "p99_ms")
    )
    measured = f"p50 {first50:.1f} to {last50:.1f} ms, p99 {first99:.1f} to {last99:.1f} ms"
    return Judgement(question, measured, "pass" if last50 <= _DRIFT * first50 else "fail")


def _integrity(setting: Setting, ledger: Ledger) -> list[Judgement]:
    final = {name: balance(status) for name, status in sorted(ledger.last.items())}
    off = sum(number for difference, number in ledger.balances.items() if abs(difference) > 1)
    zombies = max(sample.zombies for sample in ledger.samples)
    return [
        Judgement(
            "frames: due = processed + thinned + overrun + in flight, at the end exactly",
            f"{ledger.statuses} statuses, {off} off by more than the 1 of two processes' clocks; at the end {final}",
            "pass" if not off and not any(final.values()) else "fail",
        ),
        Judgement(
            "messages: none lost",
            f"{len(ledger.clips)} clips, {ledger.missed} messages missed, {ledger.damaged} damaged; "
            f"{len(ledger.farewells)} polite guests missed {sum(each.missed for each in ledger.farewells)}",
            "pass" if not ledger.missed and not ledger.damaged else "fail",
        ),
        Judgement(
            f"reconnects: at least the {setting.reconnects} asked for",
            f"{ledger.reconnects}",
            "pass" if ledger.reconnects >= setting.reconnects else "fail",
        ),
        Judgement(
            "zombies: never more than the processes of a moment",
            f"at most {zombies} at once",
            "pass" if zombies <= setting.cameras else "fail",
        ),
        Judgement(
            f"end: exit code 0 within {_LEAVE_S:g} s of SIGTERM",
            f"code {ledger.exit_code} after {ledger.exit_s:.1f} s",
            "pass" if ledger.exit_code == 0 and ledger.exit_s <= _LEAVE_S else "fail",
        ),
    ]


def lines(report: Report) -> list[str]:
    """The verdicts for a terminal."""
    setting = report.setting
    head = (
        f"{setting.seconds / 60:g} min, {setting.cameras} cameras, {report.reconnects} reconnects, "
        f"{report.clips} clips; "
        f"faults: {', '.join(f'{name} {number}' for name, number in sorted(report.faults.items()))}"
    )
    return [head, *(f"{each.verdict:8} {each.question}: {each.measured}" for each in report.verdicts)]
