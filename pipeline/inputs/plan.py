"""From the configuration to what is received: each camera's inputs held against those that its model has."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from engines.bundle import Bundle
from engines.errors import ConfigError
from pipeline.config.schema import Camera, InputSource
from pipeline.inputs.receiver import InputPlan
from pipeline.inputs.sockets import Endpoint


def input_plans(cameras: Mapping[str, Camera], bundles: Mapping[str, Bundle]) -> list[InputPlan]:
    """The inputs that are configured, in the order of the configuration.

    Raises:
        ConfigError: a camera names an input that its model does not have.
    """
    plans = []
    for name, camera in cameras.items():
        further = {each.name: each for each in bundles[camera.model].manifest.further}
        for wanted, source in camera.inputs.items():
            if wanted not in further:
                raise ConfigError(_unknown(f"cameras.{name}.inputs.{wanted}", wanted, list(further), camera.model))
            plans.append(InputPlan(name, further[wanted], _endpoint(f"cameras.{name}.inputs.{wanted}", source)))
    return plans


def unconfigured(cameras: Mapping[str, Camera], bundles: Mapping[str, Bundle]) -> Iterator[str]:
    """A sentence for each camera whose model has inputs that the configuration gives nothing for."""
    for name, camera in cameras.items():
        absent = [each.name for each in bundles[camera.model].manifest.further if each.name not in camera.inputs]
        if absent:
            yield (
                f"{name} runs without {', '.join(absent)}: the model {camera.model} takes it beside the video, and "
                f"cameras.{name}.inputs does not say where from"
            )


def _endpoint(key: str, source: InputSource) -> Endpoint:
    return Endpoint(key, source.bind or source.connect or "", source.bind is not None, source.key or "")


def _unknown(key: str, wanted: str, known: list[str], model: str) -> str:
    if not known:
        return f"{key}: the model {model} takes nothing beside the video: remove inputs, or choose another model"
    near = difflib.get_close_matches(wanted, known, n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    return f"{key}: the model {model} has no such input{hint}; it takes {', '.join(known)}"
