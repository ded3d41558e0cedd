"""What can go wrong on the way between a client and a TCP server, as frozen values for `FaultProxy.inject`."""

from __future__ import annotations

from typing import Annotated, Literal, Union, get_args

from msgspec import Meta, Struct

Direction = Literal["both", "up", "down"]
"""`up`: what the client sends; `down`: what the server sends."""

_Seconds = Annotated[float, Meta(ge=0, le=86_400, description="seconds")]


class _LinkFault(Struct, frozen=True, tag_field="fault", tag=str.lower):
    pass


class Latency(_LinkFault, frozen=True):
    """Delivers everything so many seconds later, and up to `jitter_s` more by chance; the order stays."""

    delay_s: _Seconds
    jitter_s: _Seconds = 0.0
    seed: int = 0


class Bandwidth(_LinkFault, frozen=True):
    """Passes no more than so many bytes a second, for each connection and direction."""

    bytes_per_s: Annotated[float, Meta(gt=0, description="bytes a second")]


class Blackhole(_LinkFault, frozen=True):
    """Keeps both sides open and passes nothing, not even their ends; what was held back comes when the fault ends."""


class Refuse(_LinkFault, frozen=True):
    """Refuses new connections at the same port; those that are open go on."""


class Cut(_LinkFault, frozen=True):
    """Ends connections, both sides: at once, or each after it has passed so many bytes since the fault began."""

    after_bytes: Annotated[int, Meta(ge=0, description="bytes")] = 0
    how: Literal["reset", "close"] = "reset"


class Slice(_LinkFault, frozen=True):
    """Writes in pieces of so many bytes, with a pause after each."""

    piece_bytes: Annotated[int, Meta(ge=1, description="bytes")] = 1
    pause_s: _Seconds = 0.001


class Garble(_LinkFault, frozen=True):
    """Changes a share of the bytes; each connection and direction by its own seed."""

    rate: Annotated[float, Meta(ge=0, le=1, description="share")]
    seed: int = 0


LinkFault = Union[Latency, Bandwidth, Blackhole, Refuse, Cut, Slice, Garble]  # noqa: UP007 - get_args wants a value

LINK_FAULTS: dict[str, type[LinkFault]] = {kind.__name__.lower(): kind for kind in get_args(LinkFault)}
"""Fault types by the name that a user types."""
