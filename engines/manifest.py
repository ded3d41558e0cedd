"""The manifest of a model bundle: what the model sees, remembers and says, as one frozen record."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from engines.errors import ModelError
from engines.further import FurtherInput, step_shape
from engines.safe_yaml import read_yaml

SCHEMA = "vidpipe.bundle/1"

Positive = Annotated[float, msgspec.Meta(gt=0)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Size = Annotated[int, msgspec.Meta(ge=1)]


class FrameInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the encoder sees: uint8 `[N, height, width, 3]` BGR pictures, sampled `fps` times a second."""

    height: Size
    width: Size
    fps: Positive


class ClipRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Clip k covers the media time `[k * stride_s, k * stride_s + length_s)`; see `engines.clips`."""

    length_s: Positive = 2.0
    stride_s: Positive = 1.0
    aggregate: str = "mean"
    min_coverage: Fraction = 0.3


class StateTensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One state tensor (float32, zero at start): the graph's `input` at the next step is its `output` at this one."""

    input: str
    output: str
    shape: tuple[int, ...]


class EventRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When clip scores of one label become an event; see `engines.events`."""

    enter: Fraction = 0.6
    exit: Fraction = 0.4
    min_duration_s: float = 0.0
    cool_down_s: float = 0.0


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything the runtime must know of a bundle before it loads a weight."""

    schema: str
    name: str
    version: str
    family: str
    labels: tuple[str, ...]
    input: FrameInput
    features: tuple[int, ...]
    state: tuple[StateTensor, ...]
    files: dict[str, str]
    clip: ClipRule = ClipRule()
    events: dict[str, EventRule] = {}
    warm_up_s: float = 0.0
    further: tuple[FurtherInput, ...] = ()
    summary: str = ""
    training: dict[str, object] = {}
    metrics: dict[str, float] = {}

    @property
    def step_features(self) -> tuple[int, ...]:
        """Shape of what the step reads of one frame: `features`, the encoder's, and the further inputs behind them."""
        return step_shape(self.features, self.further)


def parse_manifest(text: str, name: str) -> Manifest:
    """Decode and check a manifest; `name` is what errors call it.

    Raises:
        ModelError: the text is no YAML, a field is missing, unknown or of the wrong type, or two fields contradict.
    """
    try:
        manifest = msgspec.convert(read_yaml(text), Manifest)
    except yaml.YAMLError as error:
        raise ModelError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    except (msgspec.ValidationError, RecursionError) as error:
        raise ModelError(f"{name} is not a valid bundle manifest: {error}") from error
    for problem in _contradictions(manifest):
        raise ModelError(f"{name} contradicts itself: {problem}")
    return manifest


def _contradictions(manifest: Manifest) -> list[str]:
    problems = []
    if manifest.schema != SCHEMA:
        problems.append(f"schema is {manifest.schema!r}, this vidpipe reads {SCHEMA!r}")
    if len(set(manifest.labels)) != len(manifest.labels) or not manifest.labels:
        problems.append(f"labels must be one or more different names, found {list(manifest.labels)}")
    if manifest.clip.aggregate not in ("mean", "last", "max"):
        problems.append(f"clip.aggregate is {manifest.clip.aggregate!r}, allowed are mean, last and max")
    unknown = [label for label in manifest.events if label not in manifest.labels]
    problems += [f"events names {label!r}, which is no label" for label in unknown]
    problems += [
        f"events.{label} has exit {rule.exit:g} above enter {rule.enter:g}, so it would end as soon as it begins"
        for label, rule in manifest.events.items()
        if rule.exit > rule.enter
    ]
    names = [each.name for each in manifest.further]
    if len(set(names)) != len(names):
        problems.append(f"further must have different names, found {names}")
    if manifest.further and len(manifest.features) != 1:
        problems.append(f"further inputs go beside a vector of features, found {list(manifest.features)}")
    problems += [f"files misses {name}" for name in ("encoder.onnx", "temporal.onnx") if name not in manifest.files]
    problems += [f"{where} is {value}, which is no number of that kind" for where, value in _impossible(manifest)]
    outside = [name for name in manifest.files if Path(name).name != name]
    problems += [f"files names {name!r}, which is not a plain file name" for name in outside]
    return problems


def _impossible(manifest: Manifest) -> list[tuple[str, float]]:
    """Numbers that YAML can spell and nothing can run with: infinite, negative, or not at all."""
    times = {
        "input.fps": manifest.input.fps,
        "clip.length_s": manifest.clip.length_s,
        "clip.stride_s": manifest.clip.stride_s,
        "warm_up_s": manifest.warm_up_s,
    }
    for label, rule in manifest.events.items():
        times |= {
            f"events.{label}.min_duration_s": rule.min_duration_s,
            f"events.{label}.cool_down_s": rule.cool_down_s,
        }
    sizes = {"features": manifest.features, **{f"state.{each.input}.shape": each.shape for each in manifest.state}}
    wrong = [(where, value) for where, value in times.items() if not 0 <= value < math.inf]
    return wrong + [(where, size) for where, shape in sizes.items() for size in shape if size < 1]


def dump_manifest(manifest: Manifest) -> str:
    """The manifest as YAML, in field order."""
    return yaml.safe_dump(msgspec.to_builtins(manifest), sort_keys=False, width=120, allow_unicode=True)
