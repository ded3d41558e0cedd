"""What a configuration may say; pydantic checks it and makes the JSON Schema for editors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from pipeline.config.source import ALLOWED, Source, parse_source
from pipeline.redaction import NO_SECRETS, Secrets, credentials_of

Action = Literal["keep", "reset", "hold"]
_DAY_S, _YEAR_S = 86_400, 31_536_000
_NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
CameraName = Annotated[str, StringConstraints(pattern=_NAME_PATTERN)]
InputName = Annotated[str, StringConstraints(pattern=_NAME_PATTERN)]
Address = Annotated[str, StringConstraints(pattern=r"^(tcp|ipc)://.+")]


def _off(value: Any) -> Any:
    """YAML 1.1 reads a bare `off` as the boolean."""
    return "off" if value is False else value


AddressOrOff = Annotated[str | None, BeforeValidator(_off)]


def _read_source(value: Any) -> Source:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"must be text or a device number; allowed are {ALLOWED}")
    return parse_source(value)


SourceField = Annotated[
    Source,
    BeforeValidator(_read_source),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": ["string", "integer"], "description": f"Where frames come from: {ALLOWED}."}),
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Crop(_Section):
    """The part of the picture that the model sees, as fractions of width and height."""

    x: float = Field(0.0, ge=0, lt=1)
    y: float = Field(0.0, ge=0, lt=1)
    width: float = Field(1.0, gt=0, le=1)
    height: float = Field(1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _inside(self) -> Crop:
        if self.x + self.width > 1 + 1e-9 or self.y + self.height > 1 + 1e-9:
            raise ValueError("reaches outside the picture: x + width and y + height may be at most 1")
        return self


class Continuity(_Section):
    """What happens to a camera's memory when its stream is interrupted: keep it, reset it, or hold it still."""

    max_gap_s: float = Field(2.0, gt=0, le=_DAY_S, description="A gap of media time up to this is no interruption.")
    gap: Action = Field("reset", description="The stream paused for longer than max_gap_s.")
    reconnect: Action = Field("keep", description="The camera was connected again; the gap counts beside it.")
    seek: Action = Field("reset", description="The stream's clock jumped.")
    resolution_change: Action = Field("reset", description="The picture size changed.")
    frozen: Action = Field("keep", description="The picture has stood still for frozen_after_s.")
    scene_cut: Action = Field("keep", description="The picture changed all at once.")
    model_change: Literal["reset"] = Field("reset", description="Another model took over, at a reload.")
    operator: Action = Field("reset", description="Somebody asked for it: vidpipe reset CAMERA.")
    frozen_after_s: float = Field(
        8.0,
        ge=1,
        le=3600,
        description="A picture that has not changed for so long is frozen; at least twice the key-frame interval.",
    )

    def action(self, cause: str) -> Action:
        """What the policy says to one cause."""
        action: Action = getattr(self, cause)
        return action


def _check_port(address: str, example: str) -> None:
    """ZeroMQ cuts a port that is too large down to another one, without a word."""
    port = address.rpartition(":")[2]
    if address.startswith("tcp://") and port != "*" and not (port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"is '{address}'; it must end with a port from 1 to 65535, such as {example}")


class InputSource(_Section):
    """Where the samples of one further input come from: exactly one of the two."""

    connect: Address | None = Field(None, description="A ZeroMQ address at which their sender is bound.")
    bind: Address | None = Field(None, description="A ZeroMQ address to bind, to which senders connect.")

    key: str | None = Field(None, description="With connect: the key of the sender that is bound there.")

    @model_validator(mode="after")
    def _one_of_two(self) -> InputSource:
        example = "tcp://127.0.0.1:5560"
        if (self.connect is None) == (self.bind is None):
            raise ValueError(f"must have either connect or bind, such as {{connect: '{example}'}}")
        if self.key is not None and self.connect is None:
            raise ValueError("has key with bind, where every sender of the key folder is let in: leave key out")
        if self.connect is not None and self.connect.endswith(":*"):
            raise ValueError(f"connect is '{self.connect}'; only bind may leave the port open: write {example}")
        _check_port(self.connect or self.bind or "", example)
        return self


class Tls(_Section):
    """How the certificate of an rtsps:// camera is checked."""

    verify: bool = Field(default=True, description="Refuse a certificate that no trusted authority has signed.")
    ca_file: str | None = Field(None, description="PEM file of the authorities to trust; else the system's.")


