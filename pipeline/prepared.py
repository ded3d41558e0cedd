"""A set of cameras checked, then made ready to be taken over, and what taking it over changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.inputs.plan import input_plans
from pipeline.plan import capture_plan, load_bundles

if TYPE_CHECKING:
    from engines.bundle import Bundle
    from pipeline.capture.supervisor import CapturePlan
    from pipeline.config.schema import Camera
    from pipeline.inference.models import OpenModel
    from pipeline.inputs.receiver import InputPlan


@dataclass(frozen=True)
class Checked:
    """A set of cameras that agrees with its models; nothing is open yet."""

    cameras: Mapping[str, Camera]
    bundles: Mapping[str, Bundle]
    plans: Mapping[str, CapturePlan]
    inputs: list[InputPlan]

    def bundle(self, camera: str) -> Bundle:
        """The model that a camera gets."""
        return self.bundles[self.cameras[camera].model]

    def sha(self, camera: str) -> str:
        """The hash of the model that a camera gets."""
        return self.bundle(camera).sha


def check(cameras: Mapping[str, Camera]) -> Checked:
    """Hold a set of cameras against its models, which are read and not opened.

    Raises:
        ConfigError: a camera contradicts its model.
        ModelError: a model is missing or damaged.
    """
    bundles = load_bundles(cameras)
    plans = {name: capture_plan(name, camera, bundles[camera.model]) for name, camera in cameras.items()}
    return Checked(cameras, bundles, plans, input_plans(cameras, bundles))


@dataclass(frozen=True)
class Prepared(Checked):
    """All that a set of cameras needs and that takes time: checked, loaded and compiled."""

    opened: Mapping[str, OpenModel]  # models that are not open yet, or no longer fit

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
