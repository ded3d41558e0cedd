"""The RTSP server, seen through a client that looks at every packet."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import urlsplit

import numpy as np
import pytest
import trustme
from certificates import server_context
from numbered import RATE, SIZE, numbered, numbered_media, numbers, ticks
from rtsp_client import RtspClient

from engines.errors import SourceError
from pipeline.fakecam import Encoding, FakeCamera, FakeCameraServer
from pipeline.fakecam import connection as connection_module
from pipeline.fakecam.pictures import PictureMedia
from pipeline.rtsp.auth import Credentials, Guard, authorization, parse_challenges
from pipeline.rtsp.sdp import parse_sdp
from pipeline.rtsp.sps import parse_sps


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert [thread.name for thread in threading.enumerate() if thread not in before] == []


@pytest.mark.usefixtures("no_thread_left")
@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_every_picture_arrives_once_in_order_with_its_time(udp: bool) -> None:
    with FakeCamera(numbered_media(90), start="on_connect") as camera, RtspClient(camera.url, udp=udp) as client:
        info = client.play().headers.get("RTP-Info")
        pictures = client.pictures()
    assert numbers(pictures) == list(range(90))
    first = int(info.partition("rtptime=")[2])
    assert [(one.timestamp - first) % 2**32 for one in pictures] == [ticks(number) for number in range(90)]
    sequences = [number for one in pictures for number in one.sequences]
    start = int(info.partition("seq=")[2].partition(";")[0])
    assert sequences == [(start + number) % 65536 for number in range(len(sequences))]


def test_description_tells_what_a_decoder_needs() -> None:
    with FakeCamera(numbered_media(90), start="on_connect") as camera, RtspClient(camera.url) as client:
        response = client.ask("DESCRIBE")
    (video,) = parse_sdp(response.body.decode())
    sps, pps = video.parameter_sets()
    assert (video.kind, video.encoding, video.frame_rate) == ("video", "H264", RATE)
    assert video.parameters["packetization-mode"] == "1"
    assert video.parameters["profile-level-id"] == sps[1:4].hex().upper()
    assert (parse_sps(sps).width, parse_sps(sps).height) == SIZE
    assert pps[0] & 0x1F == 8
    assert "a=range:npt=0-1.500" in response.body.decode()


def test_sender_reports_tie_the_stream_to_the_wall_clock() -> None:
    with FakeCamera(numbered_media(5), start="on_connect") as camera, RtspClient(camera.url) as client:
        first = int(client.play().headers.get("RTP-Info").partition("rtptime=")[2])
        client.pictures()
        report, goodbye = client.control
    _, kind, words, ssrc, seconds, _, timestamp, packets, octets = struct.unpack(">BBHIIIIII", report[:28])
    assert (kind, words, timestamp) == (200, 6, first)
    assert abs(seconds - 2_208_988_800 - time.time()) < 60
    assert packets >= 1
    assert octets > 100
    assert report[29] == 202
    assert goodbye[1] == 201
    assert goodbye[-4:] == struct.pack(">I", ssrc)


def test_on_connect_each_client_begins_at_time_zero() -> None:
    with FakeCamera(numbered_media(), start="on_connect") as camera:
        with RtspClient(camera.url) as early:
            early.play()
            early.pictures(10)
            with RtspClient(camera.url) as late:
                late.play()
                assert numbers(late.pictures(5)) == [0, 1, 2, 3, 4]
                assert camera.counters.viewers == 2
        assert camera.wait_for(lambda seen: seen.viewers == 0)


def test_live_clients_share_a_clock_and_begin_with_an_idr_made_for_them() -> None:
    with FakeCamera(numbered_media(gop_s=60.0)) as camera, RtspClient(camera.url) as early:
        early.play()
        seen = early.pictures(20)
        with RtspClient(camera.url) as late:
            late.play()
            joined = late.pictures(10)
            while numbers(seen)[-1] < numbers(joined)[-1]:
                seen += early.pictures(10)
    assert [nal[0] & 0x1F for nal in joined[0].nals[:2]] == [7, 8]
    assert joined[0].idr
    early_numbers, late_numbers = numbers(seen), numbers(joined)
    assert early_numbers == list(range(early_numbers[0], early_numbers[0] + len(seen)))
    assert late_numbers == list(range(late_numbers[0], late_numbers[0] + 10))
    assert late_numbers[0] > early_numbers[19]
    assert set(late_numbers) <= set(early_numbers)
    # one IDR picture is made for one who joins, no more
    assert sum(one.idr for one in seen) == 2


def test_live_clock_runs_while_nobody_watches_and_while_the_server_is_down() -> None:
    camera = FakeCamera(numbered_media())
    first: list[int] = []
    for _ in range(2):
        with camera, RtspClient(camera.url) as client:
            client.play()
            first += numbers(client.pictures(6))
    assert first[6] > first[5] + 1
    assert first[6:] == list(range(first[6], first[6] + 6))


def test_paused_camera_keeps_the_connection_and_loses_the_pictures_of_that_time() -> None:
    with FakeCamera(numbered_media(gop_s=60.0), start="on_connect") as camera, RtspClient(camera.url) as client:
        client.play()
        before = client.pictures(10)
        camera.pause("camera0")
        assert client.ask("GET_PARAMETER").status == 200
        time.sleep(0.2)  # the pause itself
        camera.resume()
        shown = before + client.pictures(30)
    seen = numbers(shown)
    jump = next(at for at in range(1, len(seen)) if seen[at] != seen[at - 1] + 1)
    assert seen[jump] >= seen[jump - 1] + 6
    assert shown[jump].idr
    assert seen[jump:] == list(range(seen[jump], seen[jump] + len(seen) - jump))
    elapsed = (shown[jump].timestamp - shown[0].timestamp) % 2**32
    assert elapsed == ticks(seen[jump])


def test_client_can_pause_and_play_on() -> None:
    with FakeCamera(numbered_media(gop_s=60.0)) as camera, RtspClient(camera.url) as client:
        client.play()
        client.pictures(5)
        assert client.ask("PAUSE").status == 200
        assert client.ask("PLAY").status == 200
        assert client.pictures(80)[-1].nals


def test_disconnected_client_may_come_back() -> None:
    with FakeCameraServer({"a": numbered_media(), "b": numbered_media()}) as server:
        with RtspClient(server.urls["a"]) as one, RtspClient(server.urls["b"]) as other:
            one.play(), other.play()
            server.disconnect_all("a")
            assert one.at_end()
            assert len(other.pictures(5)) == 5
            with RtspClient(server.urls["a"]) as again:
                again.play()
                assert again.pictures(2)[0].idr
            server.disconnect_all()
            assert other.at_end()
        assert server.counters.connections == 3


@pytest.mark.usefixtures("no_thread_left")
def test_stopped_camera_refuses_and_comes_back_on_the_same_port() -> None:
    camera = FakeCamera(numbered_media())
    camera.start()
    camera.start()  # a second start changes nothing
    port = camera.port
    with RtspClient(camera.url) as client:
        client.play()
        client.pictures(2)
        camera.stop()
        assert client.at_end()
    with pytest.raises(ConnectionRefusedError):
        RtspClient(camera.url)
    camera.pause()  # steering a stopped camera is no fault
    camera.start()
    assert camera.port == port
    with RtspClient(camera.url) as client:
        client.play()
        client.pictures(2)
    camera.stop()
    camera.stop()


def test_taken_port_is_named() -> None:
    with FakeCamera(numbered_media()) as camera, pytest.raises(SourceError, match=r"already in use; choose another"):
        FakeCamera(numbered_media(), port=camera.port).start()


def test_client_that_takes_nothing_holds_nobody_up() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (4, 360, 640, 3), np.uint8)
    media = PictureMedia(lambda: lambda number: noise[number % 4], Encoding(640, 360, 30.0, quality=8))
    with FakeCamera(media) as camera:
        with RtspClient(camera.url, receive_buffer=4096) as stuck, RtspClient(camera.url) as healthy:
            stuck.play(), healthy.play()
            times = [one.timestamp for one in healthy.pictures(100)]
        assert {(b - a) % 2**32 for a, b in pairwise(times)} == {3000}


@pytest.mark.usefixtures("no_thread_left")
def test_stop_lets_go_of_clients_in_any_state() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for tls in (None, context):
        camera = FakeCamera(numbered_media(), tls=tls)
        camera.start()
        socks = [socket.create_connection(("127.0.0.1", camera.port), 10) for _ in range(3)]
        socks[1].sendall(b"OPTIONS")  # half a request, or half a TLS greeting
        camera.stop()
        for sock in socks:
            with sock, contextlib.suppress(ConnectionResetError):
                assert sock.recv(100) == b""


def test_a_client_that_has_shaken_hands_as_the_server_stops_is_let_go(monkeypatch) -> None:
    """The task is cancelled between the handshake's end and its next step: nobody else knows of the connection."""
    connect = asyncio.BaseEventLoop.connect_accepted_socket

    async def cancelled(loop, *args, **settings):
        await connect(loop, *args, **settings)
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio.BaseEventLoop, "connect_accepted_socket", cancelled)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with (
        FakeCamera(numbered_media(), tls=server_context(trustme.CA())) as camera,
        socket.create_connection(("127.0.0.1", camera.port), 10) as plain,
        trusting.wrap_socket(plain) as client,
        contextlib.suppress(OSError),
    ):
        assert client.recv(1) == b""
    gc.collect()  # a transport that is left open says so here


