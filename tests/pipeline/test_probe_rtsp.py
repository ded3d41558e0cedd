"""The RTSP probe tells apart what OpenCV calls False, within its time, and never shows a password."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_server import Script, ScriptedServer, answers, drips, hangs_up, says, silent

from engines.errors import AuthenticationError, ProtocolError, SourceError, UnsupportedSourceError
from pipeline.capture import wire
from pipeline.capture.probe import Finding, Trust, probe
from pipeline.fakecam import Encoding, FakeCamera
from pipeline.fakecam.pictures import PictureMedia
from pipeline.rtsp.auth import Credentials, Guard

PASSWORD = "Kanari:enVogel"
LOGIN = "admin:Kanari%3AenVogel@"
OK = b"RTSP/1.0 200 OK\r\nCSeq: %CSEQ%\r\n\r\n"


@pytest.fixture(scope="module")
def media() -> PictureMedia:
    grey = np.full((120, 160, 3), 90, np.uint8)
    return PictureMedia(lambda: lambda _: grey, Encoding(160, 120, 10.0))


def described(sdp: bytes) -> Script:
    head = b"RTSP/1.0 200 OK\r\nCSeq: %CSEQ%\r\nContent-Type: application/sdp\r\nContent-Length: "
    return answers(OK, head + str(len(sdp)).encode() + b"\r\n\r\n" + sdp)


def status(line: str, *headers: str) -> Script:
    reply = "\r\n".join([f"RTSP/1.0 {line}", "CSeq: %CSEQ%", *headers, "", ""]).encode()
    return answers(OK, reply, reply, reply)


@pytest.mark.parametrize("guard", [None, ("basic", "MD5"), ("digest", "MD5"), ("digest", "SHA-256")])
def test_camera_is_found(media: PictureMedia, guard: tuple[str, str] | None) -> None:
    asked = Guard(Credentials("admin", PASSWORD), *guard) if guard else None
    with FakeCamera(media, guard=asked) as camera:
        url = camera.url.replace("://", f"://{LOGIN}") if guard else camera.url
        found = probe(url)
    detail = f"127.0.0.1:{camera.port} offers h264, 160x120"
    assert found == Finding("rtsp", detail, "h264", 160, 120, 10.0)


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_wrong_or_missing_password_is_an_error_of_its_own(media: PictureMedia, scheme: str) -> None:
    with FakeCamera(media, guard=Guard(Credentials("admin", "other"), scheme)) as camera:
        with pytest.raises(AuthenticationError, match="refuses the user name or password") as caught:
            probe(camera.url.replace("://", f"://{LOGIN}"))
        assert "Kanari" not in str(caught.value)
        assert camera.counters.refused == 2  # once without, once with the password: no guessing on
        with pytest.raises(AuthenticationError, match="the source names none"):
            probe(camera.url)


def test_wrong_path_is_named(media: PictureMedia) -> None:
    with FakeCamera(media) as camera, pytest.raises(SourceError, match="has no stream at /other"):
        probe(camera.url.replace("camera0", "other?password=Kanari"))


def test_camera_that_is_down_refuses(media: PictureMedia) -> None:
    camera = FakeCamera(media)
    with camera:
        pass
    with pytest.raises(SourceError, match=f"127.0.0.1:{camera.port} refuses the connection"):
        probe(camera.url)


def test_stale_nonce_is_asked_for_again(media: PictureMedia) -> None:
    challenge = 'WWW-Authenticate: Digest realm="r", nonce="{}"{}'
    sdp = b"m=video 0 RTP/AVP 26\r\n"
    found = b"RTSP/1.0 200 OK\r\nCSeq: %%CSEQ%%\r\nContent-Length: %d\r\n\r\n%s" % (len(sdp), sdp)
    refusals = [
        "\r\n".join(["RTSP/1.0 401 No", challenge.format(nonce, extra), "", ""]).encode()
        for nonce, extra in [("1", ""), ("2", ", stale=true")]
    ]
    with ScriptedServer(answers(OK, *refusals, found)) as server:
        assert probe(f"rtsp://{LOGIN}127.0.0.1:{server.port}/").codec == "mjpeg"


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (status("403 Forbidden"), AuthenticationError, "forbids"),
        (status("401 Unauthorized", "WWW-Authenticate: Negotiate"), AuthenticationError, "other than Basic and Digest"),
        (
            status("302 Moved", "Location: rtsp://u:Kanari@else/1"),
            SourceError,
            r"sends clients on to rtsp://\*\*\*@else/1",
        ),
        (status("500 Internal"), SourceError, "answers DESCRIBE with 500 Internal"),
        (described(b"v=0\r\nm=audio 0 RTP/AVP 0\r\n"), UnsupportedSourceError, "no video at /x, only audio"),
        (described(b"v=0\r\n"), UnsupportedSourceError, "only nothing"),
        (described(b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 AV1/90000\r\n"), UnsupportedSourceError, "in the format AV1"),
        (described(b"m=video 0 RTP/AVP 96\r\n"), UnsupportedSourceError, "without a name"),
        (answers(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ProtocolError, r"no RTSP server: it answers in HTTP/1\.1"),
        (says(b"SSH-2.0-OpenSSH_9.6\r\n"), ProtocolError, "no RTSP server"),
        (answers(b"\x00\xff" * 9000), ProtocolError, "no RTSP server"),
        (answers(OK, b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n"), ProtocolError, "announces 99999999"),
        (hangs_up, SourceError, "has (closed|broken off) the connection"),
    ],
)
def test_faults_are_told_apart(script: Script, error: type[SourceError], words: str) -> None:
    with ScriptedServer(script) as server, pytest.raises(error, match=words) as caught:
        probe(f"rtsp://{LOGIN}127.0.0.1:{server.port}/x")
    assert "Kanari" not in str(caught.value)
    assert str(caught.value).startswith(f"127.0.0.1:{server.port} ")


ENDLESS = b"RTSP/1.0 200 OK\r\nX: " + b"y" * 50 + b"\r\n"
MEDIA = b"$\x00\x00\x04abcd"


@pytest.mark.parametrize(
    "script", [silent, drips(ENDLESS), drips(MEDIA), answers(OK)], ids=["silent", "drip", "rtp", "half"]
)
def test_time_is_bounded_whatever_the_server_does(script: Script) -> None:
    with ScriptedServer(script) as server:
        began = time.monotonic()
        with pytest.raises(SourceError, match=r"no full answer within 0\.3 s"):
            probe(f"rtsp://127.0.0.1:{server.port}/x", timeout_s=0.3)
        assert time.monotonic() - began < 5  # a hang would last the server's ten seconds


def test_endless_media_is_not_read_for_ever() -> None:
    flood = MEDIA[:1] + b"\x00\xff\xff" + b"z" * 65535
    with ScriptedServer(says(flood * 20)) as server, pytest.raises(SourceError, match="more than 262144 bytes"):
        probe(f"rtsp://127.0.0.1:{server.port}/x")


def test_unknown_name_and_slow_name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(wire.socket, "getaddrinfo", fail)
    with pytest.raises(SourceError, match=r"the name cam\.invalid is not known") as caught:
        probe(f"rtsp://{LOGIN}cam.invalid/x")
    assert "Kanari" not in str(caught.value)
    release = threading.Event()
    monkeypatch.setattr(wire.socket, "getaddrinfo", lambda *_, **__: release.wait(10) and [])
    with pytest.raises(SourceError, match=r"the name cam\.invalid has not been resolved within 0\.1 s"):
        probe("rtsp://cam.invalid/x", timeout_s=0.1)
    release.set()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rtsp://", "name a host"),
        ("rtsp:///path", "name a host"),
        (f"rtsp://{LOGIN}host:99999/x", "host or port cannot be read"),
        (f"rtsp://{LOGIN}host:abc/x", "host or port cannot be read"),
        ("rtsp://u:12/Kanari@host/x", "percent-encode"),
        ("rtsp://u:12#Kanari@host/x", "percent-encode"),
        (f"rtsp://{LOGIN}host/a b", "space or control character"),
        (f"rtmp://{LOGIN}host/x", "no kind of source"),
        (f"concat:rtsp://{LOGIN}a|b", "no kind of source"),
    ],
)
def test_urls_that_cannot_be_used(url: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        probe(url)
    assert "Kanari" not in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *files, "-days", "2"], check=True, capture_output=True)
    return cert, key


def test_certificate_must_be_trusted(media: PictureMedia, certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with FakeCamera(media, tls=context) as camera:
        assert camera.url.startswith("rtsps://")
        assert probe(camera.url, trust=Trust(ca_file=str(certificate[0]))).codec == "h264"
        with pytest.raises(SourceError, match=r"TLS certificate of 127\.0\.0\.1:\d+ is not trusted: self.signed"):
            probe(camera.url)
        with pytest.raises(SourceError, match="cannot be used"):
            probe(camera.url, trust=Trust(ca_file="nowhere.pem"))


def test_server_that_speaks_tls_alone_is_told(media: PictureMedia, certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    words = r"127\.0\.0\.1:\d+ speaks TLS: write rtsps:// in source"
    with FakeCamera(media, tls=context) as camera, pytest.raises(SourceError, match=words):
        probe(camera.url.replace("rtsps:", "rtsp:"))


def test_server_without_tls_is_told(media: PictureMedia) -> None:
    with FakeCamera(media) as camera, pytest.raises(SourceError, match="does not speak TLS"):
        probe(camera.url.replace("rtsp:", "rtsps:"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3), st.booleans())
def test_any_answer_ends_in_a_finding_or_an_error(replies: list[bytes], begins_well: bool) -> None:
    script = answers(*([OK] if begins_well else []), *[reply or b"\r\n" for reply in replies])
    with ScriptedServer(script) as server:
        try:
            assert isinstance(probe(f"rtsp://127.0.0.1:{server.port}/x", timeout_s=0.05), Finding)
        except SourceError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
