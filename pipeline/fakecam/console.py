"""Typed commands for a running fake camera or fault proxy, each answered in one line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any, Protocol, get_args

import msgspec
from msgspec import Struct

from engines.errors import ConfigError, VidpipeError
from pipeline.fakecam.fault_text import GRAMMAR, Order, meaning, parse_order, usage, values
from pipeline.fakecam.fault_values import shown
from pipeline.fakecam.faults import FAULTS, Reach, momentary
from pipeline.fakecam.proxy import FaultProxy
from pipeline.fakecam.proxy_faults import LINK_FAULTS, Cut, Direction
from pipeline.fakecam.server import FakeCameraServer


class Reply(Struct, frozen=True, omit_defaults=True):
    """The answer to one command."""

    ok: bool
    text: str
    order: dict[str, Any] | None = None  # the fault that was injected, with its values
    counters: dict[str, int] | None = None


class Site(Protocol):
    """What can be given faults."""

    kinds: Mapping[str, type[Any]]
    cameras: Collection[str]
    scope: tuple[str, Collection[str]]

    def inject(self, order: Order[Any]) -> None:
        """Let a fault begin. Raises VidpipeError."""
        ...

    def clear(self, camera: str | None, kind: type[Any] | None) -> int:
        """End faults; gives how many. Raises VidpipeError."""
        ...

    def counters(self) -> dict[str, int]:
        """What has been seen so far."""
        ...


class CameraSite:
    """The cameras of a server."""

    kinds: Mapping[str, type[Any]] = FAULTS
    cameras: Collection[str]
    scope: tuple[str, Collection[str]] = ("reach", get_args(Reach))

    def __init__(self, server: FakeCameraServer) -> None:
        self._server, self.cameras = server, tuple(server.urls)

    def inject(self, order: Order[Any]) -> None:
        """Let a fault begin."""
        reach = order.scope or "all"
        self._server.inject(order.fault, order.camera, for_s=order.for_s, after_s=order.after_s, reach=reach)  # type: ignore[arg-type]  # parse_order has checked it

    def clear(self, camera: str | None, kind: type[Any] | None) -> int:
        """End faults."""
        return self._server.clear(camera, kind)

    def counters(self) -> dict[str, int]:
        """What the server has seen."""
        return asdict(self._server.counters)


class ProxySite:
    """A fault proxy."""

    kinds: Mapping[str, type[Any]] = LINK_FAULTS
    cameras: Collection[str] = ()
    scope: tuple[str, Collection[str]] = ("direction", get_args(Direction))

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy

    def inject(self, order: Order[Any]) -> None:
        """Let a fault begin."""
        self._proxy.inject(order.fault, order.scope or "both", for_s=order.for_s, after_s=order.after_s)  # type: ignore[arg-type]  # parse_order has checked it

    def clear(self, camera: str | None, kind: type[Any] | None) -> int:  # noqa: ARG002 - a proxy has no cameras
        """End faults."""
        return self._proxy.clear(kind)

    def counters(self) -> dict[str, int]:
        """What the proxy has seen."""
        return asdict(self._proxy.counters)


class Console:
    """Answers commands: a fault, `clear`, `status`, `help`."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def answer(self, line: str) -> Reply:
        """Do what a line says, and say in one line what came of it."""
        try:
            return self._answer(line)
        except VidpipeError as error:
            return Reply(ok=False, text=str(error))

    def inject(self, order: Order[Any]) -> Reply:
        """Let a fault begin. Raises VidpipeError."""
        self._site.inject(order)
        fault = msgspec.to_builtins(order.fault)
        told = {"camera": order.camera, "after_s": order.after_s, "for_s": order.for_s}
        return Reply(ok=True, text=_told(order), order=fault | told)

    def _answer(self, line: str) -> Reply:
        words = line.split()
        camera = words.pop(0) if words and words[0] in self._site.cameras else None
        if words[:1] == ["clear"]:
            return self._clear(camera, words[1:])
        if words[:1] == ["status"]:
            seen = self._site.counters()
            return Reply(ok=True, text=", ".join(f"{name} {value}" for name, value in seen.items()), counters=seen)
        if words[:1] == ["help"]:
            return Reply(ok=True, text=self._help(words[1:]))
        return self.inject(parse_order(line, self._site.kinds, self._site.cameras, scope=self._site.scope))

    def _clear(self, camera: str | None, words: list[str]) -> Reply:
        kind = self._kind(words[0]) if words else None
        ended = self._site.clear(camera, kind)
        where = f" of {camera}" if camera else ""
        return Reply(ok=True, text=f"{ended} fault{'' if ended == 1 else 's'}{where} ended")

    def _help(self, words: list[str]) -> str:
        if words:
            kind = self._kind(words[0])
            return f"{usage(kind)} [SECONDS]: {meaning(kind)} {values(kind)}"
        units = "times are in seconds (5, 5s, 200ms), rates are shares (0.3, 30%)"
        return f"{GRAMMAR}; {units}; faults: {', '.join(self._site.kinds)}; or clear [FAULT], status, help FAULT"

    def _kind(self, name: str) -> type[Any]:
        if name.lower() not in self._site.kinds:
            raise ConfigError(f"{name!r} is no fault; there are {', '.join(self._site.kinds)}")
        return self._site.kinds[name.lower()]


def _told(order: Order[Any]) -> str:
    name = type(order.fault).__name__.lower()
    where = f"on {order.camera}" if order.camera else ""
    start = f"in {order.after_s:g} s" if order.after_s else ""
    return " ".join(part for part in (name, shown(order.fault), where, start, _length(order)) if part)


def _length(order: Order[Any]) -> str:
    if order.for_s is not None:
        return f"for {order.for_s:g} s"
    once = momentary(order.fault, None) or (isinstance(order.fault, Cut) and not order.fault.after_bytes)
    return "once" if once else "until cleared"
