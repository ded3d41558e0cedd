"""A client's key file, and the sockets that it opens doors with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import zmq
from zmq.utils import z85

from engines.errors import KeysError
from pipeline.keys.certificate import Certificate, is_key, read_text
from pipeline.keys.files import read_private
from pipeline.keys.zap import DOMAIN, Refusal, guard

if TYPE_CHECKING:
    import os


class ClientKeys:
    """A client's key pair, and the public key of the one server that it believes."""

    def __init__(self, certificate: Certificate, name: str, address: str, server_key: str) -> None:
        self.name = name
        self.address = address
        self._certificate = certificate
        self._server_key = server_key

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ClientKeys:
        """Read the file that `vidpipe keys new` wrote.

        Raises:
            KeysError: it is missing, readable by others, or no client's key file.
        """
        certificate = read_text(read_private(Path(path)), str(path))
        known = certificate.metadata
        if not certificate.secret_key or not is_key(known.get("server_key", "")):
            raise KeysError(f"{path} is no client's key file: take the one that vidpipe keys new wrote for it")
        return cls(certificate, known.get("name", ""), known.get("address", ""), known["server_key"])

    def secure(self, socket: zmq.SyncSocket) -> None:
        """Make a socket connect with these keys, and to that server only. Call before `connect`."""
        socket.setsockopt_string(zmq.CURVE_PUBLICKEY, self._certificate.public_key)
        socket.setsockopt_string(zmq.CURVE_SECRETKEY, self._certificate.secret_key)
        socket.setsockopt_string(zmq.CURVE_SERVERKEY, self._server_key)

    def receive_server(self, socket: zmq.SyncSocket) -> None:
        """The other way round: make a socket that binds and lets in nobody but that server. Call before `bind`."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt_string(zmq.CURVE_SECRETKEY, self._certificate.secret_key)
        socket.setsockopt_string(zmq.ZAP_DOMAIN, DOMAIN)
        only = z85.decode(self._server_key)
        guard(socket.context, lambda key, _address: "server" if key == only else Refusal.NEVER)

    def __repr__(self) -> str:
        return f"ClientKeys({self.name!r})"
