"""Where a command that listens finds the publisher."""

from __future__ import annotations

from pathlib import Path


def target_of(address: str | None, keys: Path | None, file: Path | None, cameras: list[str]) -> str:
    """Where to listen: what was named, else what the key file says, else what the configuration publishes.

    Raises:
        ConfigError: the configuration is not valid, has no such camera, or leaves the port to the system.
        StreamError: the key file is none.
    """
    return address or (_address_in(keys) if keys else "") or _published_by(file, cameras)


def _address_in(keys: Path) -> str:
    """The publisher's address in a key file; empty where it has none."""
    from pipeline.keys.client import ClientKeys

    return ClientKeys.load(keys).address


def _published_by(file: Path | None, cameras: list[str]) -> str:
    """Where to listen to what a configuration publishes; the cameras must be in it.

    Raises:
        ConfigError: it is not valid, has no such camera, or leaves the port to the system.
    """
    from engines.errors import ConfigError
    from pipeline.config.load import load_config, select_cameras

    config = load_config(file, opens_cameras=False)
    select_cameras(config, cameras or list(config.cameras))
    scheme, _, place = config.publish.bind.partition("://")
    host, colon, port = place.rpartition(":")
    if port == "*":
        raise ConfigError(
            f"publish.bind is {config.publish.bind}: the system chose the port, so name it with --address"
        )
    return f"{scheme}://127.0.0.1:{port}" if colon and host in ("*", "0.0.0.0", "[::]") else config.publish.bind  # noqa: S104
