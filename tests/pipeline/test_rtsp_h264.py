"""H.264 cut into units, packed into RTP and put together again; parameter sets read as FFmpeg reads them."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import ProtocolError
from pipeline.rtsp.h264 import AccessUnit, parse_avcc_config, pictures_only, split_annexb, split_avcc
from pipeline.rtsp.rtcp import goodbye, sender_report
from pipeline.rtsp.rtp import Packetizer, defragment, fragment, parse_rtp
from pipeline.rtsp.sdp import format_sdp, parse_sdp
from pipeline.rtsp.sps import parse_sps

# a NAL unit: its first byte has a type of 1 to 12, it holds no start code and does not end in zero
nals = st.builds(
    lambda kind, body: bytes((0x60 | kind,)) + body.replace(b"\x00", b"\x01") + b"\x80",
    st.integers(1, 12),
    st.binary(max_size=40) | st.binary(min_size=1390, max_size=4300),
)


@given(st.lists(nals, min_size=1, max_size=4), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1))
def test_rtp_carries_a_picture_unharmed(units: list[bytes], sequence: int, clock: int) -> None:
    packetizer = Packetizer(ssrc=7, first_sequence=sequence, first_timestamp=clock)
    packets = [parse_rtp(data) for data in packetizer.pack(AccessUnit(tuple(units), 4500, idr=True))]
    later = [parse_rtp(data) for data in packetizer.pack(AccessUnit(tuple(units), 10500, idr=False))]
    assert defragment([one.payload for one in packets]) == tuple(units)
    assert [one.marker for one in packets] == [False] * (len(packets) - 1) + [True]
    assert {one.timestamp for one in packets} == {clock}
    assert {one.timestamp for one in later} == {(clock + 6000) % 2**32}
    assert [one.sequence for one in packets + later] == [(sequence + at) % 2**16 for at in range(2 * len(packets))]
    assert all(len(one.payload) <= 1400 for one in packets)
    assert packetizer.octets == sum(len(one.payload) for one in packets + later)


@given(nals, st.integers(10, 1500))
def test_fragments_never_exceed_the_limit(nal: bytes, limit: int) -> None:
    payloads = list(fragment(nal, limit))
    assert max(map(len, payloads)) <= limit
    assert defragment(payloads) == (nal,)


def test_lost_fragment_is_noticed() -> None:
    first, middle, last = fragment(b"\x65" + b"x" * 3000)
    for broken in ([first, last][:1], [middle, last], [first, first], [last]):
        with pytest.raises(ProtocolError, match="missing"):
            defragment(broken)


def test_rtp_extension_sources_and_padding_are_passed_over() -> None:
    data = bytes((0xB1, 0xE0)) + bytes((0, 9)) + bytes(7) + b"\x05" + bytes(4)
    data += b"\xbe\xde\x00\x01" + bytes(4) + b"payload" + b"\x00\x00\x03"
    packet = parse_rtp(data)
    assert (packet.sequence, packet.marker, packet.payload) == (9, True, b"payload")
    with pytest.raises(ProtocolError):
        parse_rtp(b"short")


@given(st.lists(nals, max_size=5), st.sampled_from([b"\x00\x00\x01", b"\x00\x00\x00\x01"]))
def test_annexb_and_avcc_give_the_same_units(units: list[bytes], start: bytes) -> None:
    assert split_annexb(b"".join(start + nal for nal in units)) == tuple(units)
    for size in (2, 4):
        assert split_avcc(b"".join(len(nal).to_bytes(size, "big") + nal for nal in units), size) == tuple(units)


def test_units_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ProtocolError, match="inside a NAL unit"):
        split_avcc(b"\x00\x00\x00\x09abc", 4)


def test_parameter_sets_and_delimiters_are_left_out() -> None:
    assert pictures_only((b"\x67", b"\x68", b"\x09", b"\x06a", b"\x0c", b"\x65b")) == (b"\x06a", b"\x65b")


@given(st.binary(max_size=64))
def test_any_bytes_as_parameter_set_or_configuration_give_a_result_or_a_protocol_error(data: bytes) -> None:
    for parse in (parse_sps, lambda one: parse_avcc_config(b"\x01" + one)):
        with contextlib.suppress(ProtocolError):
            assert parse(data) is not None


@pytest.mark.parametrize(
    ("width", "height", "pixels", "profile", "interlaced"),
    [
        (640, 360, "yuv420p", "baseline", False),
        (1920, 1080, "yuv420p", "high", False),
        (322, 182, "yuv420p", "main", False),
        (322, 182, "yuv422p", "high422", False),
        (321, 183, "yuv444p", "high444", False),
        (720, 576, "yuv420p", "high", True),
    ],
)
def test_parameter_sets_of_x264_are_read(width: int, height: int, pixels: str, profile: str, interlaced: bool) -> None:
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = width, height, pixels
    context.time_base, context.framerate = Fraction(1, 90000), Fraction(30000, 1001)
    context.flags |= av.codec.context.Flags.global_header
    context.options = {"profile": profile, "x264-params": f"interlaced={int(interlaced)}:sar=4/3:force-cfr=1"}
    context.open()
    sps = split_annexb(context.extradata)[0]
    picture = parse_sps(sps)
    assert (picture.width, picture.height) == (width, height)
    assert picture.frame_rate == pytest.approx(30000 / 1001)


def test_description_comes_back_as_it_was_written() -> None:
    sps, pps = b"\x67\x42\xc0\x1e\xaa", b"\x68\xce"
    text = format_sdp(host="::1", title="camera0", sps=sps, pps=pps, frame_rate=12.5, ends_s=None)
    assert "c=IN IP6 ::1" in text
    (video,) = parse_sdp(text)
    assert video.parameter_sets() == (sps, pps)
    assert (video.kind, video.encoding, video.frame_rate, video.control) == ("video", "H264", 12.5, "track1")


def test_descriptions_of_other_cameras_are_understood() -> None:
    audio, video, third = parse_sdp(
        "v=0\na=control:*\nm=audio 0 RTP/AVP 8\na=control:a\nm=video 0 RTP/AVP 26 98\na=rtpmap:98 H264/90000\n"
        "a=framerate:nan\nm=application 0 RTP/AVP 107\na=rtpmap:107 vnd.onvif.metadata/90000\nnonsense\nm=\n"
    )[:3]
    assert (audio.kind, audio.encoding) == ("audio", "PCMA")
    assert (video.kind, video.encoding, video.frame_rate) == ("video", "JPEG", None)
    assert third.encoding == "VND.ONVIF.METADATA"


@given(st.text(max_size=300))
def test_any_description_is_survived(text: str) -> None:
    for media in parse_sdp(text) + parse_sdp("m=video 0 RTP/AVP 96\na=rtpmap:96 " + text + "\na=fmtp:96 " + text):
        assert isinstance(media.parameter_sets(), tuple)


def test_reports_fill_whole_words() -> None:
    report = sender_report(ssrc=1, wall_ns=500_000_000, timestamp=2, packets=3, octets=4, name="camera")
    assert report[8:16] == (2_208_988_800).to_bytes(4, "big") + (2**31).to_bytes(4, "big")
    for data in (report, goodbye(ssrc=1, name="camera")):
        assert len(data) % 4 == 0
