"""Gives an order to the vidpipe that runs with a configuration."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from engines.errors import ConfigError, StreamError
from pipeline.control.protocol import Request, decode_answer, encode, read_line, socket_path
from pipeline.durability.folder import state_path

if TYPE_CHECKING:
    from pipeline.config.schema import Config

_PATIENCE_S = 65.0


def order(config: Config, request: Request) -> str:
    """Have it done; in words what was done.

    Raises:
        ConfigError: the configuration does not say where its vidpipe keeps its state.
        StreamError: no vidpipe runs with this configuration, or it refuses, in its own words.
    """
    folder = state_path(config)
    if folder is None:
        raise ConfigError(
            "publish.bind leaves the port open, so set state.folder: there vidpipe run listens for orders"
        )
    try:
        with socket_path(folder) as name, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(name)
            connection.sendall(encode(request))
            answer = decode_answer(_answer(connection))
    except OSError as error:
        raise StreamError(
            f"no vidpipe that runs with this configuration could be reached in {folder} ({error.strerror or error}): "
            "start vidpipe run, or name its configuration with --config"
        ) from error
    if not answer.ok:
        raise StreamError(answer.text)
    return answer.text


def _answer(connection: socket.socket) -> bytes:
    try:
        return read_line(connection, _PATIENCE_S)
    except StreamError as error:
        raise StreamError(f"vidpipe run has not answered: {error}; its log may say why") from error
