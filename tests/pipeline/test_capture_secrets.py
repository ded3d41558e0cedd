"""A password in a camera's address shows in no error, traceback or output of either back end, whatever goes wrong."""

from __future__ import annotations

import os
import traceback

import numpy as np
import pytest
from processes import free_port
from scripted_server import ScriptedServer, answers, hangs_up, says, silent

from engines.errors import SourceError
from pipeline.capture.decoder_log import DecoderLog
from pipeline.capture.frames import open_source
from pipeline.capture.protocol import Order
from pipeline.fakecam import Encoding, FakeCamera
from pipeline.fakecam.pictures import PictureMedia

PASSWORD = "Kanari%2Fenvogel"
OK = b"RTSP/1.0 200 OK\r\nCSeq: %CSEQ%\r\n\r\n"
FAULTS = {
    "refused": None,
    "silent": silent,
    "hung up": hangs_up,
    "mail server": says(b"220 mail.example ESMTP\r\n"),
    "401": answers(*[b'RTSP/1.0 401 No\r\nCSeq: %CSEQ%\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'] * 9),
    "404": answers(OK, *[b"RTSP/1.0 404 Not Found\r\nCSeq: %CSEQ%\r\n\r\n"] * 9),
    "redirect": answers(OK, b"RTSP/1.0 302 Moved\r\nCSeq: %CSEQ%\r\nLocation: gopher://127.0.0.1/x\r\n\r\n"),
    "sound only": answers(
        OK, b"RTSP/1.0 200 OK\r\nCSeq: %CSEQ%\r\nContent-Type: application/sdp\r\nContent-Length: 21\r\n\r\n"
        b"m=audio 0 RTP/AVP 0\r\n"
    ),
    "web page": answers(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello"),
}  # fmt: skip


def order(address: str, capture: str, log_fd: int) -> Order:
    sizes = {"slots": 2, "height": 2, "width": 2, "rate_hz": 1.0, "open_timeout_ms": 300, "read_timeout_ms": 300}
    kind = "http" if address.startswith("http") else "rtsp"
    return Order(kind, address, ring_fd=-1, log_fd=log_fd, rope_fd=-1, capture=capture, **sizes)


def failure(url: str, capture: str) -> str:
    """All that a person could see of a source that does not open."""
    log_in, log_out = os.pipe()
    try:
        with pytest.raises(SourceError) as caught:
            open_source(order(url, capture, log_in))
    finally:
        os.close(log_in)
        os.close(log_out)
    return "".join(traceback.format_exception(caught.value)) + repr(caught.value)


@pytest.mark.parametrize("capture", ["opencv", "pyav"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "scheme", ["rtsp", *(pytest.param(each, marks=pytest.mark.slow) for each in ("rtsps", "http"))]
)
def test_what_goes_wrong_at_the_opening_shows_no_password(capfd, capture, fault, scheme):
    script = FAULTS[fault]
    if script is None:
        seen = failure(f"{scheme}://cam:{PASSWORD}@127.0.0.1:{free_port()}/a?pwd={PASSWORD}", capture)
    else:
        with ScriptedServer(script) as server:
            seen = failure(f"{scheme}://cam:{PASSWORD}@127.0.0.1:{server.port}/a?pwd={PASSWORD}", capture)
    assert "Kanari" not in seen
    assert "Kanari" not in "".join(capfd.readouterr())


def test_an_order_shows_no_address():
    assert "Kanari" not in repr(order(f"rtsp://cam:{PASSWORD}@h/", "opencv", 0))


def test_what_goes_wrong_later_shows_no_password():
    grey = np.full((120, 160, 3), 90, np.uint8)
    with FakeCamera(PictureMedia(lambda: lambda _: grey, Encoding(160, 120, 60.0))) as camera:
        source = open_source(order(camera.url.replace("://", f"://cam:{PASSWORD}@"), "pyav", -1))
        assert source.grab()
        camera.pause()
        with pytest.raises(SourceError, match=r"no frame for 0\.3 s") as caught:
            all(iter(source.grab, False))
        source.release()
    assert "Kanari" not in "".join(traceback.format_exception(caught.value))


def test_the_decoder_s_log_keeps_no_text():
    log_in, log_out = os.pipe()
    try:
        log = DecoderLog(log_in)
        os.write(log_out, f"[OPENCV:FFMPEG:16] rtsp://cam:{PASSWORD}@h failed: 401\n".encode())
        assert "Kanari" not in repr(log.read())
    finally:
        os.close(log_in)
        os.close(log_out)
