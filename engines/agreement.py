"""Checks that a loaded graph is the one its manifest describes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from engines.bundle import ENCODER, MANIFEST, TEMPORAL, Bundle
from engines.engine import Engine, TensorSpec
from engines.errors import ModelError
from engines.manifest import Manifest

FRAMES, FEATURES = "frames", "features"
DT, KEEP = "dt", "keep"
PROB, LOGITS, OK = "prob", "logits", "ok"


def check_encoder(bundle: Bundle, engine: Engine, batch: int | None) -> None:
    """Compare the loaded encoder with the manifest; `batch` is what the engine was compiled for, None: any.

    Raises:
        ModelError: naming the tensor, what the graph has and what the manifest says.
    """
    manifest = bundle.manifest
    pictures = TensorSpec(FRAMES, "uint8", (None, manifest.input.height, manifest.input.width, 3))
    features = TensorSpec(FEATURES, "float32", (None, *manifest.features))
    _compare(bundle, ENCODER, "input", [pictures], engine.inputs)
    _compare(bundle, ENCODER, "output", [features], engine.outputs)
    _refuse_further(bundle, ENCODER, [pictures], engine.inputs)
    _refuse_batch(bundle, ENCODER, engine, batch)


def check_temporal(bundle: Bundle, engine: Engine, batch: int | None = None) -> None:
    """Compare the loaded step with the manifest: features, labels, and every state tensor on both sides.

    `batch` is what the engine was compiled for, None: any.

    Raises:
        ModelError: naming the tensor, what the graph has and what the manifest says.
    """
    manifest = bundle.manifest
    check_state_map(manifest)
    inputs = [TensorSpec(FEATURES, "float32", (None, *manifest.step_features))]
    inputs += [TensorSpec(name, "float32", (None,)) for name in (DT, KEEP)]
    inputs += [TensorSpec(state.input, "float32", (None, *state.shape)) for state in manifest.state]
    outputs = [TensorSpec(name, "float32", (None, len(manifest.labels))) for name in (PROB, LOGITS)]
    outputs += [TensorSpec(OK, "float32", (None,))]
    outputs += [TensorSpec(state.output, "float32", (None, *state.shape)) for state in manifest.state]
    _compare(bundle, TEMPORAL, "input", inputs, engine.inputs)
    _compare(bundle, TEMPORAL, "output", outputs, engine.outputs)
    _refuse_further(bundle, TEMPORAL, inputs, engine.inputs)
    _refuse_batch(bundle, TEMPORAL, engine, batch)


def check_state_map(manifest: Manifest) -> None:
    """Refuse a state map in which one tensor is named twice or for two purposes; raises ModelError."""
    where = f"bundle {manifest.name}: {MANIFEST}"
    for side, reserved in (("input", (FEATURES, DT, KEEP)), ("output", (PROB, LOGITS, OK))):
        names = Counter(str(getattr(state, side)) for state in manifest.state)
        for name, count in names.items():
            if count > 1:
                raise ModelError(f"{where} maps {count} states onto the one {side} {name!r}: give each its own")
            if name in reserved:
                raise ModelError(
                    f"{where} calls {name!r} a state, and it is the graph's {side} of that meaning: rename it"
                )


def _compare(bundle: Bundle, file: str, side: str, expected: list[TensorSpec], found: Iterable[TensorSpec]) -> None:
    graph = {spec.name: replace(spec, shape=_any_batch(spec.shape)) for spec in found}
    for spec in expected:
        tensor = graph.get(spec.name)
        if tensor is None:
            names = ", ".join(graph) or "none"
            raise ModelError(
                f"bundle {bundle.name}: {file} has no {side} {spec}, which {MANIFEST} asks for; found {names}"
            )
        if tensor.dtype != spec.dtype or not tensor.fits(spec.shape):
            raise ModelError(
                f"bundle {bundle.name}: {file} has the {side} {tensor}, {MANIFEST} says {spec}: export it again"
            )


def _any_batch(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return (None, *shape[1:]) if shape else shape  # the manifest says nothing of the batch


def _refuse_further(bundle: Bundle, file: str, expected: list[TensorSpec], found: Iterable[TensorSpec]) -> None:
    known = {spec.name for spec in expected}
    for tensor in found:
        if tensor.name not in known:
            raise ModelError(
                f"bundle {bundle.name}: {file} wants the input {tensor}, which {MANIFEST} does not know: "
                "if it is state, name it and its output under state"
            )


def _refuse_batch(bundle: Bundle, file: str, engine: Engine, batch: int | None) -> None:
    for tensor in engine.inputs:
        if tensor.shape[0] not in (None, batch):
            raise ModelError(
                f"bundle {bundle.name}: {file} has the fixed batch {tensor.shape[0]}: export it with any batch"
            )
