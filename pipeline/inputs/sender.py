"""The sender of a further input's samples, for programs beside the pipeline: microphones, sensors, other models."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import zmq

from engines.errors import StreamError
from pipeline.inputs.sample import InputSample, encode, topic
from pipeline.keys.client import ClientKeys
from pipeline.stream.address import exposure, ipc_in_use

if TYPE_CHECKING:
    import os
    from types import TracebackType

_HIGH_WATER_MARK = 100  # a backlog of old samples is worth nothing
_LINGER_MS = 500
_LONGEST_SUBSCRIPTION_BYTES = 512


class InputSender:
    """Publishes samples. `send` never waits, and what nobody hears is lost. One thread at a time.

    Args:
        address: where the pipeline connects to (`inputs.NAME.connect`), or with `bind=False` where it is bound.
        bind: whether this end is the one that the other connects to.
        wire: `msgpack` or `json`.
        insecure: allow binding an address that other machines can reach without keys.
        keys: the key file that `vidpipe keys new NAME --sender` wrote: only that pipeline can listen or be sent to.

    Raises:
        StreamError: the address is taken or not valid, or open to others with neither `keys` nor `insecure`; the key
            file is broken.
    """

    def __init__(
        self,
        address: str = "tcp://127.0.0.1:5560",
        *,
        bind: bool = True,
        wire: Literal["msgpack", "json"] = "msgpack",
        insecure: bool = False,
        keys: str | os.PathLike[str] | None = None,
    ) -> None:
        own = None if keys is None else ClientKeys.load(keys)
        if bind and own is None and not insecure and (who := exposure(address)):
            raise StreamError(
                f"{address} is an address {who}: give a key file (vidpipe keys new NAME --sender), bind "
                "tcp://127.0.0.1:5560, or say insecure=True if anyone there may read the values"
            )
        self._wire = wire
        self._listeners = 0
        self._context: zmq.SyncContext = zmq.Context()
        self._socket: zmq.SyncSocket = self._context.socket(zmq.XPUB)  # a PUB that tells who listens
        self._socket.setsockopt(zmq.SNDHWM, _HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _LONGEST_SUBSCRIPTION_BYTES)
        self._socket.setsockopt(zmq.IPV6, int("[" in address))
        if own is not None and bind:
            own.receive_server(self._socket)
        elif own is not None:
            own.secure(self._socket)
        try:
            if bind and ipc_in_use(address):
                raise zmq.ZMQError(zmq.EADDRINUSE)
            self._socket.bind(address) if bind else self._socket.connect(address)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            way = "bound" if bind else "connected to"
            raise StreamError(f"{address} cannot be {way}: {zmq.strerror(error.errno or 0)}") from error
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def send(
        self,
        camera: str,
        input: str,  # noqa: A002 - what the message calls it
        values: Iterable[float],
        captured_at: int | None = None,
        *,
        media_time: float | None = None,
    ) -> None:
        """Send one sample.

        Args:
            camera: the camera's name in the pipeline's configuration.
            input: the input's name in the model's manifest.
            values: as many finite numbers as the model takes.
            captured_at: nanoseconds of UTC wall clock, now where it is left out.
            media_time: instead of that, seconds on the camera's media clock, as for a video file.

        Raises:
            StreamError: a value is not finite.
        """
        numbers = [float(value) for value in values]
        if not all(map(math.isfinite, numbers)):
            raise StreamError(f"the values of {input} for {camera} are not all finite")
        at_ns = time.time_ns() if captured_at is None else captured_at
        sample = InputSample(camera=camera, input=input, values=numbers, captured_at=at_ns, media_time=media_time)
        self._count_listeners()
        self._socket.send_multipart([topic(camera, input), encode(sample, self._wire)], zmq.NOBLOCK)

    def wait_for_listener(self, timeout_s: float = 10.0) -> bool:
        """Wait until a pipeline listens; False where none came in time. What is sent before that is lost."""
        deadline_s = time.monotonic() + timeout_s
        self._count_listeners()
        while not self._listeners:
            if not self._socket.poll(max(0, round(1e3 * (deadline_s - time.monotonic())))):
                return False
            self._count_listeners()
        return True

    def _count_listeners(self) -> None:
        """Read what subscriptions came and went; ZeroMQ tells of the first listener and of the last one's leaving."""
        while self._socket.poll(0):
            self._listeners = int(self._socket.recv()[:1] == b"\x01")

    def close(self) -> None:
        """Send what is queued (half a second at most) and let go of the address."""
        self._context.destroy(linger=_LINGER_MS)

    def __enter__(self) -> InputSender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
