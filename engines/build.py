"""Compile a bundle for this machine, try it in a child process, verify it, and refuse what does not verify."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import msgspec

from engines.backends import BACKENDS
from engines.bundle import ENCODER, TEMPORAL, Bundle
from engines.comparison import Check, VerifyReport
from engines.encoder import Encoder
from engines.engine import AUTO_PRECISION, FULL_PRECISION
from engines.precision import PrecisionChoice, forget_choice, keep_choice
from engines.precision_timing import choose_precision
from engines.temporal import Temporal
from engines.verdicts import acquit, condemn
from engines.verify import verify


class BuildReport(msgspec.Struct, frozen=True):
    """What was compiled, and whether it may be used."""

    bundle: str
    version: str
    sha: str
    backend: str
    backend_version: str
    device: str
    why: str  # this back end was taken
    precision: str  # of the encoder; the step is float32
    choice: PrecisionChoice | None  # what the precision was chosen from; None where the user named it
    max_batch: int
    cameras: int
    compile_seconds: float  # encoder (as named, else f32) and step, with the try in a child; little where built before
    verification: VerifyReport
    precision_check: Check | None  # None for an encoder in float32
    passed: bool


def build(
    bundle: Bundle,
    backend: str = "auto",
    *,
    precision: str = AUTO_PRECISION,
    max_batch: int = 8,
    cameras: int = 16,
    steps: int = 1000,
    progress: Callable[[str], None] = lambda _: None,
) -> BuildReport:
    """Compile encoder and step into this machine's cache and verify them; `vidpipe run` then starts at once.

    What does not verify is remembered and refused by every later start, until it is built again and passes.

    Args:
        bundle: the model.
        backend: a name in `engines.backends.BACKENDS`, or `auto`.
        precision: of the encoder; `auto` measures those that the back end has, takes the fastest whose answers are
            as good, and remembers it for every later start with `auto`.
        max_batch: most pictures in one batch.
        cameras: most cameras at once.
        steps: frames of the longest camera in the verification.
        progress: told what is being done, a few words at a time.

    Raises:
        BackendError: no back end, or not the named one, can compile or run the model.
        MissingExtraError: the named back end is not installed.
        ModelError: the graphs contradict the manifest.
    """
    if backend != "auto":
        _acquit(bundle, backend, precision)
    progress("compiling")
    named = FULL_PRECISION if precision == AUTO_PRECISION else precision
    start_s = time.monotonic()
    with ExitStack() as stack:
        encoder = stack.enter_context(Encoder.open(bundle, backend, max_batch=max_batch, precision=named))
        temporal = stack.enter_context(Temporal.open(bundle, encoder.backend, capacity=cameras, max_batch=max_batch))
        compiled_s = time.monotonic() - start_s
        name, version, device, why = encoder.backend, encoder.version, encoder.device, encoder.why
        real_precision = encoder.precision
        assert temporal.backend == encoder.backend
    choice = _choice(bundle, name, max_batch, progress) if precision == AUTO_PRECISION else None
    verification = verify(bundle, [name], steps=steps, max_batch=max_batch, capacity=cameras, progress=progress)
    low = _chosen_check(choice) if choice else _precision_check(bundle, name, named, progress)
    passed = verification.passed and (low is None or low.passed)
    if not passed:
        _condemn(bundle, name, choice.precision if choice else named, verification, low)
    if choice:
        _settle(bundle, choice, passed=passed)
    return BuildReport(
        bundle=bundle.name,
        version=bundle.manifest.version,
        sha=bundle.sha,
        backend=name,
        backend_version=version,
        device=device,
        why=why,
        precision=choice.precision if choice else real_precision,
        choice=choice,
        max_batch=max_batch,
        cameras=cameras,
        compile_seconds=round(compiled_s, 3),
        verification=verification,
        precision_check=low,
        passed=passed,
    )


def _choice(bundle: Bundle, backend: str, max_batch: int, progress: Callable[[str], None]) -> PrecisionChoice:
    """What measuring says; a precision that was fast and wrong is condemned, so that nobody takes it by name."""
    choice = choose_precision(bundle, backend, max_batch=max_batch, progress=progress)
    for each in choice.candidates:
        if each.check is not None and not each.check.passed:
            _condemn_encoder(bundle, backend, each.precision, each.check)
    return choice


def _chosen_check(choice: PrecisionChoice) -> Check | None:
    return next(each.check for each in choice.candidates if each.taken)


def _settle(bundle: Bundle, choice: PrecisionChoice, *, passed: bool) -> None:
    """Later starts take what was chosen, or nothing that an earlier build chose where this one failed."""
    row = BACKENDS[choice.backend]
    if passed:
        keep_choice(bundle, row, choice)
    else:
        forget_choice(bundle, row)


def _precision_check(bundle: Bundle, backend: str, precision: str, progress: Callable[[str], None]) -> Check | None:
    if precision == FULL_PRECISION:
        return None
    from engines.verify_precision import check_precision  # noqa: PLC0415 - renders films with OpenCV

    progress(f"encoder in {precision}")
    return check_precision(bundle, backend, precision)


def _acquit(bundle: Bundle, backend: str, precision: str) -> None:
    if row := BACKENDS.get(backend):
        for each in {FULL_PRECISION, *(row.precisions if precision == AUTO_PRECISION else [precision])}:
            acquit(row, bundle.read(ENCODER), each)
        acquit(row, bundle.read(TEMPORAL), FULL_PRECISION)


def _condemn(bundle: Bundle, backend: str, precision: str, verification: VerifyReport, low: Check | None) -> None:
    row = BACKENDS[backend]
    for check in verification.checks:
        if not check.passed:
            part = ENCODER if check.check.startswith(("encoder", "pictures", "control: another picture")) else TEMPORAL
            for each in {FULL_PRECISION, precision}:
                condemn(row, bundle.read(part), each, f"the check {check.check!r} failed")
    if low is not None and not low.passed:
        _condemn_encoder(bundle, backend, precision, low)


def _condemn_encoder(bundle: Bundle, backend: str, precision: str, check: Check) -> None:
    condemn(BACKENDS[backend], bundle.read(ENCODER), precision, f"the check {check.check!r} failed")
