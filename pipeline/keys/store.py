"""The key folder: the server's key pair, and of each client its public key and what it may do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path

from engines.errors import KeysError
from pipeline.keys.certificate import Certificate, new_certificate, read_text, write_text
from pipeline.keys.files import check_private_folder, make_private_folder, read_private, replace_private, write_private

SERVER_FILE = "server.key_secret"
CLIENT_FOLDER = "clients"
_SUFFIX = ".key"
_ALL = "*"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SERVER_REMARK = "SECRET key of a vidpipe publisher: it never leaves this machine."
_CLIENT_REMARK = "A client of this publisher: its public key, and what it may do (cameras: * for all)."
_CARRIED_REMARK = "SECRET key of a vidpipe client: whoever has this file can do what that client may."


class Role(str, Enum):
    """What a client is for: to receive predictions, or to send samples of further inputs."""

    SUBSCRIBER = "subscriber"
    SENDER = "sender"


@dataclass(frozen=True)
class Client:
    """One client: `cameras` is None where it may have all. `created` and `revoked` (or empty) are RFC 3339, UTC."""

    name: str
    public_key: str
    role: Role
    cameras: frozenset[str] | None
    created: str
    revoked: str = ""

    def may(self, role: Role, camera: str) -> bool:
        """Whether it may do this with that camera."""
        return not self.revoked and role is self.role and (self.cameras is None or camera in self.cameras)

    def covers(self, other: Client) -> bool:
        """Whether it may do everything that `other` may."""
        if other.revoked:
            return True
        all_cameras = self.cameras is None or (other.cameras is not None and other.cameras <= self.cameras)
        return not self.revoked and (self.public_key, self.role) == (other.public_key, other.role) and all_cameras


class KeyStore:
    """The files of one key folder.

    Raises:
        KeysError: the folder can be entered by others; with every method, a file is broken or readable by others.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        self.client_folder = folder / CLIENT_FOLDER
        if create:
            make_private_folder(folder)
            make_private_folder(self.client_folder)
            if not (folder / SERVER_FILE).exists():
                write_private(folder / SERVER_FILE, write_text(new_certificate(), _SERVER_REMARK))
        check_private_folder(folder)
        check_private_folder(self.client_folder)

    def server(self) -> Certificate:
        """The server's key pair."""
        path = self.folder / SERVER_FILE
        certificate = read_text(read_private(path), str(path))
        if not certificate.secret_key:
            raise KeysError(f"{path} has no secret key: put the whole file back, or make a new key folder")
        return certificate

    def names(self) -> list[str]:
        """The clients' names, in order."""
        return sorted(path.stem for path in self.client_folder.glob(f"*{_SUFFIX}") if _NAME.fullmatch(path.stem))

    def client(self, name: str) -> Client:
        """One client's entry."""
        check_name(name)
        path = self._path(name)
        if not path.exists():
            known = ", ".join(self.names()) or "none yet"
            raise KeysError(f"there is no key {name} in {self.folder}; there are: {known}")
        return _read_client(name, read_text(read_private(path), str(path)), str(path))

    def new(self, name: str, cameras: Sequence[str] | None, role: Role, address: str, out: Path) -> Client:
        """Make a client's key pair: the secret goes to the file `out` alone, its public half is kept here.

        Raises:
            KeysError: the name is taken or not valid, or a file cannot be written.
        """
        check_name(name)
        if self._path(name).exists():
            raise KeysError(f"there is a key {name} already: choose another name, or remove {self._path(name)}")
        for camera in cameras or ():
            check_name(camera)
        pair = new_certificate(name=name, address=address, server_key=self.server().public_key)
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        client = Client(name, pair.public_key, role, None if cameras is None else frozenset(cameras), created)
        write_private(out, write_text(pair, _CARRIED_REMARK))
        try:
            write_private(self._path(name), _client_text(client))
        except KeysError:
            out.unlink(missing_ok=True)
            raise
        return client

    def revoke(self, name: str) -> Client:
        """Shut a client out from now on; its entry stays, so that the name is not given again."""
        client = self.client(name)
        if client.revoked:
            return client
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        revoked = Client(name, client.public_key, client.role, client.cameras, client.created, now)
        replace_private(self._path(name), _client_text(revoked))
        return revoked

    def _path(self, name: str) -> Path:
        return self.client_folder / f"{name}{_SUFFIX}"


def check_name(name: str) -> None:
    """Whether a client or camera may be called that. Raises KeysError."""
    if not _NAME.fullmatch(name):
        raise KeysError(f"{name!r:.80} is no name: use 1 to 64 letters, digits, _ and -")


def _client_text(client: Client) -> str:
    cameras = _ALL if client.cameras is None else ",".join(sorted(client.cameras))
    known = {"role": client.role.value, "cameras": cameras, "created": client.created, "revoked": client.revoked}
    return write_text(Certificate(client.public_key, "", known), _CLIENT_REMARK)


def _read_client(name: str, certificate: Certificate, what: str) -> Client:
    known = certificate.metadata
    if certificate.secret_key or known.keys() != {"role", "cameras", "created", "revoked"}:
        raise KeysError(f"{what} is no client's entry: it needs role, cameras, created, revoked and a public key only")
    if known["role"] not in [role.value for role in Role]:
        raise KeysError(f"{what}: role is {known['role']!r:.80}; allowed are {', '.join(role.value for role in Role)}")
    cameras = None if known["cameras"] == _ALL else frozenset(filter(None, known["cameras"].split(",")))
    if cameras is not None and not all(map(_NAME.fullmatch, cameras)):
        raise KeysError(f"{what}: cameras is a list of names with commas between them, or * for all")
    role, created, revoked = Role(known["role"]), known["created"], known["revoked"]
    return Client(name, certificate.public_key, role, cameras, created, revoked)
