"""Who may watch the cameras of `vidpipe fakecam`, and whether anybody on the way may: credentials and TLS."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    from pipeline.rtsp.auth import Guard


class Authentication(str, Enum):
    """How clients prove the password."""

    BASIC = "basic"
    DIGEST = "digest"


def asked_guard(user: str | None, password_env: str | None, auth: Authentication) -> Guard | None:
    """What asks clients for the password. Raises ConfigError."""
    from pipeline.rtsp.auth import Credentials, Guard

    if user is None and password_env is None:
        return None
    if not user or not password_env:
        raise ConfigError("--user and --password-env belong together: name a user and the variable with the password")
    password = os.environ.get(password_env)
    if not password:
        raise ConfigError(f"--password-env names {password_env}, which is not set: put the password there")
    return Guard(Credentials(user, password), auth.value)


def server_tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What serves `rtsps`. Raises ConfigError."""
    import ssl

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("--tls-cert and --tls-key belong together: name the certificate and its private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # rather refuse than ask at the terminal
    except OSError as error:
        named = (error.reason or "no PEM").replace("_", " ") if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f"--tls-cert {certificate} and --tls-key {key} cannot be used ({named}); "
            "give a certificate and its private key without a password, both in PEM"
        ) from error
    return context
