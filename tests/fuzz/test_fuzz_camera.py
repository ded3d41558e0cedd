"""Whatever a camera answers, its parsers and probes give a finding or a SourceError, in bounded time."""

import contextlib
import time

import numpy as np
from hostile import CASES, attack, bytes_like
from hypothesis import strategies as st
from memories import new_memory

from engines.errors import ProtocolError, SourceError
from pipeline.capture import probe_http as http
from pipeline.capture import probe_rtsp as rtsp
from pipeline.capture.ring import FrameFlag, FrameHeader
from pipeline.capture.wire import Deadline
from pipeline.config.source import parse_source
from pipeline.redaction import redact
from pipeline.rtsp import h264
from pipeline.rtsp.auth import Credentials, Guard, authorization, parse_challenges, strongest
from pipeline.rtsp.message import Interleaved, MessageParser, Response, format_response, parse_head
from pipeline.rtsp.rtp import Packetizer, defragment, parse_rtp
from pipeline.rtsp.sdp import format_sdp, parse_sdp
from pipeline.rtsp.sps import parse_sps
from pipeline.rtsp.url import parse_url
from pipeline.stream.messages import decode, encode

SPS = bytes.fromhex("6764001facd9405005bb011000000300100000030320f162d96000")
SMALL_SPS = bytes.fromhex("6742c01ed9005005bb0110000003001000000303c0f162e480")
SDP = format_sdp(
    host="127.0.0.1", title="camera", sps=SPS, pps=b"\x68\xce\x3c\x80", frame_rate=25, ends_s=None
).encode()
CHALLENGE = 'Digest realm="camera", nonce="abc", qop="auth,auth-int", algorithm=SHA-256-sess, opaque="x"'
HEAD = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(SDP)
ANSWERS = [
    b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE\r\n\r\n" + HEAD + SDP,
    b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: " + CHALLENGE.encode() + b"\r\n\r\n",
    b"$\x00\x00\x04abcd" + HEAD + SDP,
    b"RTSP/1.0 301 Moved\r\nLocation: rtsp://u:p@other/x\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://u:p@[::1]:80/y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n",
]
PIECES = [
    b"\r\n",
    b"\r\n\r\n",
    b"Content-Length: 99999999999\r\n",
    b"Content-Length: -1\r\n",
    b"Location: http://[\r\n",
    b"Location: //\r\n",
    b"http://[::1",
    b"WWW-Authenticate: Digest \r\n",
    b'WWW-Authenticate: Basic realm="\\',
    b'algorithm="SHA-512-256"',
    b"$\xff\xff\xff",
    b"m=video x RTP/AVP 9999999999999\r\n",
    b"a=rtpmap:96 H264/x\r\n",
    b"a=framerate:nan\r\n",
    b"a=framerate:1e999\r\n",
    b"sprop-parameter-sets=AAAA,====",
    b"\x00",
    b"\xff\xfe",
    "\ud7ff\u2028".encode(),
]


@CASES
def test_the_message_parser(cases):
    """In one piece or in many, the same messages come out."""

    def target(case):
        data, size = case
        whole, pieces = MessageParser(), MessageParser()
        found, again = [], []
        with contextlib.suppress(ProtocolError):
            found.extend(whole.feed(data))
        with contextlib.suppress(ProtocolError):
            for at in range(0, len(data), size):
                again.extend(pieces.feed(data[at : at + size]))
        assert again == found
        for message in found:
            if isinstance(message, Response):
                assert parse_head(format_response(message).partition(b"\r\n\r\n")[0])
            assert not isinstance(message, Interleaved) or len(message.data) < 65536

    attack(target, st.tuples(bytes_like(ANSWERS, PIECES), st.integers(1, 50)), cases)


@CASES
def test_session_descriptions(cases):
    def target(data):
        for media in parse_sdp(data.decode("utf-8", "replace")):
            assert media.frame_rate is None or 0 < media.frame_rate < 1000
            for nal in media.parameter_sets():
                with contextlib.suppress(ProtocolError):
                    parse_sps(nal)

    attack(target, bytes_like([SDP], PIECES), cases)


@CASES
def test_parameter_sets(cases):
    def target(data):
        with contextlib.suppress(ProtocolError):
            picture = parse_sps(data)
            assert picture.width > 0
            assert picture.height > 0
            assert picture.frame_rate is None or picture.frame_rate > 0

    attack(target, bytes_like([SPS, SMALL_SPS], [b"\xff" * 4, b"\x00" * 5, b"\x00\x00\x03"]), cases)


def test_a_huge_parameter_set_costs_no_time():
    begun_s = time.process_time()
    for filler in (b"\xff", b"\x7f", b"\x00\x01", b"\xaa"):
        with contextlib.suppress(ProtocolError):
            # profile 66, id 0, frame number 0, and a picture order cycle of 2**32 - 2 steps
            parse_sps(bytes((0x67, 66, 0, 30)) + bytes.fromhex("d4c0000000040000") + filler * 50_000)
    assert time.process_time() - begun_s < 10, "it would take minutes if all of it were read"


