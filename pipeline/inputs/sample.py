"""The message of a further input: one vector of one camera's input, and when it was taken.

The rules of change are those of the prediction stream (`pipeline.stream.messages`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engines.errors import StreamError

PREFIX = b"vidpipe/1/"
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class InputSample(msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", tag="vidpipe.input/1"):
    """One sample: as many `values` as the model's input takes, all finite.

    `captured_at` is nanoseconds of UTC wall clock, 0 for the time of arrival. Where `media_time` is given it counts
    instead: seconds on the camera's media clock, which is what video files go by.
    """

    camera: str
    input: str
    values: list[float]
    captured_at: Nanoseconds = 0
    media_time: float | None = None


_to_msgpack = msgspec.msgpack.Encoder()
_to_json = msgspec.json.Encoder()
_from_msgpack = msgspec.msgpack.Decoder(InputSample)
_from_json = msgspec.json.Decoder(InputSample)


def topic(camera: str, name: str) -> bytes:
    """The topic of one input's samples; the last slash keeps `audio` from matching `audio2`."""
    return PREFIX + f"{camera}/input/{name}/".encode()


def camera_of(topic_: bytes) -> str:
    """The camera that a topic names; empty where it names none."""
    return topic_.removeprefix(PREFIX).partition(b"/")[0].decode("utf-8", "replace")


def encode(sample: InputSample, wire: str = "msgpack") -> bytes:
    """The sample as bytes: `msgpack` or `json`."""
    return _to_json.encode(sample) if wire == "json" else _to_msgpack.encode(sample)


def decode(body: bytes) -> InputSample:
    """Read a sample in either format; whether its values make sense is not looked at.

    Raises:
        StreamError: the body is broken, of another kind, or a field has the wrong type.
    """
    try:
        return _from_json.decode(body) if body[:1] == b"{" else _from_msgpack.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StreamError(f"it cannot be read: {error}") from error
