"""A camera's checkpoint read back: the youngest one that fits, or none, with the reason in one sentence."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from engines.errors import ModelError
from pipeline.durability.clocks import Clocks, OutdatedError, elapsed_s, read_clocks
from pipeline.durability.files import CheckpointFiles, content
from pipeline.durability.format import decode_checkpoint
from pipeline.durability.records import Checkpoint, Facts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline.capture.supervisor import CapturePlan

_log = logging.getLogger(__name__)
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Wanted:
    """What a checkpoint must be of, and how old it may be: infinitely where the policy keeps memory over any gap."""

    model_sha: str
    shapes: Mapping[str, tuple[int, ...]]
    facts: Facts
    max_gap_s: float


def facts_of(plan: CapturePlan) -> Facts:
    """What of a camera's settings its memory depends on."""
    return Facts(plan.rate_hz, plan.crop, hashlib.sha256(str(plan.source).encode()).hexdigest())


def load_checkpoint(folder: Path, camera: str, wanted: Wanted, now: Clocks | None = None) -> Checkpoint | None:
    """The camera's youngest checkpoint in `folder` that is whole and fits; else None, and the log says why."""
    now = now or read_clocks()
    found: list[tuple[int, Checkpoint]] = []
    damaged: dict[str, None] = {}
    outdated = ""
    for path in CheckpointFiles(folder).paths(camera):
        try:
            checkpoint = decode_checkpoint(content(path))
            found.append((_judge(checkpoint, camera, wanted, now), checkpoint))
        except FileNotFoundError:
            continue
        except OSError as error:
            damaged[f"it cannot be read ({error.strerror})"] = None
        except OutdatedError as error:
            outdated = str(error)
        except ModelError as error:
            damaged[str(error)] = None
    for reason in damaged:
        _log.warning("a checkpoint of %s is not used: %s", camera, reason)
    if outdated and not found:
        _log.info("the checkpoint of %s is not used: %s", camera, outdated)
    return min(found, key=lambda each: each[0])[1] if found else None


def _judge(checkpoint: Checkpoint, camera: str, wanted: Wanted, now: Clocks) -> int:
    """Refuse what does not fit; the age of what does, in nanoseconds."""
    snapshot, facts = checkpoint.snapshot, checkpoint.facts
    if checkpoint.camera != camera:
        raise ModelError(f"it is of the camera {checkpoint.camera!r:.80}")
    if snapshot.model_sha != wanted.model_sha:
        raise ModelError(f"it is of the model {snapshot.model_sha[:12]!r}, which is {wanted.model_sha[:12]!r} now")
    if facts != wanted.facts:
        changed = [name for name in facts.__struct_fields__ if getattr(facts, name) != getattr(wanted.facts, name)]
        raise ModelError(f"the camera has another {' and '.join(changed)} now")
    _check_tensors(checkpoint, wanted)
    age_ns = checkpoint.age_ns(elapsed_s(checkpoint.clocks, now))
    if age_ns > wanted.max_gap_s * 1e9:
        raise OutdatedError(f"it is {age_ns / 1e9:.1f} s old, and continuity.max_gap_s is {wanted.max_gap_s:g}")
    return age_ns


def _check_tensors(checkpoint: Checkpoint, wanted: Wanted) -> None:
    tensors = checkpoint.snapshot.tensors
    if tensors.keys() != wanted.shapes.keys():
        raise ModelError("its state tensors have other names than the model's")
    for name, shape in wanted.shapes.items():
        saved = tensors[name]
        if saved.shape != tuple(shape) or len(saved.data) != _FLOAT_BYTES * prod(shape):
            raise ModelError(
                f"it has {name} as {list(saved.shape)} in {len(saved.data)} bytes, the model as {list(shape)}"
            )
        if not np.isfinite(np.frombuffer(saved.data, "<f4")).all():
            raise ModelError(f"it has values in {name} that are no numbers")
