"""What can go wrong with a camera, as frozen values: `server.inject(Stall(), for_s=5)`.

Three kinds. Those of a connection (silent, hang, reset, ...) and of what it carries (stall, drip, corrupt, ...) act on
every connection, or only on those that are open (`reach="present"`) or only on those that come (`reach="new"`). Those
of the camera itself (freeze, resize, jump) act on all who watch it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union, get_args

import msgspec
from msgspec import Meta, Struct

from engines.errors import ConfigError

Step = Literal["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN"]
Reach = Literal["all", "present", "new"]
"""Which connections a fault acts on: all, those open when it begins, or those that come after it began."""

_Rate = Annotated[float, Meta(ge=0, le=1, description="share")]
_Seconds = Annotated[float, Meta(ge=0, le=86_400, description="seconds")]


class _Fault(Struct, frozen=True, tag_field="fault", tag=str.lower):
    pass


class Silent(_Fault, frozen=True):
    """Takes connections and says nothing any more: no answer, no picture."""


class Hang(_Fault, frozen=True):
    """Does not answer one kind of request; the answer comes when the fault ends."""

    at: Step


class NoPackets(_Fault, frozen=True):
    """Answers PLAY and sends no packet; pictures come when the fault ends. Who plays already goes on."""


class Stall(_Fault, frozen=True):
    """Sends no pictures and keeps the connection; at the end they go on at the camera's clock, with an IDR picture."""


class Drip(_Fault, frozen=True):
    """Sends a single byte, waits for so many seconds, sends the next, over TCP."""

    interval_s: _Seconds = 0.3


class Reset(_Fault, frozen=True):
    """Ends connections with a TCP RST: once and now; `at` a request, in the middle of its answer, until cleared."""

    at: Step | Literal[""] = ""


class Close(_Fault, frozen=True):
    """Ends connections with a TCP FIN: once and now; `at` a request, in the middle of its answer, until cleared."""

    at: Step | Literal[""] = ""


class Answer(_Fault, frozen=True):
    """Answers one kind of request with a status such as 404 or 503."""

    status: Annotated[int, Meta(ge=300, le=599, description="RTSP status")]
    at: Step = "DESCRIBE"


class Full(_Fault, frozen=True):
    """Serves so many viewers at a time and answers 503 to more."""

    viewers: Annotated[int, Meta(ge=0, description="viewers")] = 1


class SlowAccept(_Fault, frozen=True):
    """Takes a connection, and greets it so many seconds later."""

    delay_s: _Seconds


class Off(_Fault, frozen=True):
    """Is switched off: connections are reset, new ones are refused at the same port, until it is switched on again."""


class Codec(_Fault, frozen=True):
    """Describes its video as of another codec."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,32}$")] = "H265"


class NoVideo(_Fault, frozen=True):
    """Describes an audio track only."""


class Corrupt(_Fault, frozen=True):
    """Flips bits in a share of the slice NAL units."""

    rate: _Rate
    seed: int = 0
    flips: Annotated[int, Meta(ge=1, le=10_000, description="bits")] = 20


class Truncate(_Fault, frozen=True):
    """Cuts a share of the slice NAL units short."""

    rate: _Rate
    seed: int = 0


class Drop(_Fault, frozen=True):
    """Loses a share of the RTP packets, or of whole NAL units; their sequence numbers are missing."""

    rate: _Rate
    seed: int = 0
    unit: Literal["packet", "nal"] = "packet"


class Resize(_Fault, frozen=True):
    """Changes the picture size on the running connection (new SPS and PPS in band), and back at the end."""

    width: Annotated[int, Meta(ge=16, le=8192, multiple_of=2, description="pixels")]
    height: Annotated[int, Meta(ge=16, le=8192, multiple_of=2, description="pixels")]


class Freeze(_Fault, frozen=True):
    """Shows the same picture while time goes on.

    `exact`: decoded pictures are equal to the byte. `encoded`: one picture goes through the encoder again and again, as
    in a camera whose sensor hangs, so that each IDR picture differs a little. `noisy`: with sensor noise of `noise`
    grey levels (standard deviation), as of a real camera before a scene that stands still.
    """

    kind: Literal["exact", "encoded", "noisy"] = "exact"
    noise: Annotated[float, Meta(ge=0, le=64, description="grey levels")] = 2.0
    seed: int = 0


class Jump(_Fault, frozen=True):
    """Moves the RTP clock of running streams by so many seconds: once, or there and back where it lasts."""

    by_s: Annotated[float, Meta(ge=-86_400, le=86_400, description="seconds")]


class Wrap(_Fault, frozen=True):
    """Lets the RTP timestamps of clients that play from now on pass 2**32 after so many seconds."""

    after_s: Annotated[float, Meta(ge=0, le=40_000, description="seconds")]


class StopClock(_Fault, frozen=True):
    """Sends pictures whose RTP timestamps stand still."""


Fault = Union[  # noqa: UP007 - msgspec and get_args want it as a value
    Silent,
    Hang,
    NoPackets,
    Stall,
    Drip,
    Reset,
    Close,
    Answer,
    Full,
    SlowAccept,
    Off,
    Codec,
    NoVideo,
    Corrupt,
    Truncate,
    Drop,
    Resize,
    Freeze,
    Jump,
    Wrap,
    StopClock,
]

FAULTS: dict[str, type[Fault]] = {kind.__name__.lower(): kind for kind in get_args(Fault)}
"""Fault types by the name that a user types."""

OF_CAMERA = (Freeze, Resize, Jump)
"""Act on all who watch, so no `reach` can be chosen."""

OF_SERVER = (SlowAccept, Off)
"""Act before a client has named a camera, so no path can be chosen."""


def checked(fault: Fault) -> Fault:
    """The fault, if its values can be meant. Raises ConfigError."""
    name = type(fault).__name__.lower()
    try:
        return msgspec.convert(msgspec.to_builtins(fault), type(fault))
    except msgspec.ValidationError as error:
        raise ConfigError(f"the fault {name} cannot be had so: {error}") from error


def momentary(fault: Fault, for_s: float | None) -> bool:
    """Whether a fault happens once instead of lasting until it is cleared."""
    return for_s is None and (isinstance(fault, Jump) or (isinstance(fault, Reset | Close) and not fault.at))
