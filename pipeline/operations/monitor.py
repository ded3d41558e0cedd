"""The monitor: one object that the inference loop tells what happens, and that tells everybody else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST

from engines.errors import StreamError
from pipeline.operations.endpoint import DEFAULT_BIND, Endpoint, Page
from pipeline.operations.metrics import Gauges, Metrics
from pipeline.operations.narration import Narrator
from pipeline.operations.notify import ServiceManager
from pipeline.operations.progress import Progress
from pipeline.operations.pulse import Phase, Pulse, Verdict
from pipeline.stream.address import is_local
from pipeline.stream.messages import Message, Status

if TYPE_CHECKING:
    from types import TracebackType

_log = logging.getLogger(__name__)


class Monitor:
    """Metrics, health, log lines and the service manager, fed from the loop's thread. A context manager.

    Enter it before models are loaded, so that `/readyz` can say that they are not. `bind` is the configuration's
    `metrics.bind`: None for the default address where that is free, `off` for no endpoint. `instance` says whose answer
    it is. `gauges` is asked at each `beat`, in the caller's thread, and may be set later.

    Raises:
        StreamError: on entering, an address that was named is taken or is none.
    """

    def __init__(
        self,
        bind: str | None = None,
        *,
        instance: str = "",
        gauges: Callable[[], Gauges] = Gauges,
        manager: ServiceManager | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gauges = gauges
        self._bind, self._instance = bind, instance
        self._metrics = Metrics(clock)
        self._pulse = Pulse(clock)
        self._progress = Progress(clock)
        self._narrator = Narrator()
        self._manager = manager or ServiceManager()
        self._endpoint: Endpoint | None = None
        self._alarms: Mapping[str, str] = {}

    @property
    def address(self) -> str | None:
        """Where the endpoint listens, as `host:port`; None where there is none."""
        return self._endpoint.address if self._endpoint else None

    def alarms(self) -> tuple[str, ...]:
        """What is wrong with vidpipe itself, as of the last beat."""
        return tuple(text for text in self._alarms.values() if text)

    def observe(self, message: Message) -> None:
        """Take a message as it was published."""
        self._metrics.observe(message)
        if isinstance(message, Status):
            self._narrator.observe(message)
            self._progress.observe(message)

    def beat(self) -> None:
        """The loop went round; to be called about each second, and only by the loop itself.

        Where frames wait and none is processed, that is no sign of life.
        """
        trouble = self._progress.trouble()
        gauges = self.gauges()
        self._alarms = {"inference": trouble, **gauges.alarms}
        gauges = replace(gauges, alarms=self._alarms)
        self._pulse.beat(trouble)
        self._metrics.beat(gauges)
        self._narrator.alarms(self._alarms)
        if not trouble:
            self._manager.alive()
        self._manager.status(self._narrator.summary())

    def ready(self) -> None:
        """Models are loaded and the publisher is bound."""
        _log.info("vidpipe is ready")
        self._pulse.become(Phase.READY)
        self._manager.ready()

    def reloading(self) -> None:
        """A new configuration is being read; `reloaded` must follow."""
        self._manager.reloading()

    def reloaded(self, *, ok: bool) -> None:
        """The new configuration was taken over, or refused and the old one kept."""
        self._metrics.reloaded(ok=ok)
        self._manager.ready()

    def forget(self, camera: str) -> None:
        """The camera is no longer run."""
        self._metrics.forget(camera)
        self._narrator.forget(camera)
        self._progress.forget(camera)

    def stopping(self) -> None:
        """The end begins: not ready any more."""
        if self._pulse.phase is not Phase.STOPPING:
            self._pulse.become(Phase.STOPPING)
            self._manager.stopping()

    def __enter__(self) -> Monitor:
        self._endpoint = self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping()
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None

    def _open(self) -> Endpoint | None:
        if self._bind == "off":
            return None
        bind = self._bind or DEFAULT_BIND
        try:
            endpoint = Endpoint(
                bind,
                {
                    "/metrics": lambda: Page(HTTPStatus.OK, self._metrics.page(), CONTENT_TYPE_LATEST),
                    "/healthz": lambda: _page(self._pulse.alive()),
                    "/readyz": lambda: _page(self._pulse.ready()),
                },
                instance=self._instance,
            )
        except StreamError as error:
            if self._bind is not None:
                raise
            _log.info("no endpoint for metrics and health here: %s", error)
            return None
        _log.info("metrics at http://%s/metrics", endpoint.address)
        if not is_local(f"tcp://{bind}"):
            _log.warning("metrics.bind is %s: whoever reaches that address can read the metrics, without a key", bind)
        return endpoint


def _page(verdict: Verdict) -> Page:
    return Page(HTTPStatus.OK if verdict.ok else HTTPStatus.SERVICE_UNAVAILABLE, f"{verdict.text}\n".encode())
