"""A TCP proxy with faults on command, for any server: latency, bandwidth, half-open links, resets, damaged bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import msgspec

from engines.errors import ConfigError, SourceError
from pipeline.fakecam.proxy_faults import Direction, LinkFault
from pipeline.fakecam.relay import Relay
from pipeline.fakecam.tally import Tally


@dataclass(frozen=True)
class ProxyCounters:
    """What a proxy has seen since it was made."""

    connections: int
    open: int  # now
    unreachable: int  # the server could not be reached for them
    cut: int  # ended by a fault
    up_bytes: int  # passed from clients to the server
    down_bytes: int


class FaultProxy:
    """Passes connections on to a server, with faults that any thread may begin and end at any moment.

    The port stays its own from the first start to `stop`, also while connections are refused. A fault acts on present
    and coming connections until it is cleared.

    Args:
        target_host, target_port: the server.
        host: address to listen on.
        port: 0 takes a free one from the system, which `port` then gives.
    """

    def __init__(self, target_host: str, target_port: int, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._target, self._host, self._port = (target_host, target_port), host, port
        self._tally = Tally(_read)
        self._relay: Relay | None = None

    @property
    def port(self) -> int:
        """The port; 0 before a first start that takes one from the system."""
        return self._port

    @property
    def address(self) -> str:
        """Where clients connect, as `host:port`."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    @property
    def counters(self) -> ProxyCounters:
        """What has been seen so far."""
        return self._tally.counters

    def start(self) -> None:
        """Listen. Raises SourceError where the address cannot be had; does nothing where it is running."""
        if self._relay is not None:
            return
        relay = Relay(self._target, self._tally.add)
        self._port = relay.start(self._host, self._port)
        self._relay = relay

    def stop(self) -> None:
        """End every connection, close the port and end the thread; faults end too."""
        if self._relay is not None:
            self._relay.stop()
        self._relay = None

    def inject(
        self, fault: LinkFault, direction: Direction = "both", *, for_s: float | None = None, after_s: float = 0.0
    ) -> None:
        """Let a fault begin; it acts when this returns, until `for_s` seconds are over, it is cleared or `stop`.

        With `after_s` it begins so many seconds later.

        It takes the place of one of its kind in that direction. `Cut` of 0 bytes happens once where `for_s` is not
        given.

        Raises:
            ConfigError: the values contradict themselves.
            SourceError: the proxy is not running.
        """
        name = type(fault).__name__
        try:
            fault = msgspec.convert(msgspec.to_builtins(fault), type(fault))
        except msgspec.ValidationError as error:
            raise ConfigError(f"the fault {name.lower()} cannot be had so: {error}") from error
        if self._relay is None:
            raise SourceError(f"{name} cannot be injected: the proxy is not running; start it first")
        self._relay.call(lambda relay: relay.inject(fault, direction, for_s, after_s))

    def clear(self, kind: type[LinkFault] | None = None) -> int:
        """End all faults, or those of a kind; gives how many there were."""
        return self._relay.call(lambda relay: relay.clear(kind)) if self._relay is not None else 0

    def wait_for(self, condition: Callable[[ProxyCounters], bool], timeout_s: float = 10.0) -> bool:
        """Wait until the counters meet a condition; False when time has run out."""
        return self._tally.wait_for(condition, timeout_s)

    def __enter__(self) -> FaultProxy:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _read(seen: Counter[str]) -> ProxyCounters:
    return ProxyCounters(seen["connections"], seen["open"], seen["unreachable"], seen["cut"], seen["up"], seen["down"])
