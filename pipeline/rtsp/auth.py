"""Basic and Digest authentication, both sides (RFC 2617, RFC 7616; MD5 and SHA-256, with and without `qop=auth`)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_SCHEME = re.compile(r"(?:^|,)\s*(basic|digest)\s+", re.IGNORECASE)
_PARAMETER = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


@dataclass(frozen=True)
class Credentials:
    """A user name and a password; the password never shows in `repr`."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Challenge:
    """What a server asks for in `WWW-Authenticate`."""

    scheme: str  # 'basic' or 'digest'
    realm: str = ""
    nonce: str = ""
    algorithm: str = "MD5"  # or 'SHA-256', with or without '-sess'
    qop: str = ""  # 'auth', or '' for the older form of RFC 2069
    opaque: str = ""
    stale: bool = False

    def header(self) -> str:
        """The value of `WWW-Authenticate`."""
        if self.scheme == "basic":
            return f'Basic realm="{self.realm}"'
        text = f'Digest realm="{self.realm}", nonce="{self.nonce}", algorithm={self.algorithm}'
        text += f', qop="{self.qop}"' if self.qop else ""
        return text + (", stale=true" if self.stale else "")


@dataclass(frozen=True)
class Guard:
    """Admits requests that carry the right credentials: the server's side.

    Digest with MD5 and without `qop` is what most cameras ask for; SHA-256 implies `qop=auth` (RFC 7616).
    """

    credentials: Credentials
    scheme: str = "digest"  # 'basic' or 'digest'
    algorithm: str = "MD5"  # 'MD5' or 'SHA-256'
    realm: str = "vidpipe fakecam"

    def challenge(self, nonce: str) -> Challenge:
        """What to send with status 401."""
        qop = "auth" if self.algorithm != "MD5" else ""
        return Challenge(self.scheme, self.realm, nonce, self.algorithm, qop)

    def admits(self, authorization: str, method: str, uri: str, nonce: str) -> bool:
        """True where the `Authorization` header proves the password for this request and nonce."""
        if self.scheme == "basic":
            return hmac.compare_digest(_basic_token(authorization), _basic_bytes(self.credentials))
        given = _parameters(authorization)
        named = given.get("uri", "")
        if given.get("username") != self.credentials.user or given.get("nonce") != nonce:
            return False
        if urlsplit(named).path != urlsplit(uri).path:  # some clients sign the path, others the whole URL
            return False
        proof = _Proof(given.get("nc", ""), given.get("cnonce", ""))
        expected = _digest(self.challenge(nonce), self.credentials, method, named, proof)
        return hmac.compare_digest(_bytes(given.get("response", "")), expected.encode())


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """The Basic and Digest challenges in the `WWW-Authenticate` values of one response; others are left out."""
    return tuple(challenge for value in values for challenge in _split_challenges(value))


def strongest(challenges: Iterable[Challenge]) -> Challenge | None:
    """The challenge to answer: Digest SHA-256, then Digest MD5, then Basic; None where none can be answered."""
    able = [c for c in challenges if c.scheme == "basic" or _base(c.algorithm) in _HASHES]
    return max(able, key=lambda c: (c.scheme == "digest", c.algorithm.startswith("SHA-256")), default=None)


def authorization(challenge: Challenge, credentials: Credentials, method: str, uri: str) -> str:
    """The value of `Authorization` that answers `challenge` for one request: the client's side."""
    if challenge.scheme == "basic":
        return "Basic " + _basic_bytes(credentials).decode()
    proof = _Proof("00000001", secrets.token_hex(8))
    response = _digest(challenge, credentials, method, uri, proof)
    fields = {"username": _escape(credentials.user), "realm": challenge.realm, "nonce": challenge.nonce, "uri": uri}
    fields |= {"response": response}
    fields |= {"cnonce": proof.cnonce} if challenge.qop or _is_session(challenge) else {}
    fields |= {"opaque": challenge.opaque} if challenge.opaque else {}
    text = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    text += f", qop=auth, nc={proof.count}" if challenge.qop else ""
    return f"Digest {text}, algorithm={challenge.algorithm}"


@dataclass(frozen=True)
class _Proof:
    count: str
    cnonce: str


def _digest(challenge: Challenge, credentials: Credentials, method: str, uri: str, proof: _Proof) -> str:
    """`response` of RFC 7616 section 3.4.1."""
    first = _hash(challenge, credentials.user, challenge.realm, credentials.password)
    if _is_session(challenge):
        first = _hash(challenge, first, challenge.nonce, proof.cnonce)
    second = _hash(challenge, method, uri)
    if challenge.qop:
        return _hash(challenge, first, challenge.nonce, proof.count, proof.cnonce, "auth", second)
    return _hash(challenge, first, challenge.nonce, second)


def _hash(challenge: Challenge, *parts: str) -> str:
    # MD5 is what the cameras speak; it guards nothing here but the protocol's own exchange
    return _HASHES[_base(challenge.algorithm)](_bytes(":".join(parts)), usedforsecurity=False).hexdigest()


def _base(algorithm: str) -> str:
    return algorithm.removesuffix("-sess")


def _is_session(challenge: Challenge) -> bool:
    return challenge.algorithm.endswith("-sess")


def _basic_bytes(credentials: Credentials) -> bytes:
    return base64.b64encode(_bytes(f"{credentials.user}:{credentials.password}"))


def _basic_token(header: str) -> bytes:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64encode(base64.b64decode(token.strip(), validate=True))
    except (binascii.Error, ValueError):
        return b""


def _split_challenges(value: str) -> list[Challenge]:
    marks = list(_SCHEME.finditer(value))
    ends = [*(mark.start() for mark in marks[1:]), len(value)]
    return [_challenge(mark[1].lower(), value[mark.end() : end]) for mark, end in zip(marks, ends, strict=False)]


def _challenge(scheme: str, text: str) -> Challenge:
    given = _parameters(text)
    offered = [token.strip().lower() for token in given.get("qop", "").split(",")]
    algorithm = given.get("algorithm", "MD5")
    return Challenge(
        scheme=scheme,
        realm=given.get("realm", ""),
        nonce=given.get("nonce", ""),
        algorithm=algorithm.upper().replace("-SESS", "-sess"),
        qop="auth" if "auth" in offered else "",
        opaque=given.get("opaque", ""),
        stale=given.get("stale", "").lower() == "true",
    )


def _parameters(text: str) -> dict[str, str]:
    """`name="value"` pairs, keys in lower case; a backslash inside quotes escapes the next character."""
    pairs = ((match[1].lower(), match[2], match[3]) for match in _PARAMETER.finditer(text))
    return {name: bare if bare is not None else re.sub(r"\\(.)", r"\1", quoted) for name, quoted, bare in pairs}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a configuration file can spell halves of characters


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
