"""A set of cameras made ready to be taken over, and what taking it over changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.bundle import Bundle
    from pipeline.capture.supervisor import CapturePlan
    from pipeline.config.schema import Camera
    from pipeline.inference.models import OpenModel
    from pipeline.inputs.receiver import InputPlan


@dataclass(frozen=True)
class Prepared:
    """All that a set of cameras needs and that takes time: checked, loaded and compiled."""

    cameras: Mapping[str, Camera]
    bundles: Mapping[str, Bundle]
    plans: Mapping[str, CapturePlan]
    inputs: list[InputPlan]
    opened: Mapping[str, OpenModel]  # models that are not open yet, or no longer fit

    def sha(self, camera: str) -> str:
        """The hash of the model that a camera gets."""
        return self.bundles[self.cameras[camera].model].sha

    def close(self) -> None:
        """Free what was opened in vain."""
        for model in self.opened.values():
            model.close()


@dataclass(frozen=True)
class Changes:
    """Names of cameras, by what a change of the configuration means for them."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __str__(self) -> str:
        parts = [
            f"{verb} {', '.join(names)}"
            for verb, names in (("added", self.added), ("removed", self.removed), ("changed", self.changed))
            if names
        ]
        return "; ".join(parts) or "no camera changed"
