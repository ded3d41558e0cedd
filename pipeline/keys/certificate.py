"""A key file's text: ZeroMQ's certificate format, which CZMQ's `zcert_load` and pyzmq's `load_certificate` read too.

Format: https://rfc.zeromq.org/spec/4/ (ZPL), as CZMQ writes certificates: the sections `metadata` and `curve` with
`name = "value"` lines. The parser is strict: what it does not know, it refuses.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import zmq
from zmq.utils import z85

from engines.errors import KeysError

_SETTING = re.compile(r'(?: {4}|\t)([a-z]+(?:-[a-z]+)*) = "([^"\x00-\x1f\x7f]*)"')
_KEY = re.compile(r"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")


@dataclass(frozen=True)
class Certificate:
    """A CURVE key pair in Z85 text, or its public half (`secret_key` empty), and what is known of it."""

    public_key: str
    secret_key: str = field(default="", repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict)


def new_certificate(**metadata: str) -> Certificate:
    """A fresh key pair."""
    public, secret = zmq.curve_keypair()
    return Certificate(public.decode(), secret.decode(), metadata)


def write_text(certificate: Certificate, remark: str) -> str:
    """The file's text; `remark` stands above it as a comment."""
    lines = [*(f"# {line}" for line in remark.splitlines()), "metadata"]
    lines += [f'    {name.replace("_", "-")} = "{value}"' for name, value in certificate.metadata.items()]
    lines += ["curve", f'    public-key = "{certificate.public_key}"']
    if certificate.secret_key:
        lines.append(f'    secret-key = "{certificate.secret_key}"')
    return "\n".join(lines) + "\n"


def read_text(text: str, what: str) -> Certificate:
    """Read a file's text; `what` is what errors call it. They never show a key.

    Raises:
        KeysError: a line is not in the format, comes twice, or a key is none.
    """
    sections: dict[str, dict[str, str]] = {}
    values: dict[str, str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line in ("metadata", "curve") and line not in sections:
            values = sections[line] = {}
        elif values is not None and (found := _SETTING.fullmatch(line)) and found[1] not in values:
            values[found[1]] = found[2]
        else:
            raise KeysError(f"{what} is no key file: line {number} is not in its format or comes twice")
    curve = sections.get("curve", {})
    if "public-key" not in curve or not curve.keys() <= {"public-key", "secret-key"}:
        raise KeysError(f"{what} is no key file: its section curve needs public-key, and secret-key at most")
    public, secret = curve["public-key"], curve.get("secret-key", "")
    if not is_key(public) or (secret and not (is_key(secret) and _public_of(secret) == public)):
        raise KeysError(f"{what} is damaged: its keys are no pair of CURVE keys")
    metadata = {name.replace("-", "_"): value for name, value in sections.get("metadata", {}).items()}
    return Certificate(public, secret, metadata)


def is_key(text: str) -> bool:
    """Whether a text is 32 bytes in Z85."""
    if not _KEY.fullmatch(text):
        return False
    try:
        return len(z85.decode(text)) == 32
    except struct.error:
        return False  # five characters that are more than four bytes hold


def _public_of(secret: str) -> str:
    return zmq.curve_public(secret.encode()).decode()
