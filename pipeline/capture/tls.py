"""Whom a TLS connection to a camera is trusted to lead to, and in one sentence what is wrong with it."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from engines.errors import SourceError
from pipeline.rtsp.url import StreamUrl

TLS_SCHEMES = ("rtsps", "https")

# where distributions keep the authorities that they trust, for an OpenSSL that was built to look elsewhere
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# X509_V_ERR_* of OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64


@dataclass(frozen=True)
class Trust:
    """How a certificate is checked: not at all, or against the authorities of a PEM file, or against the system's."""

    verify: bool = True
    ca_file: str | None = None


SYSTEM_TRUST = Trust()


def authorities() -> str:
    """The PEM file with the authorities that the system trusts. Raises SourceError where it has none."""
    known = ssl.get_default_verify_paths().cafile
    for path in (known, *_BUNDLES):
        if path and os.access(path, os.R_OK):
            return path
    raise SourceError("this system has no list of trusted authorities: name a PEM file in tls.ca_file")


def secure(sock: socket.socket, url: StreamUrl, trust: Trust) -> ssl.SSLSocket:
    """Speak TLS on a connected socket, which must have a timeout. The socket is closed where that fails.

    Raises:
        TimeoutError: the other side is too slow.
        SourceError: it does not speak TLS, or its certificate is not to be trusted.
    """
    try:
        sock.getpeername()  # one that was reset meanwhile would be left open by `wrap_socket`
        return _context(trust).wrap_socket(sock, server_hostname=url.host)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise SourceError(_distrust(url.place, error, trust)) from error
    except TimeoutError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise SourceError(f"{url.place} does not speak TLS as {url.scheme}:// asks: {reason(error)}") from error
    except SourceError:
        sock.close()
        raise


def _context(trust: Trust) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None)
    if not trust.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    if trust.ca_file is None:
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(trust.ca_file)
    except OSError as error:
        raise SourceError(f"the certificates in {trust.ca_file} cannot be used: {reason(error)}") from error
    return context


def _distrust(place: str, error: ssl.SSLCertVerificationError, trust: Trust) -> str:
    found = f"the TLS certificate of {place} is not trusted: {error.verify_message.rstrip('.')}"
    if error.verify_code == _EXPIRED:
        return f"{found}: renew it at the camera"
    if error.verify_code == _NOT_YET_VALID:
        return f"{found}: set the camera's clock or this machine's"
    if error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
        return f"{found}: name the camera in source as its certificate does"
    where = f"in {Path(trust.ca_file).name}" if trust.ca_file else "among the system's authorities"
    return f"{found}; no authority {where} has signed it: name its own in tls.ca_file"


def reason(error: OSError) -> str:
    """What went wrong on a socket, in the system's or OpenSSL's few words."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "the TLS handshake failed").lower().replace("_", " ")
    return (error.strerror or str(error)).lower()
