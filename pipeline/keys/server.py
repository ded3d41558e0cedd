"""The server's side of the keys: sockets made secure, and what each client may have, as the key folder says."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import zmq
from zmq.utils import z85

from engines.errors import KeysError
from engines.home import user_path
from pipeline.keys.refusals import Refusals
from pipeline.keys.store import Client, KeyStore, Role
from pipeline.keys.zap import DOMAIN, Refusal, guard

if TYPE_CHECKING:
    from pipeline.keys.certificate import Certificate

_log = logging.getLogger(__name__)

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_HANDSHAKE_MS = 5000  # also how long libzmq holds on to a client that may try again

_Stamp = tuple[tuple[str, int, int, int], ...]


class _ShortageError(Exception):
    """This process has no means to read a file, which says nothing of the file."""


class ServerKeys:
    """The keys of one publisher. `refresh` is for one thread; everything else for any."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._pair: Certificate = store.server()
        self._refusals = Refusals()
        self._shut_out: frozenset[str] = frozenset()
        self._stamp: _Stamp = ()
        self._clients: Mapping[str, Client] = {}
        self.refresh()

    @classmethod
    def load(cls, folder: str | Path) -> ServerKeys:
        """Read a key folder.

        Raises:
            KeysError: it is missing, others can read it, or the server's file is broken.
        """
        return cls(KeyStore(user_path(folder)))

    @property
    def public_key(self) -> str:
        """The server's public key, which clients pin."""
        return self._pair.public_key

    @property
    def refused(self) -> int:
        """How many times a client with a key came and was not let in."""
        return self._refusals.count

    def secure(self, socket: zmq.SyncSocket) -> None:
        """Let only clients of the key folder connect to a socket; their `User-Id` is their public key in Z85.

        Call before `bind`. The handler that this starts ends with the context of the socket.
        """
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt_string(zmq.CURVE_SECRETKEY, self._pair.secret_key)
        socket.setsockopt_string(zmq.ZAP_DOMAIN, DOMAIN)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        guard(socket.context, self.admit)

    def call(self, socket: zmq.SyncSocket, name: str) -> str:
        """Make a socket that connects to where the client `name` is bound, and return that one's user id.

        Raises:
            KeysError: there is no such client.
        """
        client = self._store.client(name)
        socket.setsockopt_string(zmq.CURVE_PUBLICKEY, self._pair.public_key)
        socket.setsockopt_string(zmq.CURVE_SECRETKEY, self._pair.secret_key)
        socket.setsockopt_string(zmq.CURVE_SERVERKEY, client.public_key)
        return client.public_key

    def admit(self, key: bytes, address: str) -> str | Refusal:
        """The user id of a client that comes from an IP address with a public key, or how it is sent away.

        A key that is not known may become so: its client may try again, and need not be started anew.
        """
        user_id = z85.encode(key).decode()
        client = self._clients.get(user_id)
        if client is not None and not client.revoked and user_id not in self._shut_out:
            return user_id
        why = "this key is not known here" if client is None else f"the key {client.name} is revoked or shut out"
        self._refusals.add(address, user_id, why)
        return Refusal.LATER if client is None else Refusal.NEVER

    def allowed(self, user_id: str | None, camera: str, role: Role = Role.SUBSCRIBER) -> bool:
        """Whether a client, by its `User-Id`, may do this with that camera."""
        client = self._clients.get(user_id or "")
        return client is not None and client.public_key not in self._shut_out and client.may(role, camera)

    def cameras(self, user_id: str | None) -> frozenset[str] | None:
        """The cameras whose predictions a client may receive; None for all."""
        client = self._clients.get(user_id or "")
        if client is None or client.revoked or client.role is not Role.SUBSCRIBER:
            return frozenset()
        return frozenset() if client.public_key in self._shut_out else client.cameras

    def shut_out(self, user_id: str, why: str) -> None:
        """Let a client that breaks the protocol in no more, until the next start."""
        client = self._clients.get(user_id)
        self._shut_out |= {user_id}
        _log.warning("the client %s is shut out until the next start: %s", client.name if client else "unknown", why)

    def refresh(self) -> bool:
        """Read the folder again where it changed; True where a client may do less than before.

        A folder or file that cannot be read lets nobody in: what is not known is not allowed. But where this process
        has no descriptor left to read it with, what was known holds until it has: else strangers who connect again and
        again would shut out all others.
        """
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            clients = {client.public_key: client for client in map(self._read, self._names(stamp)) if client}
        except _ShortageError as error:
            _log.warning("the key folder %s cannot be read now: %s", self._store.folder, error)
            return False
        before, self._stamp, self._clients = self._clients, stamp, clients
        return any(key not in self._clients or not self._clients[key].covers(old) for key, old in before.items())

    def _look(self) -> _Stamp:
        try:
            with os.scandir(self._store.client_folder) as entries:
                # a hidden file is one that is being written
                found = [(entry.name, entry.stat()) for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            _tell_shortage(error)
            if self._stamp:
                _log.warning(
                    "the key folder %s cannot be read (%s): nobody is let in", self._store.folder, error.strerror
                )
            return ()
        return tuple(sorted((name, stat.st_ctime_ns, stat.st_size, stat.st_ino) for name, stat in found))

    def _names(self, stamp: _Stamp) -> list[str]:
        return self._store.names() if stamp else []

    def _read(self, name: str) -> Client | None:
        try:
            return self._store.client(name)
        except KeysError as error:
            _tell_shortage(error.__cause__)
            _log.warning("a client is not let in: %s", error)
            return None

    def __repr__(self) -> str:
        return f"ServerKeys({str(self._store.folder)!r})"


def _tell_shortage(error: BaseException | None) -> None:
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        raise _ShortageError(error.strerror) from error
