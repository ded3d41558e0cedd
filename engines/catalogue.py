"""The catalogue of bundles: what each one is, and whether it is intact."""

from __future__ import annotations

from math import prod
from pathlib import Path

import msgspec

from engines.bundle import MANIFEST, Bundle, list_bundles, load_bundle
from engines.errors import ModelError
from engines.further import FurtherInput

_FLOAT32_BYTES = 4


class CatalogueEntry(msgspec.Struct, frozen=True):
    """One bundle in a list; of a damaged one only the name and the `problem` are known."""

    name: str
    intact: bool
    problem: str = ""
    version: str = ""
    family: str = ""
    summary: str = ""
    labels: tuple[str, ...] = ()
    fps: float = 0.0
    height: int = 0
    width: int = 0
    further: tuple[FurtherInput, ...] = ()
    clip_length_s: float = 0.0
    clip_stride_s: float = 0.0
    warm_up_s: float = 0.0
    state_bytes: int = 0  # per camera
    size_bytes: int = 0  # of all files of the manifest, and the manifest
    metrics: dict[str, float] = {}
    sha: str = ""
    folder: str = ""


def catalogue(models: list[str] | None = None) -> list[CatalogueEntry]:
    """Entries of `models`, names or folders; None: all that are shipped."""
    return [_entry(model) for model in (models if models is not None else list_bundles())]


def _entry(model: str) -> CatalogueEntry:
    try:
        bundle = load_bundle(model)
    except ModelError as error:
        return CatalogueEntry(model, intact=False, problem=str(error))
    manifest = bundle.manifest
    return CatalogueEntry(
        name=manifest.name,
        intact=True,
        version=manifest.version,
        family=manifest.family,
        summary=manifest.summary,
        labels=manifest.labels,
        fps=manifest.input.fps,
        height=manifest.input.height,
        width=manifest.input.width,
        further=manifest.further,
        clip_length_s=manifest.clip.length_s,
        clip_stride_s=manifest.clip.stride_s,
        warm_up_s=manifest.warm_up_s,
        state_bytes=sum(_FLOAT32_BYTES * prod(state.shape) for state in manifest.state),
        size_bytes=_size(bundle),
        metrics=manifest.metrics,
        sha=bundle.sha,
        folder=str(bundle.folder),
    )


def _size(bundle: Bundle) -> int:
    return sum(Path(bundle.folder, file).stat().st_size for file in (MANIFEST, *bundle.manifest.files))
