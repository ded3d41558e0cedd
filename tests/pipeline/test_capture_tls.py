"""RTSP over TLS: whom a capture process trusts, with both back ends, and what it says otherwise."""

from __future__ import annotations

import gc
import os
import select
import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest
import trustme
from capturing import plan, read
from certificates import server_context, write_authority

from engines.errors import SourceError
from pipeline.capture import frames, tls
from pipeline.capture.fleet import Fleet
from pipeline.capture.limits import ffmpeg_options
from pipeline.capture.probe import Trust, probe
from pipeline.capture.protocol import Order
from pipeline.capture.supervisor import CameraState
from pipeline.fakecam import Encoding, FakeCamera
from pipeline.fakecam.pictures import PictureMedia
from pipeline.rtsp.url import parse_url

OURS, OTHERS = trustme.CA(), trustme.CA()
BOTH = pytest.mark.parametrize("capture", ["opencv", pytest.param("pyav", marks=pytest.mark.slow)])
WRONG = {
    "another authority": (server_context(OTHERS), r"is not trusted: .*certificate.*name its own in tls\.ca_file"),
    "expired": (server_context(OURS, expired=True), "is not trusted: certificate has expired: renew it at the camera"),
    "another host": (server_context(OURS, "camera.example"), "is not trusted: .*mismatch.*: name the camera in source"),
    "no TLS": (None, "does not speak TLS as rtsps:// asks"),
}


@pytest.fixture(scope="module")
def media() -> PictureMedia:
    grey = np.full((120, 160, 3), 90, np.uint8)
    return PictureMedia(lambda: lambda _: grey, Encoding(160, 120, 30.0))


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_authority(OURS, tmp_path_factory.mktemp("tls") / "ours.pem")


@pytest.fixture(params=WRONG)
def wrong(media: PictureMedia, request: pytest.FixtureRequest) -> Iterator[tuple[FakeCamera, str]]:
    """A camera that is not to be trusted, and what is to be said of it."""
    context, words = WRONG[request.param]
    with FakeCamera(media, tls=context) as camera:
        yield camera, words


def secure(camera: FakeCamera) -> str:
    return camera.url.replace("rtsp:", "rtsps:")


def order(url: str, kind: str = "rtsp", log_fd: int = -1, **settings) -> Order:
    sizes = {"slots": 2, "height": 2, "width": 2, "rate_hz": 1.0, "open_timeout_ms": 3000, "read_timeout_ms": 1000}
    return Order(kind, url, ring_fd=-1, log_fd=log_fd, rope_fd=-1, **sizes, **settings)


@BOTH
def test_pictures_come_from_a_camera_whose_authority_is_trusted(media, ca_file, capture):
    with (
        FakeCamera(media, tls=server_context(OURS)) as camera,
        Fleet([plan("a", camera.url, capture=capture, ca_file=ca_file)]) as fleet,
    ):
        read(fleet, lambda logs: len(logs["a"].numbers) > 5)
        assert fleet.cameras["a"].state is CameraState.RUNNING


def test_the_probe_says_what_is_wrong(wrong, ca_file):
    camera, words = wrong
    with pytest.raises(SourceError, match=words):
        probe(secure(camera), trust=Trust(ca_file=ca_file))


@pytest.mark.parametrize("capture", ["opencv", "pyav"])
def test_a_capture_process_opens_none_of_those(wrong, ca_file, capture):
    camera, words = wrong
    with pytest.raises(SourceError, match=words):
        frames.open_source(order(secure(camera), capture=capture, ca_file=ca_file))
    assert camera.counters.plays == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["another authority", "expired", "another host"])
@pytest.mark.parametrize("capture", ["opencv", "pyav"])
def test_who_asks_for_no_check_gets_none(media, capture, kind):
    with (
        FakeCamera(media, tls=WRONG[kind][0]) as camera,
        Fleet([plan("a", camera.url, capture=capture, tls_verify=False)]) as fleet,
    ):
        read(fleet, lambda logs: len(logs["a"].numbers) > 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("capture", "kind", "opens"),
    [
        ("opencv", "another authority", False),
        ("opencv", "expired", False),
        ("opencv", "another host", True),
        ("pyav", "another authority", False),
        ("pyav", "expired", False),
        ("pyav", "another host", False),
    ],
)
def test_what_ffmpeg_itself_would_let_pass(media, ca_file, monkeypatch, capture, kind, opens):
    """The documentation says so: where OpenCV's FFmpeg learns to look at names, it is out of date."""
    monkeypatch.setattr("pipeline.capture.handshake.check_certificate", lambda _: None)
    log, end = os.pipe()
    with FakeCamera(media, tls=WRONG[kind][0]) as camera, os.fdopen(log), os.fdopen(end, "w"):
        asked = order(camera.url, capture=capture, ca_file=ca_file, log_fd=log)
        if opens:
            frames.open_source(asked).release()
        else:
            with pytest.raises(SourceError):
                frames.open_source(asked)


def test_a_camera_that_is_told_to_fail_says_why_in_its_state(media):
    with FakeCamera(media, tls=server_context(OURS)) as camera, Fleet([plan("a", camera.url)]) as fleet:
        read(fleet, lambda _: fleet.cameras["a"].state is CameraState.BACKOFF)
        assert "among the system's authorities has signed it" in fleet.cameras["a"].detail


def test_a_connection_that_is_reset_before_the_handshake_is_closed():
    """`wrap_socket` of CPython 3.11 leaves the descriptor open."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), 10)
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        assert select.select([client], [], [], 10.0)[0], "the reset has come"
        with pytest.raises(SourceError, match="does not speak TLS"):
            tls.secure(client, parse_url(f"rtsps://127.0.0.1:{server.getsockname()[1]}/x"), Trust(verify=False))
    assert client.fileno() == -1
    gc.collect()  # a socket that is left open says so here


def test_without_a_file_the_system_s_authorities_count(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setattr(tls, "_BUNDLES", (str(tmp_path / "none.pem"), __file__))
    assert ffmpeg_options(order("rtsps://a/b"))["ca_file"] == __file__
    monkeypatch.setattr(tls, "_BUNDLES", ())
    with pytest.raises(SourceError, match="no list of trusted authorities"):
        ffmpeg_options(order("rtsps://a/b"))


@pytest.mark.parametrize("address", ["rtsps://a/b", "RTSPS://a/b", "https://a/b"])
def test_ffmpeg_is_told_to_verify_unless_somebody_says_no(address):
    kind = "http" if "http" in address else "rtsp"
    asked = ffmpeg_options(order(address, kind, ca_file="/x.pem"))
    assert (asked["tls_verify"], asked["ca_file"]) == ("1", "/x.pem")
    assert ffmpeg_options(order(address, kind, tls_verify=False))["tls_verify"] == "0"
