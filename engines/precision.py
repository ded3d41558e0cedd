"""The encoder's precision: the choice between what was measured, and what is remembered of it on this machine."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.bundle import ENCODER, TEMPORAL, Bundle
from engines.cache import cache_folder, recall, remember
from engines.comparison import Check
from engines.engine import FULL_PRECISION, Backend
from engines.errors import ModelError
from engines.gpu import driver
from engines.probe import cpu, release
from engines.verdicts import verdict

MARGIN = 0.10  # a lower precision must take at least this share less time than f32 to be worth its error
_log = logging.getLogger("vidpipe.engines")


@dataclass(frozen=True)
class Trial:
    """One precision as it ran: what the back end says it computes in, and the median milliseconds per frame.

    Where it did not run both are empty, and `problem` is a sentence that says why.
    """

    precision: str
    real: str = ""
    frame_ms: float | None = None
    problem: str = ""


class Candidate(msgspec.Struct, frozen=True):
    """One precision, what came of trying it, and the reason why it was taken or not."""

    precision: str
    real_precision: str  # what the back end says it computes in; empty where it did not run
    frame_ms: float | None  # median per frame in full batches; None where it was not timed
    check: Check | None  # against f32; None for f32 and for what is not worth checking
    taken: bool
    reason: str


class PrecisionChoice(msgspec.Struct, frozen=True):
    """The encoder's precision for one model on one back end of one machine, and what it was chosen from."""

    precision: str
    backend: str
    backend_version: str
    batch: int  # pictures in one request, while it was timed
    requests: int  # in flight at once, while it was timed
    candidates: tuple[Candidate, ...]  # f32 first


def choose(trials: Sequence[Trial], check: Callable[[str], Check]) -> tuple[Candidate, ...]:
    """Take the fastest precision that is faster than f32 by `MARGIN` and passes `check`, else f32.

    `check` is asked for what is fast enough and in order of speed, up to the first that passes. If it raises a
    ModelError, that precision is not taken.

    Args:
        trials: f32 first, with its time.
        check: compares the answers in a precision with those in f32.
    """
    full, *lower = trials
    assert full.frame_ms is not None
    judged = {each.precision: _unchecked(each, full.frame_ms) for each in lower}
    fast = [(each.frame_ms, each) for each in lower if each.frame_ms is not None and not judged[each.precision].reason]
    taken = ""
    for ms, trial in sorted(fast, key=lambda pair: pair[0]):
        if taken:
            judged[trial.precision] = _verdict(trial, None, taken=False, reason=f"{taken} is faster")
        else:
            judged[trial.precision] = _checked(trial, full.frame_ms / ms, check)
            taken = trial.precision if judged[trial.precision].taken else ""
    reason = f"{taken} is faster" if taken else "nothing lower is faster and as good"
    return (_verdict(full, None, taken=not taken, reason=reason), *judged.values())


def keep_choice(bundle: Bundle, backend: Backend, choice: PrecisionChoice) -> None:
    """Remember the choice for later starts of this model on this back end and machine."""
    remember(_folder(), _key(bundle, backend), msgspec.json.encode(choice).decode())


def forget_choice(bundle: Bundle, backend: Backend) -> None:
    """Forget an earlier choice."""
    try:
        (_folder() / _key(bundle, backend)).unlink(missing_ok=True)
    except OSError as error:
        _log.warning("an earlier choice of precision cannot be removed: %s", error.strerror or error)


def recall_choice(bundle: Bundle, backend: Backend) -> PrecisionChoice | None:
    """What `vidpipe build` chose here; None where it did not or what it wrote cannot be read."""
    text = recall(_folder(), _key(bundle, backend))
    try:
        return None if text is None else msgspec.json.decode(text, type=PrecisionChoice)
    except msgspec.DecodeError:
        return None


def remembered_precision(bundle: Bundle, backend: Backend) -> str:
    """The precision that was chosen here; f32 where none was, or where it was condemned since."""
    choice = recall_choice(bundle, backend)
    if choice is None or choice.precision not in backend.precisions:
        return FULL_PRECISION
    condemned = verdict(backend, bundle.read(ENCODER), choice.precision)
    return FULL_PRECISION if condemned else choice.precision


def _unchecked(trial: Trial, full_ms: float) -> Candidate:
    """What the trial says by itself; no reason against it where it is worth checking."""
    reason = ""
    if trial.problem:
        reason = trial.problem
    elif trial.real != trial.precision:
        reason = f"this machine computes it in {trial.real}"
    elif trial.frame_ms is None or trial.frame_ms > full_ms * (1 - MARGIN):
        reason = f"not {MARGIN:.0%} faster than f32"
    return _verdict(trial, None, taken=False, reason=reason)


def _checked(trial: Trial, speed: float, check: Callable[[str], Check]) -> Candidate:
    try:
        found = check(trial.precision)
    except ModelError as error:
        return _verdict(trial, None, taken=False, reason=str(error))
    reason = f"{speed:.2f} times as fast as f32" if found.passed else found.note or "its answers differ too much"
    return _verdict(trial, found, taken=found.passed, reason=reason)


def _verdict(trial: Trial, check: Check | None, *, taken: bool, reason: str) -> Candidate:
    return Candidate(trial.precision, trial.real, trial.frame_ms, check, taken, reason)


def _folder() -> Path:
    return cache_folder() / "precisions"


def _key(bundle: Bundle, backend: Backend) -> str:
    """Both graphs, the back end and its version, and the hardware."""
    graphs = [bundle.manifest.files[name] for name in (ENCODER, TEMPORAL)]
    hardware = repr(driver()) if backend.unusable else cpu()
    facts = [*graphs, backend.target, release(backend), hardware]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
