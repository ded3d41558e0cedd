"""From a camera's settings and its model to how the camera is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from engines.bundle import Bundle, load_bundle
from engines.errors import ConfigError
from pipeline.capture.supervisor import CapturePlan

if TYPE_CHECKING:
    from pipeline.config.schema import Camera


def load_bundles(cameras: Mapping[str, Camera]) -> dict[str, Bundle]:
    """The bundles that the cameras' models name, checked against their manifests."""
    return {model: load_bundle(model) for model in dict.fromkeys(camera.model for camera in cameras.values())}


def capture_plan(name: str, camera: Camera, bundle: Bundle) -> CapturePlan:
    """How the camera is read for its model.

    Raises:
        ConfigError: the camera asks for more frames a second than the model was made for.
    """
    seen = bundle.manifest.input
    if camera.fps and camera.fps > seen.fps:
        raise ConfigError(
            f"cameras.{name}.fps is {camera.fps:g}, but the model {bundle.name} was made for {seen.fps:g} frames a "
            f"second: leave fps out, or set at most {seen.fps:g}"
        )
    crop = (camera.crop.x, camera.crop.y, camera.crop.width, camera.crop.height) if camera.crop else None
    return CapturePlan(
        name=name,
        source=camera.source,
        height=seen.height,
        width=seen.width,
        rate_hz=camera.fps or seen.fps,
        crop=crop,
        transport=camera.transport,
        capture=camera.capture,
        tls_verify=camera.tls.verify,
        ca_file=camera.tls.ca_file,
        open_timeout_s=camera.open_timeout_s,
        stall_s=camera.stall_s,
    )
