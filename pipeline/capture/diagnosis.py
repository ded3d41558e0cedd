"""Why a source gave no picture: the probe's finding as the end of a capture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engines.errors import (
    AuthenticationError,
    SilentSourceError,
    SourceError,
    UnreachableError,
    UnsupportedSourceError,
)
from pipeline.capture.probe import Trust, probe
from pipeline.capture.protocol import Ended, EndReason

if TYPE_CHECKING:
    from pipeline.capture.protocol import Order

_REASONS: tuple[tuple[type[SourceError], EndReason], ...] = (
    (AuthenticationError, EndReason.AUTH_FAILED),
    (UnsupportedSourceError, EndReason.UNSUPPORTED),
    (UnreachableError, EndReason.UNREACHABLE),
    (SilentSourceError, EndReason.TIMEOUT),
)


def reason_of(error: SourceError) -> EndReason:
    """The reason that goes with an error of a camera or stream."""
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), EndReason.ERROR)


def diagnose(order: Order, detail: str, otherwise: EndReason = EndReason.ERROR) -> Ended:
    """Probe the source once more by hand and say what is wrong.

    Args:
        order: names the source.
        detail: what the decoder said.
        otherwise: the reason where the probe finds nothing wrong.
    """
    if order.kind == "scene":
        return Ended(EndReason.FAILED, detail)
    hopeless = order.kind == "file"
    try:
        probe(order.address, trust=Trust(verify=order.tls_verify, ca_file=order.ca_file))
    except SourceError as error:
        return Ended(EndReason.FAILED if hopeless else reason_of(error), str(error))
    if hopeless:
        return Ended(EndReason.FAILED, f"{order.address}: {detail}")
    return Ended(otherwise, f"it answers, but {detail}")