@pytest.mark.parametrize(
    ("request_lines", "status"),
    [
        ("DESCRIBE rtsp://h/other RTSP/1.0", 404),
        ("SETUP rtsp://h/other/track1 RTSP/1.0", 404),
        ("SETUP rtsp://h/camera0/track1 RTSP/1.0\r\nTransport: RTP/AVP;multicast", 461),
        ("SETUP rtsp://h/camera0/track1 RTSP/1.0", 461),
        ("PLAY rtsp://h/camera0 RTSP/1.0", 455),
        ("PLAY rtsp://h/camera0 RTSP/1.0\r\nSession: nonsense", 454),
        ("ANNOUNCE rtsp://h/camera0 RTSP/1.0", 501),
        ("DESCRIBE rtsp://h/camera0 RTSP/2.0", 505),
        ("GET /camera0 HTTP/1.1", 505),
        ("no request at all", 400),
        ("OPTIONS * RTSP/1.0", 200),
        ("GET_PARAMETER rtsp://h/camera0 RTSP/1.0", 200),
    ],
)
def test_answers(request_lines: str, status: int) -> None:
    with FakeCamera(numbered_media()) as camera, RtspClient(camera.url) as client:
        client.socket.sendall(f"{request_lines}\r\nCSeq: 7\r\n\r\n".encode())
        answer = client.socket.recv(4096).decode()
    assert answer.startswith(f"RTSP/1.0 {status} ")


