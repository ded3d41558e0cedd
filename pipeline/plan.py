"""From a camera's settings and its model to how the camera is read."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from engines.bundle import Bundle, load_bundle
from engines.errors import ConfigError, MissingExtraError
from engines.home import user_path
from pipeline.capture.supervisor import CapturePlan

if TYPE_CHECKING:
    from pipeline.config.schema import Camera


def load_bundles(cameras: Mapping[str, Camera]) -> dict[str, Bundle]:
    """The bundles that the cameras' models name, checked against their manifests."""
    return {model: load_bundle(model) for model in dict.fromkeys(camera.model for camera in cameras.values())}


def capture_plan(name: str, camera: Camera, bundle: Bundle) -> CapturePlan:
    """How the camera is read for its model.

    Raises:
        ConfigError: the camera asks for more frames a second than the model was made for, or for what its `capture`
            cannot do, or for certificates that are not there.
        MissingExtraError: what its `capture` names is not installed.
    """
    seen = bundle.manifest.input
    if camera.fps and camera.fps > seen.fps:
        raise ConfigError(
            f"cameras.{name}.fps is {camera.fps:g}, but the model {bundle.name} was made for {seen.fps:g} frames a "
            f"second: leave fps out, or set at most {seen.fps:g}"
        )
    _check_capture(name, camera)
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
        ca_file=str(user_path(camera.tls.ca_file).resolve()) if camera.tls.ca_file else None,
        open_timeout_s=camera.open_timeout_s,
        stall_s=camera.stall_s,
        frozen_after_s=camera.continuity.frozen_after_s,
        hold_frozen=camera.continuity.frozen == "hold",
    )


def _check_capture(name: str, camera: Camera) -> None:
    ca_file = camera.tls.ca_file
    if ca_file is not None and not user_path(ca_file).is_file():
        raise ConfigError(f"cameras.{name}.tls.ca_file: {ca_file} is no file: name a PEM file of certificates")
    if ca_file is not None and set(ca_file) & set(";|"):  # OpenCV's marks between FFmpeg's options
        raise ConfigError(f"cameras.{name}.tls.ca_file: {ca_file} has ; or | in its name: rename it")
    if camera.capture != "pyav":
        return
    if camera.source.kind.value == "device":
        raise ConfigError(f"cameras.{name}.capture is pyav, which reads no devices here: leave capture out")
    if find_spec("av") is None:
        raise MissingExtraError(f"cameras.{name}.capture: pyav", "av", "pyav")
