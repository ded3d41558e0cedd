"""The RTSP server as its users see it: cameras on one port, started, stopped and steered from any thread."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from engines.errors import ConfigError, SourceError
from pipeline.fakecam.board import Injection
from pipeline.fakecam.camera import StartMode
from pipeline.fakecam.faults import OF_CAMERA, OF_SERVER, Fault, Reach, Stall, checked
from pipeline.fakecam.history import Counters, Event, History
from pipeline.fakecam.listener import Listener
from pipeline.fakecam.media import Media
from pipeline.rtsp.auth import Guard


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
        self._history = History()

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
        return self._history.counters

    @property
    def history(self) -> tuple[Event, ...]:
        """What has been seen and done, in order; the last 100,000 events."""
        return self._history.events

    def start(self) -> None:
        """Listen. Raises SourceError where the address cannot be had; does nothing where it is running."""
        if self._running is not None:
            return
        if self._began_at is None:
            self._began_at = time.monotonic()
        running = Listener(self._media, self._start_mode, self._guard, self._history, self._began_at)
        self._port = running.start(self._host, self._port, self._tls)
        self._running = running

    def stop(self) -> None:
        """Hang up on every client, close the port and end every thread; faults end too, as by switching it off."""
        if self._running is not None:
            self._running.stop()
        self._running = None

    def disconnect_all(self, path: str | None = None) -> None:
        """Hang up on the clients of one camera, or on all; new ones are welcome."""
        if self._running is not None:
            self._running.call(lambda running: running.disconnect(path))

    def pause(self, path: str | None = None) -> None:
        """Let one camera or all hang: connections stay, nothing comes, and the pictures of that time are lost."""
        if self._running is not None:
            for one in self._media if path is None else (path,):
                self.inject(Stall(), one)

    def resume(self, path: str | None = None) -> None:
        """End a pause: pictures go on at the camera's clock, beginning with an IDR picture."""
        self.clear(path, Stall)

    def inject(
        self,
        fault: Fault,
        path: str | None = None,
        *,
        for_s: float | None = None,
        after_s: float = 0.0,
        reach: Reach = "all",
    ) -> None:
        """Let a fault begin; it acts when this returns, unless `after_s` is given.

        A fault takes the place of one of its kind (and step) that acts on the same path. Each acts until `for_s` is
        over, it is cleared or the server stops; `Jump`, and `Reset` and `Close` without a step, happen once where
        `for_s` is not given.

        Args:
            fault: what goes wrong.
            path: of one camera; None for all.
            for_s: seconds until it ends by itself.
            after_s: seconds until it begins.
            reach: on which connections it acts.

        Raises:
            ConfigError: the values contradict themselves, or there is no such camera.
            SourceError: the server is not running.
        """
        asked = Injection(checked(fault), path, reach, for_s, after_s)
        name = type(fault).__name__
        if path is not None:
            self._known(path)
            if isinstance(fault, OF_SERVER):
                raise ConfigError(f"{name} acts before a client has named a camera: leave the path out")
        if reach != "all" and isinstance(fault, OF_CAMERA):
            raise ConfigError(f"{name} is a fault of the camera, which all its viewers see: leave reach={reach} out")
        if self._running is None:
            raise SourceError(f"{name} cannot be injected: the server is not running; start it first")
        self._running.call(lambda running: running.inject(asked))

    def clear(self, path: str | None = None, kind: type[Fault] | None = None) -> int:
        """End faults: all, those injected for one path, or those of a kind; gives how many there were.

        Those injected for all cameras end together, so not by a path.
        """
        if path is not None:
            self._known(path)
        return self._running.call(lambda running: running.clear(path, kind)) if self._running else 0

    def wait_for(self, condition: Callable[[Counters], bool], timeout_s: float = 10.0) -> bool:
        """Wait until the counters meet a condition; False when time has run out."""
        return self._history.wait_for(condition, timeout_s)

    def wait_event(
        self, match: Callable[[Event], bool], timeout_s: float = 10.0, *, since_s: float = 0.0
    ) -> Event | None:
        """The first event of the history that matches, also one to come; None when time has run out.

        `since_s` leaves out what came before a time of `time.monotonic()`.
        """
        return self._history.wait_event(match, timeout_s, since_s)

    def __enter__(self) -> FakeCameraServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _known(self, path: str) -> None:
        if path not in self._media:
            raise ConfigError(f"there is no camera {path!r}; there are {', '.join(self._media)}")


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
