"""The messages of the prediction stream: one record per kind, the single definition of the wire format.

Rules of change: fields are never renamed or retyped, new ones have a default, readers ignore what they do not know.
Times named `*_at` are nanoseconds of UTC wall clock; `media_time` and all other times are seconds of the camera's media
clock; `latency` is microseconds per stage, measured on a monotonic clock.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from engines.errors import StreamError

MAX_MESSAGE_BYTES = 1 << 20


class ClipSpan(msgspec.Struct, frozen=True):
    """The clip `[start, end)` in media seconds, and what was seen of it."""

    index: int
    start: float
    end: float
    frames: int
    dropped: int = 0
    coverage: float = 1.0
    fps_effective: float = 0.0


class ModelInfo(msgspec.Struct, frozen=True):
    """Which model spoke, and what ran it."""

    name: str
    version: str
    sha: str
    backend: str
    precision: str


class StateInfo(msgspec.Struct, frozen=True):
    """What the model remembers: steps and seconds since the last reset, and why that was."""

    age_steps: int
    age_s: float
    warm: bool
    reset_reason: str


class InputShare(msgspec.Struct, frozen=True):
    """What a clip's steps had of one further input: the share of them with a sample, from 0 to 1."""

    present: float


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What every message carries."""

    camera: str
    epoch: int
    seq: int
    session: str = ""
    media_time: float = 0.0
    captured_at: int = 0
    published_at: int = 0
    latency: dict[str, int] = {}


class Prediction(Envelope, frozen=True, kw_only=True, tag_field="schema", tag="vidpipe.clip/1"):
    """A clip's prediction: `scores` by label, and the best `label` (or `unknown` where too little was seen).

    `damaged`: the decoder complained about one of its pictures, or about one that they build on. `frozen`: the picture
    stood still while frames came, for so long that it says nothing about the place any more.
    `inputs` has an entry for each further input of the model.
    """

    clip: ClipSpan
    model: ModelInfo
    state: StateInfo
    label: str
    scores: dict[str, float]
    damaged: bool = False
    frozen: bool = False
    inputs: dict[str, InputShare] = {}


class Event(Envelope, frozen=True, kw_only=True, tag_field="schema", tag="vidpipe.event/1"):
    """The begin, an update or the end of an event; `id` is the same in all three."""

    id: str
    type: Literal["begin", "update", "end"]
    label: str
    start: float
    end: float
    peak: float
    reason: str = ""


class Counts(msgspec.Struct, frozen=True):
    """What became of a camera's frames: `due == processed + thinned + overrun + in_flight`."""

    grabbed: int = 0
    due: int = 0
    processed: int = 0
    thinned: int = 0
    overrun: int = 0
    in_flight: int = 0
    damaged: int = 0
    resets: int = 0
    connections: int = 0


class InputCounts(msgspec.Struct, frozen=True):
    """What came of one further input: samples received, and others that were dropped as wrong."""

    received: int = 0
    rejected: int = 0


class Status(Envelope, frozen=True, kw_only=True, tag_field="schema", tag="vidpipe.status/1"):
    """The camera's heartbeat, each second and at each change: its state, and the last `seq` of every kind.

    `interruptions` counts what might have touched the memory by cause, whatever the policy made of it, `resets` those
    that reset it, both since vidpipe started; `reconnects` ends of a connection by reason; `frame_age_s` is the
    age of the newest frame (below 0 before the first), `retry_in_s` the time until a connection that ended is made
    again (below 0 where none is due), `alarms` names what is wrong with vidpipe itself (such as a full disk), and
    `replay` is where missed messages can be asked for, with the host left out where it is the publisher's.
    """

    state: str
    detail: str = ""
    last_seq: dict[str, int] = {}
    counts: Counts = Counts()
    inputs: dict[str, InputCounts] = {}
    interruptions: dict[str, int] = {}
    resets: dict[str, int] = {}
    reconnects: dict[str, int] = {}
    frame_age_s: float = -1.0
    alarms: tuple[str, ...] = ()
    replay: str = ""
    retry_in_s: float = -1.0


Message = Prediction | Event | Status
KINDS: dict[type[Envelope], str] = {Prediction: "clip", Event: "event", Status: "status"}
TYPES: dict[str, type[Envelope]] = {kind: type_ for type_, kind in KINDS.items()}


def topic(camera: str, kind: str) -> bytes:
    """The topic of a camera's messages; the last slash keeps `camera1` from matching `camera10`."""
    return f"vidpipe/1/{camera}/{kind}/".encode()


_to_msgpack = msgspec.msgpack.Encoder()
_to_json = msgspec.json.Encoder()
_from_msgpack: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_from_json: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Message, wire: str = "msgpack") -> bytes:
    """The message as bytes: `msgpack` or `json`."""
    return _to_json.encode(message) if wire == "json" else _to_msgpack.encode(message)


def decode(body: bytes) -> Message:
    """Read a message in either format.

    Raises:
        StreamError: the body is too large, broken, of an unknown kind, or a field has the wrong type.
    """
    if len(body) > MAX_MESSAGE_BYTES:
        raise StreamError(f"a message of {len(body)} bytes is larger than the {MAX_MESSAGE_BYTES} allowed")
    try:
        return _from_json.decode(body) if body[:1] == b"{" else _from_msgpack.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StreamError(f"a message could not be read: {error}") from error
