"""What is asked of the replay endpoint and answered, as messages: msgpack, or JSON where the question was JSON.

A question is one frame. An answer is a frame of its own fields and after it, one frame each, the messages found: the
bodies as they were published. Numbers are bounded and names follow the rules of the configuration, so that nothing
else reaches the journal.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engines.errors import StreamError

MAX_REQUEST_BYTES = 1 << 17

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_Kind = Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,32}$")]
_Lane = Annotated[str, msgspec.Meta(max_length=100)]
_Cameras = Annotated[list[_Name], msgspec.Meta(max_length=1000)]
_Kinds = Annotated[tuple[_Kind, ...], msgspec.Meta(min_length=1, max_length=16)]
_Place = tuple[_Count, _Count]


class RangeRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="request", tag="range"):
    """All messages of one camera and kind after `after`, up to and with `through` (without it: until now).

    Places are `[epoch, seq]`; after `[0, 0]` is from the oldest that is kept.
    """

    id: _Count
    camera: _Name
    kind: _Kind
    after: _Place
    through: _Place | None = None


class LastRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="request", tag="last"):
    """The last message of each camera and kind asked for; `after` is `next` of the answer before, to go on."""

    id: _Count
    cameras: _Cameras | None = None
    kinds: _Kinds = ("clip", "event", "status")
    after: _Lane = ""


class LostSpan(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers that are beyond repair, and why: `expired`, `missing` or `unknown`.

    `open_end`: that epoch's publisher was killed, so that nobody knows what it published from there to the next message
    that is known; it may be nothing, and `last_seq` is `first_seq - 1`.
    """

    epoch: int
    first_seq: int
    last_seq: int
    reason: str
    open_end: bool = False


class RangeAnswer(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="range"):
    """Complete up to and with `through`; `more`: ask again from there."""

    id: int
    through: tuple[int, int]
    more: bool = False
    lost: list[LostSpan] = []


class LastAnswer(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="last"):
    """The messages follow; where `next` is not empty, there are more after it."""

    id: int
    next: str = ""


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="refused"):
    """No answer, and why. With `retry_after_s` above 0 it is worth asking again; `busy`: that will be answered."""

    id: int
    reason: str
    retry_after_s: float = 0.0
    busy: bool = False


Request = RangeRequest | LastRequest
Answer = RangeAnswer | LastAnswer | Refusal

_to_msgpack = msgspec.msgpack.Encoder()
_to_json = msgspec.json.Encoder()
_request_from_msgpack: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_request_from_json: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answer_from_msgpack: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
_answer_from_json: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def is_json(body: bytes) -> bool:
    """Whether a frame is JSON: an object's first byte, which is no map in msgpack."""
    return body[:1] == b"{"


def encode(record: Request | Answer, *, as_json: bool = False) -> bytes:
    """A question or an answer's first frame as bytes."""
    return _to_json.encode(record) if as_json else _to_msgpack.encode(record)


def decode_request(body: bytes) -> Request:
    """Read a question.

    Raises:
        StreamError: it is too large, broken, or a field has a wrong type or value.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise StreamError(f"a request of {len(body)} bytes is larger than the {MAX_REQUEST_BYTES} allowed")
    try:
        return _request_from_json.decode(body) if is_json(body) else _request_from_msgpack.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StreamError(f"a request could not be read: {error}") from error


def decode_answer(body: bytes) -> Answer:
    """Read an answer's first frame.

    Raises:
        StreamError: it is broken, or a field has a wrong type.
    """
    try:
        return _answer_from_json.decode(body) if is_json(body) else _answer_from_msgpack.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StreamError(f"a replay answer could not be read: {error}") from error
