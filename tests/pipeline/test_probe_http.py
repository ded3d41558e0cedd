"""The HTTP probe: is it video, a page, or nothing."""

from __future__ import annotations

import base64

import pytest
from scripted_server import Script, ScriptedServer, answers, drips, hangs_up, says, silent

from engines.errors import AuthenticationError, ProtocolError, SourceError, UnsupportedSourceError
from pipeline.capture.probe import probe


def reply(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {line}", *headers, "", ""]).encode()


def sends(kind: str) -> Script:
    return answers(reply("200 OK", f"Content-Type: {kind}") + b"the body" * 100)


@pytest.mark.parametrize(
    ("kind", "codec", "words"),
    [
        ("multipart/x-mixed-replace;boundary=x", "mjpeg", "sends MJPEG"),
        ("video/mp4", None, "sends video/mp4"),
        ("application/octet-stream", None, "type it does not tell"),
    ],
)
def test_streams_are_found(kind: str, codec: str | None, words: str) -> None:
    with ScriptedServer(sends(kind)) as server:
        found = probe(f"http://127.0.0.1:{server.port}/v")
    assert (found.kind, found.codec) == ("http", codec)
    assert words in found.detail


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (sends("text/html; charset=utf-8"), UnsupportedSourceError, r"sends a page at /v\?pwd=\*\*\*, no video"),
        (sends("Application/vnd.apple.mpegURL"), UnsupportedSourceError, "HLS playlist"),
        (sends("image/jpeg"), UnsupportedSourceError, "a still picture"),
        (sends("audio/aac"), UnsupportedSourceError, "sends audio/aac"),
        (answers(reply("404 Not Found")), SourceError, r"has nothing at /v\?pwd=\*\*\*:"),
        (answers(reply("403 Forbidden")), AuthenticationError, "forbids"),
        (answers(reply("503 Busy")), SourceError, "answers with 503 Busy"),
        (answers(b"RTSP/1.0 400 Bad Request\r\n\r\n"), ProtocolError, "no HTTP server"),
        (answers(b"HTTP/1.1 abc\r\n\r\n"), ProtocolError, "no HTTP server"),
        (says(b"220 mail.example ESMTP\r\n"), ProtocolError, "no HTTP server"),
        (says(b"HTTP/1.1 200 OK\r\n" + b"x" * 99999), ProtocolError, "no HTTP server"),
        (answers(reply("302 Found", "Location: rtsp://127.0.0.1/x")), SourceError, "on to a rtsp:// address"),
        (answers(reply("302 Found", "Location: gopher://u:Kanari@h")), SourceError, "should begin with one of"),
        (answers(*[reply("302 Found", "Location: /v")] * 9), SourceError, "more than 3 redirects"),
        (hangs_up, SourceError, "has (closed|broken off) the connection"),
    ],
)
def test_faults_are_told_apart(script: Script, error: type[SourceError], words: str) -> None:
    with ScriptedServer(script) as server, pytest.raises(error, match=words) as caught:
        probe(f"http://u:Kanari@127.0.0.1:{server.port}/v?pwd=Kanari")
    assert "Kanari" not in str(caught.value)


@pytest.mark.parametrize("script", [silent, drips(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 999)])
def test_time_is_bounded(script: Script) -> None:
    with ScriptedServer(script) as server, pytest.raises(SourceError, match=r"no full answer within 0\.2 s"):
        probe(f"http://127.0.0.1:{server.port}/", timeout_s=0.2)


@pytest.mark.parametrize("challenge", ['Basic realm="cam"', 'Digest realm="cam", nonce="abc", qop="auth"'])
def test_password_is_proved_and_a_wrong_one_told(challenge: str) -> None:
    seen: list[bytes] = []

    def script(connection, ended) -> None:
        request = connection.recv(65536)
        seen.append(request)
        right = b'username="u"' in request or base64.b64encode(b"u:Kanari") in request
        answer = (
            reply("200 OK", "Content-Type: video/mp4") if right else reply("401 No", f"WWW-Authenticate: {challenge}")
        )
        connection.sendall(answer)

    with ScriptedServer(script) as server:
        assert probe(f"http://u:Kanari@127.0.0.1:{server.port}/v").kind == "http"
        assert b"Authorization" not in seen[0]
        with pytest.raises(AuthenticationError, match="refuses"):
            probe(f"http://v:wrong@127.0.0.1:{server.port}/v")
        with pytest.raises(AuthenticationError, match="names none"):
            probe(f"http://127.0.0.1:{server.port}/v")


def test_credentials_do_not_follow_a_redirect_to_another_server() -> None:
    seen: list[bytes] = []

    def elsewhere(connection, ended) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(reply("401 No", 'WWW-Authenticate: Basic realm="phish"'))

    with ScriptedServer(elsewhere) as thief:
        moved = answers(reply("302 Found", f"Location: http://127.0.0.1:{thief.port}/v"))
        with ScriptedServer(moved) as server, pytest.raises(AuthenticationError):
            probe(f"http://u:Kanari@127.0.0.1:{server.port}/v")
    assert len(seen) == 1
    assert b"Authorization" not in seen[0]
