"""Which key folder counts for a configuration, and when its keys are used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_config_dir

from engines.home import user_path
from pipeline.keys.server import ServerKeys
from pipeline.keys.store import SERVER_FILE
from pipeline.stream.address import exposure

if TYPE_CHECKING:
    from pipeline.config.schema import Config


def key_folder(config: Config | None = None) -> Path:
    """The folder that `publish.keys` names, else one among the user's settings."""
    named = config.publish.keys if config is not None else None
    return user_path(named) if named is not None else Path(user_config_dir("vidpipe")) / "keys"


def server_keys(config: Config, *, insecure: bool = False) -> ServerKeys | None:
    """The keys that a configuration calls for; None where it calls for none, and addresses must be private.

    The user's own folder counts without being named where others can reach the publisher or the replay; not with
    `insecure`.

    Raises:
        KeysError: the folder is missing, broken, or others can read it.
    """
    folder = key_folder(config)
    if config.publish.keys is None and (insecure or not _open_to_others(config) or not (folder / SERVER_FILE).exists()):
        return None
    return ServerKeys.load(folder)


def _open_to_others(config: Config) -> bool:
    replay = config.publish.replay
    addresses = [config.publish.bind, *([replay] if replay not in (None, "off") else [])]
    return any(map(exposure, addresses))
