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
from engines.temporal import Temporal
from engines.verdicts import acquit, condemn
from engines.verify import verify

_F32 = "f32"


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
    max_batch: int
    cameras: int
    compile_seconds: float  # encoder and step, the try in a child process included; little where both were built before
    verification: VerifyReport
    precision_check: Check | None  # None for an encoder in float32
    passed: bool


def build(
    bundle: Bundle,
    backend: str = "auto",
    *,
    precision: str = _F32,
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
        precision: of the encoder.
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
    start_s = time.monotonic()
    with ExitStack() as stack:
        encoder = stack.enter_context(Encoder.open(bundle, backend, max_batch=max_batch, precision=precision))
        temporal = stack.enter_context(Temporal.open(bundle, encoder.backend, capacity=cameras))
        compiled_s = time.monotonic() - start_s
        facts = encoder.backend, encoder.version, encoder.device, encoder.why
        real_precision = encoder.precision
        assert temporal.backend == encoder.backend
    verification = verify(bundle, [facts[0]], steps=steps, max_batch=max_batch, capacity=cameras, progress=progress)
    low = _precision_check(bundle, facts[0], precision, progress)
    passed = verification.passed and (low is None or low.passed)
    if not passed:
        _condemn(bundle, facts[0], precision, verification, low)
    name, version, device, why = facts
    return BuildReport(
        bundle=bundle.name,
        version=bundle.manifest.version,
        sha=bundle.sha,
        backend=name,
        backend_version=version,
        device=device,
        why=why,
        precision=real_precision,
        max_batch=max_batch,
        cameras=cameras,
        compile_seconds=round(compiled_s, 3),
        verification=verification,
        precision_check=low,
        passed=passed,
    )


def _precision_check(bundle: Bundle, backend: str, precision: str, progress: Callable[[str], None]) -> Check | None:
    if precision == _F32:
        return None
    from engines.verify_precision import check_precision  # noqa: PLC0415 - renders films with OpenCV

    progress(f"encoder in {precision}")
    return check_precision(bundle, backend, precision)


def _acquit(bundle: Bundle, backend: str, precision: str) -> None:
    if row := BACKENDS.get(backend):
        acquit(row, bundle.read(ENCODER), precision)
        acquit(row, bundle.read(ENCODER), _F32)
        acquit(row, bundle.read(TEMPORAL), _F32)


def _condemn(bundle: Bundle, backend: str, precision: str, verification: VerifyReport, low: Check | None) -> None:
    row = BACKENDS[backend]
    for check in verification.checks:
        if not check.passed:
            part = ENCODER if check.check.startswith(("encoder", "pictures", "control: another picture")) else TEMPORAL
            for each in {_F32, precision}:
                condemn(row, bundle.read(part), each, f"the check {check.check!r} failed")
    if low is not None and not low.passed:
        condemn(row, bundle.read(ENCODER), precision, f"the check {low.check!r} failed")
