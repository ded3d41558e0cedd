"""Plans kept between runs: found by what they were built from and for, and hashed before TensorRT sees them.

A plan holds code for a GPU, so bytes that are not those that were written are never handed to TensorRT.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec

from engines.cache import cache_folder
from engines.errors import BackendError
from engines.trt_build import Built

_log = logging.getLogger("vidpipe.tensorrt")
_KEY_CHARACTERS = 32
_NEVER_HERE = "does not support this compute capability"  # what TensorRT-RTX 1.7 says on a GPU that is none of RTX


class PlanKey(msgspec.Struct, frozen=True):
    """All that a plan depends on; two plans with equal keys are interchangeable."""

    model_sha: str  # SHA-256 of the ONNX file
    name: str  # what errors call it
    runtime: str  # tensorrt or tensorrt_rtx
    runtime_version: str
    gpu: str  # its name, e.g. NVIDIA H100 80GB HBM3; `any` where RTX built it without one
    capability: tuple[int, int]
    precision: str
    batches: tuple[int, ...]
    rows: int = 0  # most rows of the state pools inside; 0: the state is fed and returned
    recipe: int = 1  # grows when vidpipe makes plans in another way

    @property
    def digest(self) -> str:
        """The plan's file name without its ending."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:_KEY_CHARACTERS]


class PlanRecord(msgspec.Struct, frozen=True):
    """What lies beside a plan, as JSON."""

    key: PlanKey
    sha: str  # SHA-256 of the plan
    plan_bytes: int
    build_seconds: float


def plans_folder() -> Path:
    """Where plans and timing caches are kept."""
    return cache_folder() / "plans"


def recall_plan(key: PlanKey) -> bytes | None:
    """The plan for `key`; None where there is none, or where it was changed since it was written."""
    path = plans_folder() / key.digest
    try:
        record = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=PlanRecord)
        plan = path.with_suffix(".plan").read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        _log.warning("the plan %s cannot be read (%s), so it is built again", path.name, " ".join(str(error).split()))
        return None
    if record.key != key or hashlib.sha256(plan).hexdigest() != record.sha:
        _log.warning("the plan of %s is not the one that was built (its SHA-256 differs): building it again", key.name)
        return None
    return plan


def remember_plan(key: PlanKey, built: Built, build_seconds: float) -> None:
    """Keep a plan and what the build learnt; a folder that is full or read-only is a warning in the log."""
    record = PlanRecord(key, hashlib.sha256(built.plan).hexdigest(), len(built.plan), round(build_seconds, 3))
    path = plans_folder() / key.digest
    try:
        _replace(path.with_suffix(".plan"), built.plan)
        _replace(path.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(record)))
        if built.timings:
            _replace(_timings(key), built.timings)
    except OSError as error:
        _log.warning("the plan of %s cannot be kept (%s): the next start builds it again", key.name, error)


def forget_plan(key: PlanKey) -> None:
    """Delete a plan that is of no use."""
    for ending in (".json", ".plan"):
        (plans_folder() / key.digest).with_suffix(ending).unlink(missing_ok=True)


def recall_timings(key: PlanKey) -> bytes:
    """What earlier builds with the same TensorRT for the same GPU measured; empty where nothing is known."""
    try:
        return _timings(key).read_bytes()
    except OSError:
        return b""


def plan_for(key: PlanKey, build: Callable[[bytes], Built], clock: Callable[[], float]) -> bytes:
    """The plan for `key`, from the cache or built now with the timings that are known.

    Raises:
        BackendError: what `build` raises.
    """
    plan = recall_plan(key)
    if plan is not None:
        return plan
    _log.warning("building a plan of %s for %s%s, once", key.name, key.gpu, _others(key))
    start_s = clock()
    built = build(recall_timings(key))
    remember_plan(key, built, clock() - start_s)
    return built.plan


def misfit(key: PlanKey, reason: str) -> BackendError:
    """The error for a plan that TensorRT does not load."""
    fix = "run `vidpipe build` again on this machine"
    if _NEVER_HERE in reason:
        fix = "install the full TensorRT (pip install 'vidpipe[tensorrt]'), or take another back end"
    return BackendError(
        f"the plan of {key.name} for {key.gpu} and {key.runtime} {key.runtime_version} does not load here ({reason}): "
        + fix
    )


def _others(key: PlanKey) -> str:
    """A remark on plans of the same model for another GPU or TensorRT, which explain why this one is not there."""
    found = []
    for path in sorted(plans_folder().glob("*.json")):
        try:
            other = msgspec.json.decode(path.read_bytes(), type=PlanRecord).key
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            continue
        if other.model_sha == key.model_sha and (other.gpu, other.runtime_version) != (key.gpu, key.runtime_version):
            found.append(f"{other.gpu} with {other.runtime} {other.runtime_version}")
    return f" (the one found was built for {found[0]}; `vidpipe build` does this ahead)" if found else ""


def _timings(key: PlanKey) -> Path:
    facts = msgspec.json.encode((key.runtime, key.runtime_version, key.gpu, key.capability))
    return plans_folder() / f"{hashlib.sha256(facts).hexdigest()[:_KEY_CHARACTERS]}.timings"


def _replace(path: Path, data: bytes) -> None:
    """Write beside and rename, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.flush()
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
