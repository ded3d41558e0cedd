"""Authorities and certificates made for a test, good ones and wrong ones."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path

import trustme


def server_context(authority: trustme.CA, name: str = "127.0.0.1", *, expired: bool = False) -> ssl.SSLContext:
    """What a server needs to prove that it is `name`, signed by an authority; `expired` three days ago."""
    now = datetime.now(timezone.utc)
    times = {"not_before": now - timedelta(days=30), "not_after": now - timedelta(days=3)} if expired else {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **times).configure_cert(context)
    return context


def write_authority(authority: trustme.CA, path: Path) -> str:
    """The authority's own certificate as a PEM file, to be trusted."""
    authority.cert_pem.write_to_path(str(path))
    return str(path)