class Camera(_Section):
    """One camera: where its frames come from, and which model looks at them."""

    source: SourceField
    model: str = Field("scene", min_length=1, description="A bundle's name, or the path of its folder.")
    fps: float | None = Field(None, gt=0, le=240, description="Samples a second, where fewer than the model's rate do.")
    crop: Crop | None = None
    capture: Literal["opencv", "pyav"] = Field("opencv", description="What reads the source; pyav sees more damage.")
    tls: Tls = Tls()
    enabled: bool = True
    transport: Literal["tcp", "udp"] = Field("tcp", description="How RTSP carries the pictures.")
    open_timeout_s: float = Field(5.0, ge=0.1, le=60)
    stall_s: float = Field(2.0, ge=0.5, le=60, description="A live source without a frame for this long is reopened.")
    continuity: Continuity = Continuity()
    inputs: dict[InputName, InputSource] = Field({}, description="What the model reads beside the video, by its names.")


class Journal(_Section):
    """What is kept of the published messages, for subscribers that missed some."""

    max_age_s: float = Field(3600.0, ge=1, le=_YEAR_S, description="Older messages are forgotten.")
    max_mb: float = Field(256.0, ge=1, le=1e6, description="The journal's file grows to about this many megabytes.")


class Publish(_Section):
    """Where predictions are published."""

    bind: str = Field("tcp://127.0.0.1:5555", pattern=r"^(tcp|ipc)://.+", description="A ZeroMQ address to bind.")
    format: Literal["msgpack", "json"] = "msgpack"
    replay: AddressOrOff = Field(
        None,
        pattern=r"^((tcp|ipc)://.+|off)$",
        description="Where missed messages can be asked for; else the port after bind's. off: nowhere.",
    )
    journal: Journal = Journal()
    keys: str | None = Field(None, description="Folder of the keys (vidpipe keys new): who may connect.")

    @field_validator("bind")
    @classmethod
    def _port_exists(cls, bind: str) -> str:
        _check_port(bind, "tcp://127.0.0.1:5555")
        return bind


class Inference(_Section):
    """What runs the models."""

    backend: Literal["auto", "tensorrt", "openvino", "onnxruntime", "torch"] = "auto"
    precision: Literal["auto", "f32", "f16", "bf16"] = Field(
        "auto",
        description="Of the encoder; the step is always f32. auto: what vidpipe build chose on this machine, else f32.",
    )
    threads: int | None = Field(None, ge=1, le=256, description="Threads of the encoder; all processors by default.")
    max_batch: int = Field(8, ge=1, le=256)


class State(_Section):
    """What outlives the process: checkpoints of the cameras' memory, and the journal."""

    folder: str | None = Field(
        None, description="Where it lies; else a folder of the user's, named after publish.bind."
    )
    checkpoint_s: float = Field(1.0, ge=0.1, le=3600, description="Seconds between two checkpoints.")


class Metrics(_Section):
    """The HTTP endpoint with /metrics for Prometheus, /healthz and /readyz."""

    bind: AddressOrOff = Field(
        None,
        pattern=r"^(\[[0-9A-Fa-f:]+\]|[^:\s/]+):\d{1,5}$|^off$",
        description="host:port; by default 127.0.0.1:9108, where it is free. off: none.",
    )

    @field_validator("bind")
    @classmethod
    def _port_exists(cls, bind: str | None) -> str | None:
        if bind not in (None, "off") and int(bind.rpartition(":")[2]) > 65535:
            raise ValueError(f"is '{bind}'; it must end with a port up to 65535, such as 127.0.0.1:9108")
        return bind


class Log(_Section):
    """What is written to stderr."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "warning"


class Config(_Section):
    """A whole configuration file."""

    cameras: dict[CameraName, Camera] = Field(min_length=1)
    publish: Publish = Publish()
    inference: Inference = Inference()
    state: State = State()
    metrics: Metrics = Metrics()
    log: Log = Log()
    reload_on_change: bool = Field(default=True, description="Take over this file's changes while running.")
    _from_environment: Secrets = PrivateAttr(default=NO_SECRETS)

    def knowing(self, secrets: Secrets) -> Config:
        """The same configuration, which also knows what of it came from the environment."""
        known = self.model_copy()
        known._from_environment = secrets
        return known

    @property
    def secrets(self) -> Secrets:
        """What no output may show: values from the environment, and the cameras' passwords."""
        passwords = (credentials_of(camera.source.reveal()) for camera in self.cameras.values())
        return Secrets((*self._from_environment.values, *(value for each in passwords for value in each.values)))