@CASES
def test_streams_of_h264(cases):
    unit = h264.AccessUnit((SPS, b"\x68\xce", b"\x65" + b"x" * 4000), 0, True)
    packets = Packetizer(ssrc=1, first_sequence=1, first_timestamp=1).pack(unit)
    config = bytes((1, 100, 0, 31, 0xFF, 0xE1, 0, len(SPS))) + SPS + b"\x01\x00\x02\x68\xce"

    def target(data):
        with contextlib.suppress(ProtocolError):
            h264.pictures_only(h264.split_annexb(data))
        for length in (1, 2, 4):
            with contextlib.suppress(ProtocolError):
                h264.pictures_only(h264.split_avcc(data, length))
        with contextlib.suppress(ProtocolError):
            h264.parse_avcc_config(data)
        with contextlib.suppress(ProtocolError):
            payload = parse_rtp(data).payload
            defragment([payload, *(parse_rtp(each).payload for each in packets)])
        with contextlib.suppress(ProtocolError):
            defragment([data])

    attack(target, bytes_like([*packets[:3], config, b"\x00\x00\x01" + SPS, b"\x7c\x85x", b"\x7c\x45x"]), cases)


@CASES
def test_challenges(cases):
    user = Credentials("user", 'pa"ss:\\word')

    def target(data):
        text = data.decode("utf-8", "replace")
        found = strongest(parse_challenges([text]))
        if found is not None:
            proof = authorization(found, user, "DESCRIBE", "rtsp://host/path")
            assert user.password not in proof
        for scheme in ("basic", "digest"):
            assert not Guard(user, scheme).admits(text, "DESCRIBE", "rtsp://host/path", "nonce")

    attack(target, bytes_like([CHALLENGE.encode(), b'Basic realm="x"', b'Digest username="user"'], PIECES), cases)


class _Told:
    """Stands for a connection: it says what was prepared, in pieces, and then hangs up."""

    answers: bytes = b""

    def __init__(self, *_arguments):
        self._left = self.answers

    def send(self, data):
        assert b"canary" not in data.split(b"Authorization")[0]

    def receive(self):
        if not self._left:
            raise SourceError("closed")
        piece, self._left = self._left[:700], self._left[700:]
        return piece

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@CASES
def test_probes(cases, monkeypatch):
    """Of any answer comes a finding or a sentence, and never a password in it."""
    monkeypatch.setattr(rtsp, "Wire", _Told)
    monkeypatch.setattr(http, "Wire", _Told)
    monkeypatch.setattr(rtsp, "speaks_tls", lambda *_: False)  # it would look for the camera
    stream = parse_url("rtsp://user:canary@camera/path")
    page = parse_url("http://user:canary@camera/path")

    def target(data):
        _Told.answers = data
        for probe, url in ((rtsp.probe_rtsp, stream), (http.probe_http, page)):
            try:
                finding = str(probe(url, Deadline(5.0)))
            except SourceError as error:
                finding = str(error)
            assert "canary" not in finding
            assert len(finding) < 1000

    attack(target, bytes_like(ANSWERS, PIECES), cases)


URLS = [
    b"rtsp://user:canary@host:554/path?x=1",
    b"http://[::1]:80/x",
    b"rtsps://user:can/ary@host",
    b"/a/file.mp4",
    b"~nobody-of-that-name/file.mp4",
    b"0",
    b"scene://",
    b"file:///x",
    b"rtsp://user:canary@host:99999/",
]


@CASES
def test_addresses(cases):
    pieces = [b"@", b"://", b"[", b"]", b":", b"%00", b"%", b"#", b"?", "\u2100".encode(), "ſ".encode(), b"\\", b" "]

    def target(data):
        text = data.decode("utf-8", "replace")
        with contextlib.suppress(SourceError):
            found = parse_url(text).credentials
            assert found is None or repr(found) == f"Credentials(user={found.user!r})"
        with contextlib.suppress(ValueError):
            source = parse_source(text)
            assert str(source) == redact(str(source))

    attack(target, bytes_like(URLS, pieces), cases)


INT64 = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 20).map(lambda step: step * 200_000_000))
COUNT = st.one_of(st.integers(0, 3), st.integers(0, 2**63 - 1))
FRAME = st.tuples(INT64, INT64, COUNT, st.integers(0, 255), st.booleans())


@CASES
def test_frames_of_a_capture_process_gone_mad(cases):
    """Whatever it writes into its ring: other cameras go on, messages can be sent, and time is not wasted."""
    model_says = np.array([0.25, 0.75], np.float32)

    def target(case):
        action, frames = case
        memory = new_memory(**dict.fromkeys(("gap", "reconnect", "seek", "frozen", "scene_cut"), action))
        begun_s = time.process_time()
        for number, (media_ns, captured_ns, dropped, flags, finite) in enumerate(frames):
            header = FrameHeader(number, media_ns, captured_ns, captured_ns, captured_ns, dropped, FrameFlag(flags))
            step, sent = memory.advance(header)
            sent = [*sent, *memory.observe(header, step, model_says, finite=finite)]
            for message in sent:
                assert decode(encode(message)) == message
        assert time.process_time() - begun_s < 5

    attack(target, st.tuples(st.sampled_from(["keep", "hold", "reset"]), st.lists(FRAME, max_size=12)), cases)
