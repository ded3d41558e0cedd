"""`vidpipe keys`: who may connect to the predictions, from which key, for which cameras."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import ConfigOption

if TYPE_CHECKING:
    from pipeline.config.schema import Config
    from pipeline.keys.store import Client

keys = typer.Typer(help="Make, list and revoke the keys of those who may connect.", no_args_is_help=True)

_Folder = Annotated[
    Path | None, typer.Option(help="The key folder; else publish.keys of the configuration, else the user's own.")
]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The client's name.")]


@keys.command()
def new(
    name: _Name,
    cameras: Annotated[str | None, typer.Option(metavar="A,B", help="The cameras it may have; all if none.")] = None,
    sender: Annotated[
        bool, typer.Option("--sender", help="It sends samples of further inputs, and receives no predictions.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where its secret goes; else NAME.vidpipe-key.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Where it connects to; else publish.bind, with this machine's name for all.")
    ] = None,
    folder: _Folder = None,
    config: ConfigOption = None,
) -> None:
    """Make a client's key. The file with its secret is carried to the client and kept nowhere else.

    Example: vidpipe keys new control-room --cameras camera0,camera1
    """
    from pipeline.keys.store import KeyStore, Role, check_name

    settings = _settings(config)
    allowed = None if cameras is None else [each.strip() for each in cameras.split(",") if each.strip()]
    for each in (name, *(allowed or ())):
        check_name(each)  # first of all: a folder that is there lets a publisher start that others can reach
    store = KeyStore(folder or _folder(settings), create=True)
    role = Role.SENDER if sender else Role.SUBSCRIBER
    file = out or Path(f"{name}.vidpipe-key")
    client = store.new(name, allowed, role, address or _address(settings, role), file)
    typer.echo(f"{client.name} may {_rights(client)}: {file} is its key, carry it there and keep it secret")
    if settings is not None and (unknown := sorted(set(allowed or ()) - set(settings.cameras))):
        typer.echo(f"not in the configuration so far: {', '.join(unknown)}; there are {', '.join(settings.cameras)}")
    if settings is None or settings.publish.keys is None:
        typer.echo(f"the publisher uses keys with this in its configuration: publish: {{keys: {store.folder}}}")


@keys.command("list")
def show(
    json: Annotated[bool, typer.Option("--json", help="Print the clients as JSON, one a line.")] = False,
    folder: _Folder = None,
    config: ConfigOption = None,
) -> None:
    """List the clients, and what each may do.

    Example: vidpipe keys list --json
    """
    import msgspec

    from pipeline.keys.store import KeyStore

    place = folder or _folder(_settings(config))
    clients = []
    if place.exists():
        store = KeyStore(place)
        clients = [store.client(name) for name in store.names()]
    for client in clients:
        if json:
            typer.echo(msgspec.json.encode(client).decode())
        else:
            since = f"revoked {client.revoked}" if client.revoked else f"since {client.created}"
            typer.echo(f"{client.name}: may {_rights(client)}, {since}")
    if not clients and not json:
        typer.echo(f"there are no clients in {place} yet: vidpipe keys new NAME")


@keys.command()
def revoke(name: _Name, folder: _Folder = None, config: ConfigOption = None) -> None:
    """Shut a client out: a vidpipe that runs cuts its connection within seconds.

    Example: vidpipe keys revoke control-room
    """
    from pipeline.keys.store import KeyStore

    client = KeyStore(folder or _folder(_settings(config))).revoke(name)
    typer.echo(f"{client.name} is shut out since {client.revoked}")


def _settings(config: Path | None) -> Config | None:
    """The configuration, where there is one: keys can be made on a machine that has none yet."""
    from pipeline.config.load import STARTER, find_config, load_config

    return None if find_config(config) == STARTER else load_config(config, opens_cameras=False)


def _folder(settings: Config | None) -> Path:
    from pipeline.keys.folder import key_folder

    return key_folder(settings)


def _address(settings: Config | None, role: object) -> str:
    from pipeline.keys.store import Role

    if role is Role.SENDER:
        return ""  # inputs have addresses of their own
    bind = settings.publish.bind if settings is not None else "tcp://127.0.0.1:5555"
    scheme, _, place = bind.partition("://")
    host, _, port = place.rpartition(":")
    return f"{scheme}://{socket.getfqdn()}:{port}" if host in ("*", "0.0.0.0", "[::]") else bind  # noqa: S104


def _rights(client: Client) -> str:
    from pipeline.keys.store import Role

    whose = "all cameras" if client.cameras is None else ", ".join(sorted(client.cameras)) or "no camera"
    return f"send samples for {whose}" if client.role is Role.SENDER else f"receive {whose}"
