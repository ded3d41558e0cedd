"""The RTSP server as its users see it: cameras on one port, started, stopped and steered from any thread."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from pipeline.fakecam.camera import StartMode
from pipeline.fakecam.listener import Listener
from pipeline.fakecam.media import Media
from pipeline.rtsp.auth import Guard


@dataclass(frozen=True)
class Counters:
    """What a server has seen since it was made."""

    connections: int
    plays: int
    refused: int  # requests without the right credentials
    viewers: int  # playing now


class FakeCameraServer:
    """Several cameras at `rtsp://host:port/<path>`.

    It can be stopped and started again: the port stays the same, and a live camera's clock runs on in between.

    Args:
        media: by path, such as `{"camera0": media}`.
        host: address to listen on.
        port: 0 takes a free one from the system, which `port` then gives.
        start: `live` or `on_connect`, see `StartMode`.
        guard: asks clients for credentials.
        tls: serves `rtsps` with this server context.
    """

    def __init__(
        self,
        media: Mapping[str, Media],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        start: StartMode = "live",
        guard: Guard | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._media, self._host, self._port = dict(media), host, port
        self._start_mode, self._guard, self._tls = start, guard, tls
        self._began_at: float | None = None
        self._running: Listener | None = None
        self._counts: Counter[str] = Counter()
        self._changed = threading.Condition()

    @property
    def port(self) -> int:
        """The port; 0 before a first start that takes one from the system."""
        return self._port

    @property
    def urls(self) -> dict[str, str]:
        """URL of each camera by path, without credentials."""
        scheme = "rtsps" if self._tls else "rtsp"
        host = socket.gethostname() if self._host in ("0.0.0.0", "::", "") else self._host  # noqa: S104 - compared
        place = f"[{host}]" if ":" in host else host
        return {path: f"{scheme}://{place}:{self._port}/{path}" for path in self._media}

    @property
    def counters(self) -> Counters:
        """What has been seen so far."""
        with self._changed:
            counts = self._counts
            viewers = counts["plays"] - counts["leaves"]
            return Counters(counts["connections"], counts["plays"], counts["refused"], viewers)

    def start(self) -> None:
        """Listen. Raises SourceError where the address cannot be had; does nothing where it is running."""
        if self._running is not None:
            return
        if self._began_at is None:
            self._began_at = time.monotonic()
        running = Listener(self._media, self._start_mode, self._guard, self._note, self._began_at)
        self._port = running.start(self._host, self._port, self._tls)
        self._running = running

    def stop(self) -> None:
        """Hang up on every client, close the port and end every thread."""
        if self._running is not None:
            self._running.stop()
        self._running = None

    def disconnect_all(self, path: str | None = None) -> None:
        """Hang up on the clients of one camera, or on all; new ones are welcome."""
        self._steer(lambda running: running.disconnect(path))

    def pause(self, path: str | None = None) -> None:
        """Let one camera or all hang: connections stay, nothing comes, and the pictures of that time are lost."""
        self._steer(lambda running: running.set_paused(path, paused=True))

    def resume(self, path: str | None = None) -> None:
        """End a pause: pictures go on at the camera's clock, beginning with an IDR picture."""
        self._steer(lambda running: running.set_paused(path, paused=False))

    def wait_for(self, condition: Callable[[Counters], bool], timeout_s: float = 10.0) -> bool:
        """Wait until the counters meet a condition; False when time has run out."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self.counters), timeout_s)

    def __enter__(self) -> FakeCameraServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _steer(self, act: Callable[[Listener], None]) -> None:
        if self._running is not None:
            self._running.call(act)

    def _note(self, what: str) -> None:
        with self._changed:
            self._counts[what] += 1
            self._changed.notify_all()


class FakeCamera(FakeCameraServer):
    """One camera on a server of its own."""

    def __init__(
        self,
        media: Media,
        *,
        path: str = "camera0",
        host: str = "127.0.0.1",
        port: int = 0,
        start: StartMode = "live",
        guard: Guard | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__({path: media}, host=host, port=port, start=start, guard=guard, tls=tls)
        self.path = path

    @property
    def url(self) -> str:
        """Its URL, without credentials."""
        return self.urls[self.path]

    def __enter__(self) -> FakeCamera:
        self.start()
        return self
