"""The check of a camera's certificate before FFmpeg connects: OpenCV's FFmpeg never looks at the name in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.capture.tls import Trust
from pipeline.capture.wire import Deadline, Wire
from pipeline.rtsp.url import parse_url

if TYPE_CHECKING:
    from pipeline.capture.protocol import Order


def check_certificate(order: Order) -> None:
    """Shake hands once and hang up, where anything is to be verified; no credentials are sent.

    FFmpeg then makes a connection of its own. Both back ends check the authority there too, PyAV's also the name; with
    OpenCV, somebody who lets the first connection through and takes the second needs a certificate of a trusted
    authority, but for any name.

    Raises:
        SourceError: the certificate is not to be trusted, or there is no TLS; one of its kinds where nobody answers.
    """
    if order.tls_verify:
        Wire(parse_url(order.address), Deadline(order.open_timeout_ms / 1e3), Trust(ca_file=order.ca_file)).close()