def test_flood_of_header_bytes_ends_the_connection() -> None:
    with FakeCamera(numbered_media()) as camera, RtspClient(camera.url) as client:
        client.socket.sendall(b"OPTIONS * RTSP/1.0\r\n" + b"x" * 20000)
        assert client.socket.recv(4096).startswith(b"RTSP/1.0 400")
        assert client.at_end()


def test_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "SESSION_TIMEOUT_S", 0.1)
    with FakeCamera(numbered_media()) as camera, RtspClient(camera.url) as client:
        assert client.at_end()


def test_udp_session_lives_on_the_reports_of_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "SESSION_TIMEOUT_S", 1.0)
    with FakeCamera(numbered_media()) as camera, RtspClient(camera.url, udp=True) as client:
        client.play()
        for _ in range(10):
            client.pictures(10)
            client.keep_alive()
        assert client.ask("GET_PARAMETER").status == 200  # longer than the limit later
        assert client.at_end()  # and now it falls silent
        assert camera.wait_for(lambda seen: seen.viewers == 0)


@pytest.mark.parametrize("guard", [("basic", "MD5"), ("digest", "MD5"), ("digest", "SHA-256")], ids="-".join)
def test_credentials_are_asked_for(guard: tuple[str, str]) -> None:
    credentials = Credentials("admin", "p:w d€")
    with FakeCamera(numbered_media(), guard=Guard(credentials, *guard)) as camera, RtspClient(camera.url) as client:
        assert client.ask("OPTIONS").status == 200
        (challenge,) = parse_challenges(client.ask("DESCRIBE").headers.all("WWW-Authenticate"))
        assert (challenge.scheme, challenge.algorithm) == guard if guard[0] == "digest" else challenge.scheme == "basic"

        def ask(who: Credentials, method: str = "DESCRIBE", uri: str = "") -> int:
            proof = authorization(challenge, who, method, uri or camera.url)
            return client.ask("DESCRIBE", "", ("Authorization", proof)).status

        assert ask(credentials) == 200
        assert ask(credentials, uri=urlsplit(camera.url).path) == 200
        assert ask(Credentials("admin", "wrong")) == 401
        assert ask(Credentials("root", "p:w d€")) == 401
        if guard[0] == "digest":
            assert ask(credentials, method="SETUP") == 401
            assert ask(credentials, uri=camera.url + "x") == 401
        assert client.ask("SETUP", camera.url + "/track1", ("Transport", "RTP/AVP/TCP")).status == 401
        assert camera.counters.refused >= 4
        assert 2 <= camera.counters.wrong_credentials < camera.counters.refused
        assert camera.counters.plays == 0


def test_media_that_fails_ends_the_stream() -> None:
    def broken(number: int) -> np.ndarray:
        if number == 10:
            raise SourceError("the scene is broken")
        return numbered(number)

    media = PictureMedia(lambda: broken, Encoding(*SIZE, RATE))
    with FakeCamera(media, start="on_connect") as camera, RtspClient(camera.url) as client:
        client.play()
        assert numbers(client.pictures()) == list(range(10))


def test_ipv6_address() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with FakeCamera(numbered_media(), host="::1") as camera:
        assert camera.url.startswith("rtsp://[::1]:")
        with socket.create_connection(("::1", camera.port), 10) as sock:
            sock.sendall(f"DESCRIBE {camera.url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
            assert b"IN IP6 ::1" in sock.recv(65536)
