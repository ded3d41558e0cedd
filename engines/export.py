"""Export: a trained network becomes a bundle of two ONNX graphs, a manifest with hashes, and a card."""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from engines.errors import MissingExtraError
from engines.golden import GOLDEN, encode_golden
from engines.manifest import FrameInput, Manifest, StateTensor, dump_manifest

if TYPE_CHECKING:
    import torch

    from engines.families.contract import StreamModel

OPSET = 20
EXAMPLE_BATCH = 2
WEIGHTS = "weights.npz"


def write_bundle(
    folder: Path, model: StreamModel, about: Manifest, card: str, extra: Mapping[str, bytes] = MappingProxyType({})
) -> Manifest:
    """Write both graphs, `golden.npz`, `weights.npz`, `card.md`, the `extra` files and `manifest.yaml` into `folder`.

    Of `about`, input, features, further, state and files are replaced by what the network and the written files are.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
    """
    from engines.recording import record_golden  # noqa: PLC0415 - needs torch

    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    export_encoder(model, folder / "encoder.onnx")
    export_temporal(model, folder / "temporal.onnx")
    (folder / GOLDEN).write_bytes(encode_golden(record_golden(model)))
    (folder / "card.md").write_text(card, encoding="utf-8")
    for name, data in ({WEIGHTS: encode_weights(model)} | dict(extra)).items():
        (folder / name).write_bytes(data)
    written = ("encoder.onnx", "temporal.onnx", GOLDEN, WEIGHTS, "card.md", *extra)
    files = {name: _sha256(folder / name) for name in written}
    height, width = model.frame_shape
    manifest = msgspec.structs.replace(
        about,
        input=FrameInput(height, width, model.fps),
        features=model.features,
        further=model.further,
        state=tuple(StateTensor(spec.name, f"next_{spec.name}", spec.shape) for spec in model.state_spec),
        files=files,
    )
    (folder / "manifest.yaml").write_text(dump_manifest(manifest), encoding="utf-8")
    return manifest


def encode_weights(model: StreamModel) -> bytes:
    """The bytes of a `weights.npz`: all parameters and buffers but the encoder's, by name, without pickle.

    With the options in the manifest's recipe they give the network back: for a pass over whole sequences, or to train
    it further.
    """
    buffer = io.BytesIO()
    tensors = {name: value for name, value in model.state_dict().items() if not name.startswith("encoder.")}
    np.savez_compressed(buffer, **{name: value.detach().cpu().numpy() for name, value in tensors.items()})
    return buffer.getvalue()


def export_encoder(model: StreamModel, path: Path) -> None:
    """The encoder as a graph `frames` uint8 `[N, H, W, 3]` BGR to `features` float32 `[N, *features]`."""
    import torch  # noqa: PLC0415 - optional

    frames = torch.zeros((EXAMPLE_BATCH, *model.frame_shape, 3), dtype=torch.uint8)
    _export(model.encoder, (frames,), path, ["frames"], ["features"])


def export_temporal(model: StreamModel, path: Path) -> None:
    """One step as a graph `features, dt, keep, *state` to `prob, logits, ok, *next_state`."""
    import torch  # noqa: PLC0415 - optional

    from engines.families.contract import Served  # noqa: PLC0415 - needs torch

    ones = torch.ones(EXAMPLE_BATCH)
    seen = torch.zeros((EXAMPLE_BATCH, *model.step_features))
    feeds = (seen, ones / model.fps, ones, *model.init_state(EXAMPLE_BATCH))
    names = [spec.name for spec in model.state_spec]
    inputs, outputs = ["features", "dt", "keep", *names], ["prob", "logits", "ok", *(f"next_{name}" for name in names)]
    _export(Served(model), feeds, path, inputs, outputs)


def _export(
    module: torch.nn.Module, feeds: tuple[torch.Tensor, ...], path: Path, inputs: list[str], outputs: list[str]
) -> None:
    """Write one self-contained file with a dynamic batch."""
    import torch  # noqa: PLC0415 - optional

    batch = torch.export.Dim("N", min=1, max=4096)
    with _quiet():
        try:
            program = torch.onnx.export(
                module.eval(),
                feeds,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=_dynamic(feeds, batch, variadic=len(feeds) > 1),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except ModuleNotFoundError as error:
            raise MissingExtraError("export to ONNX", error.name or "onnxscript", "train") from error
    assert program is not None
    program.save(path, external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """No deprecation notes and no talk of absent packages: nothing that a user could act on."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _dynamic(feeds: tuple[torch.Tensor, ...], batch: object, *, variadic: bool) -> tuple[object, ...]:
    """The first axis of every input is the batch; a variadic parameter takes its tensors as one tuple."""
    axes: list[object] = [{0: batch} for _ in feeds]
    return (*axes[:3], tuple(axes[3:])) if variadic else tuple(axes)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
