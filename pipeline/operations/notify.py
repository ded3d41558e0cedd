"""What systemd is told, one datagram each: ready, alive, reloading, stopping."""

from __future__ import annotations

import logging
import os
import socket
import time
import weakref
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class ServiceManager:
    """Talks to the service manager that started us, by `$NOTIFY_SOCKET`; without one it says nothing.

    Never blocks and never raises: a service manager that does not listen is no reason to stop working. The protocol is
    that of sd_notify(3): newline-separated assignments in a datagram to a Unix socket, abstract where it begins with @.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        place = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + place[1:] if place.startswith("@") else place
        self._watched = _is_watched(environment)
        self._status = ""
        # opened now: where no descriptor is left later, the watchdog must hear all the same that we live
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if place else None
        if self._link is not None:
            self._link.settimeout(0)
            weakref.finalize(self, self._link.close)

    def ready(self) -> None:
        """Start-up, or a reload, is done."""
        self._send("READY=1")

    def alive(self) -> None:
        """Real progress was made."""
        if self._watched:
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent when it changes."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. systemd 253 and later wants the time with it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end begins."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if self._link is None:
            return
        try:
            self._link.sendto(text.encode(), self._address)
        except OSError as error:
            _log.debug("the service manager does not listen: %s", error.strerror)


def _is_watched(environment: Mapping[str, str]) -> bool:
    """Whether the watchdog waits for this very process (sd_watchdog_enabled(3))."""
    return bool(environment.get("WATCHDOG_USEC")) and environment.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
