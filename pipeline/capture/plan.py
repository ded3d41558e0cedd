"""How one camera is read, and what each of its capture processes is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.capture.protocol import Order

if TYPE_CHECKING:
    from pipeline.config.source import Source


@dataclass(frozen=True)
class CapturePlan:
    """How one camera is read: from the configuration, and what its model wants to see."""

    name: str
    source: Source
    height: int
    width: int
    rate_hz: float
    crop: tuple[float, float, float, float] | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    capture: Literal["opencv", "pyav"] = "opencv"
    tls_verify: bool = True
    ca_file: str | None = None
    open_timeout_s: float = 5.0
    stall_s: float = 2.0
    slots: int = 16
    frozen_after_s: float = 8.0
    hold_frozen: bool = False

    def order(self, last: tuple[int, int] | None, last_size: tuple[int, int] | None) -> Order:
        """What the next capture process is to do; it learns its descriptors when it starts.

        Args:
            last: media time and the monotonic time at which it held (ns), from where the media clock goes on.
            last_size: width and height that the connection before it saw.
        """
        return Order(
            kind=self.source.kind.value,
            address=self.source.reveal(),
            ring_fd=-1,
            log_fd=-1,
            rope_fd=-1,
            slots=self.slots,
            height=self.height,
            width=self.width,
            rate_hz=self.rate_hz,
            open_timeout_ms=round(self.open_timeout_s * 1e3),
            read_timeout_ms=round(self.stall_s * 1e3),
            patient=self.source.kind.value == "rtsp" and self.transport == "tcp",
            capture=self.capture,
            transport=self.transport,
            tls_verify=self.tls_verify,
            ca_file=self.ca_file,
            crop=self.crop,
            resume_media_ns=last[0] if last else None,
            resume_monotonic_ns=last[1] if last else 0,
            last_size=last_size,
            frozen_after_s=self.frozen_after_s,
            hold_frozen=self.hold_frozen,
        )
