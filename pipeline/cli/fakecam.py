"""`vidpipe fakecam`: serves the test scene or a video file as a real RTSP camera."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engines.errors import ConfigError
from pipeline.cli.fakecam_access import Authentication, asked_guard, server_tls
from pipeline.cli.fakecam_faults import read_orders, say, take_faults

if TYPE_CHECKING:
    from pipeline.fakecam import FakeCameraServer, Media


class Start(str, Enum):
    """Where a client's stream begins."""

    LIVE = "live"
    ON_CONNECT = "on_connect"


def fakecam(
    source: Annotated[str, typer.Argument(help="scene://, scene://?seed=N or a video file.")] = "scene://",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8554,
    path: Annotated[str, typer.Option(help="Path of the camera in its URL.")] = "camera0",
    cameras: Annotated[int, typer.Option(min=1, max=256, help="Serve so many: camera0, camera1, ...")] = 1,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Picture size; else 640x360 or the file's.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second; else 15 or the file's.")] = None,
    bitrate: Annotated[
        int | None, typer.Option(min=16, metavar="KBIT", help="Kilobits a second; else by quality.")
    ] = None,
    start: Annotated[
        Start, typer.Option(help="live: one clock for all clients; on_connect: each client begins at time 0.")
    ] = Start.LIVE,
    loop: Annotated[bool, typer.Option("--loop/--no-loop", help="Begin a file again at its end.")] = True,
    user: Annotated[str | None, typer.Option(help="Ask clients for this user name.")] = None,
    password_env: Annotated[
        str | None, typer.Option(metavar="VARIABLE", help="Environment variable that holds the password.")
    ] = None,
    auth: Annotated[Authentication, typer.Option(help="How to ask for it.")] = Authentication.DIGEST,
    duration: Annotated[float | None, typer.Option(min=0.1, metavar="SECONDS", help="Stop after this long.")] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Serve rtsps with this certificate (and its chain).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="PEM", help="The certificate's private key.")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT", help="A fault, at seconds after the start and for seconds: 'stall@10+5'. Repeatable."
        ),
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Serve no camera; pass this TCP server on, with faults.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the cameras as one line of JSON, and so each answer.")
    ] = False,
) -> None:
    """Serve the test scene or a video file as an RTSP camera: H.264 over TCP or UDP, for any number of clients.

    While it runs it takes faults on standard input, a line each, such as 'stall 5' or 'camera1 corrupt 0.3'; 'clear'
    ends them, 'help' lists them. Needs PyAV, which comes with vidpipe's extra `fakecam`.

    Example: vidpipe fakecam scene://?seed=7 --cameras 4 --fault 'camera1 freeze@30+20'
    """
    from pipeline.cli.log import log_to_stderr

    log_to_stderr()
    if proxy is not None:
        _pass_on(proxy, host, port, fault or [], duration, json)
        return
    from pipeline.fakecam import FakeCameraServer, open_media
    from pipeline.fakecam.console import CameraSite

    guard, tls = asked_guard(user, password_env, auth), server_tls(tls_cert, tls_key)
    rate = None if bitrate is None else 1000 * bitrate
    several = open_media(source, cameras, size=_shape(size), frame_rate=fps, bitrate=rate, loop=loop)
    media = dict(zip(_paths(path, cameras), several, strict=True))
    orders = read_orders(fault or [], CameraSite.kinds, media, CameraSite.scope)
    with (
        _stop_signals() as wait,
        FakeCameraServer(media, host=host, port=port, start=start.value, guard=guard, tls=tls) as server,
    ):
        say({"cameras": _facts(server, media)}, _explanation(server, media, user, password_env), json)
        take_faults(CameraSite(server), orders, json, lambda: wait(duration))


def _pass_on(target: str, host: str, port: int, faults: list[str], duration: float | None, json: bool) -> None:
    from pipeline.fakecam.console import ProxySite
    from pipeline.fakecam.proxy import FaultProxy

    orders = read_orders(faults, ProxySite.kinds, (), ProxySite.scope)
    with _stop_signals() as wait, FaultProxy(*_address(target), host=host, port=port) as proxy:
        say({"proxy": proxy.address, "target": target}, f"{proxy.address} passes on to {target}; Ctrl-C ends it.", json)
        take_faults(ProxySite(proxy), orders, json, lambda: wait(duration))


def _address(target: str) -> tuple[str, int]:
    match = re.fullmatch(r"\[?([^\[\]\s]+?)\]?:(\d{1,5})", target)
    if match is None or not 0 < int(match[2]) < 65536:
        raise ConfigError(f"--proxy is {target!r}; write the server's address and port, such as 127.0.0.1:8554")
    return match[1], int(match[2])


def _paths(path: str, cameras: int) -> list[str]:
    path = path.strip("/")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", path, re.ASCII):
        raise ConfigError(f"--path is {path!r}; it may hold letters, digits, '.', '-', '_' and '/'")
    return [path] if cameras == 1 else [f"{path.rstrip('0123456789')}{number}" for number in range(cameras)]


def _shape(size: str | None) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", size) if size else None
    if size and match is None:
        raise ConfigError(f"--size is {size!r}; write width and height in pixels, such as 640x360")
    return (int(match[1]), int(match[2])) if match else None


def _facts(server: FakeCameraServer, media: dict[str, Media]) -> list[dict[str, object]]:
    pictures = {path: one.format for path, one in media.items()}
    return [
        {"path": path, "url": url, "width": shown.width, "height": shown.height, "fps": shown.frame_rate}
        for (path, url), shown in zip(server.urls.items(), pictures.values(), strict=True)
    ]


def _explanation(server: FakeCameraServer, media: dict[str, Media], user: str | None, variable: str | None) -> str:
    shown = next(iter(media.values())).format
    login = f"{user}:${{{variable}}}@" if user else ""
    sources = {path: url.replace("://", f"://{login}", 1) for path, url in server.urls.items()}
    return "\n".join(
        [
            f"serving H.264, {shown.width}x{shown.height} at {shown.frame_rate:g} frames/s, over TCP and UDP:",
            *(f"  {url}" for url in server.urls.values()),
            "to read it with vidpipe, put this into vidpipe.yaml:",
            "  cameras:",
            *(
                f"    {path.replace('/', '-')}: {{source: '{source}', model: scene}}"
                for path, source in sources.items()
            ),
            "Ctrl-C ends it; type 'help' for faults.",
        ]
    )


@contextmanager
def _stop_signals() -> Iterator[Callable[[float | None], object]]:
    """A function that waits for Ctrl-C or SIGTERM, for so many seconds at most.

    The signals stay blocked, also in the threads that start meanwhile, until somebody waits for them: one that a
    handler takes just before the main thread goes to sleep would wake nobody.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield lambda s: signal.sigwait(numbers) if s is None else signal.sigtimedwait(numbers, s)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
