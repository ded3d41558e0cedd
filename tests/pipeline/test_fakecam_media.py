"""Media of the camera: files sent as they are, files encoded again, pictures, and sources that are wrong."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import barcode
import pytest
from videos import FPS, pictures, write_audio, write_changing_size, write_truncated, write_video

from engines.errors import MissingExtraError, SourceError, UnsupportedSourceError
from pipeline.fakecam import Encoding, Media, open_media
from pipeline.fakecam.passthrough import PassthroughMedia
from pipeline.fakecam.pictures import PictureMedia
from pipeline.fakecam.transcoded import TranscodedMedia, at_rate
from pipeline.fakecam.video_file import examine
from pipeline.rtsp.h264 import AccessUnit
from pipeline.rtsp.sps import parse_sps

FRAMES = 45


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("plain") / "plain.mp4", FRAMES)


@pytest.fixture(scope="module")
def with_b_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("b") / "b.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "medium", "bf": "3", "g": "15"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for picture in pictures(FRAMES, 320, 240):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())
    return path


def read(media: Media, count: int = 10_000, start_s: float = 0.0) -> list[AccessUnit]:
    playback, found = media.play(start_s), []
    while len(found) < count and (units := playback.read()):
        found += units
    return found[:count]


def numbers(units: list[AccessUnit]) -> list[int]:
    decoder = av.CodecContext.create("h264", "r")
    packets = [av.Packet(b"".join(b"\x00\x00\x00\x01" + nal for nal in unit.nals)) for unit in units]
    frames = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    return [barcode.read(frame.to_ndarray(format="bgr24")) for frame in frames]


def test_h264_without_b_frames_is_sent_as_it_is(plain: Path) -> None:
    (media,) = open_media(str(plain), loop=False)
    assert isinstance(media, PassthroughMedia)
    assert (media.format.width, media.format.height, media.format.frame_rate) == (320, 240, FPS)
    assert media.duration_s == pytest.approx(FRAMES / FPS)
    units = read(media)
    assert numbers(units) == list(range(FRAMES))
    assert [unit.timestamp for unit in units] == [number * 6000 for number in range(FRAMES)]
    assert [number for number, unit in enumerate(units) if unit.idr] == [0, 15, 30]
    assert all([nal[0] & 0x1F for nal in unit.nals][:2] == [7, 8] for unit in units if unit.idr)
    with av.open(str(plain)) as container:
        stored = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    assert b"".join(len(nal).to_bytes(4, "big") + nal for nal in units[1].nals) == stored[1]  # the file's own bytes


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".h264"])
def test_containers_of_h264_give_the_same(tmp_path: Path, suffix: str) -> None:
    (media,) = open_media(str(write_video(tmp_path / f"v{suffix}", FRAMES)), loop=False)
    units = read(media)
    assert isinstance(media, PassthroughMedia)
    assert numbers(units) == list(range(FRAMES))
    rate = media.format.frame_rate  # a raw stream's is a guess of FFmpeg
    assert all(abs(unit.timestamp - number * 90000 / rate) <= 90 for number, unit in enumerate(units))


def test_passthrough_loops_with_rising_times(plain: Path) -> None:
    (media,) = open_media(str(plain))
    assert media.duration_s is None
    units = read(media, 100)
    assert [unit.timestamp for unit in units] == [number * 6000 for number in range(100)]
    assert numbers(units) == [number % FRAMES for number in range(100)]


@pytest.mark.parametrize(("start_s", "first"), [(0.5, 15), (1.0, 15), (1.5, 30), (2.5, 45), (3.1, 60), (31.0, 465)])
def test_passthrough_begins_at_the_next_idr_of_the_clock(plain: Path, start_s: float, first: int) -> None:
    (media,) = open_media(str(plain))
    units = read(media, 5, start_s)
    assert units[0].idr
    assert [unit.timestamp for unit in units] == [number * 6000 for number in range(first, first + 5)]
    assert numbers(units) == [number % FRAMES for number in range(first, first + 5)]


def test_file_that_has_ended_gives_nothing(plain: Path) -> None:
    for asked in (None, 15.0):  # as it is, and encoded again
        (media,) = open_media(str(plain), loop=False, frame_rate=asked)
        assert read(media, start_s=10.0) == []


def test_b_frames_are_encoded_away(with_b_frames: Path) -> None:
    (media,) = open_media(str(with_b_frames), loop=False)
    assert isinstance(media, TranscodedMedia)
    units = read(media)
    assert numbers(units) == list(range(FRAMES))
    assert all(b.timestamp - a.timestamp == pytest.approx(6000, abs=90) for a, b in pairwise(units))
    assert media.format.sps == units[0].nals[0]
    assert {unit.nals[-1][0] & 0x1F for unit in units} == {1, 5}


def test_transcoded_file_loops_and_begins_anywhere(with_b_frames: Path) -> None:
    (media,) = open_media(str(with_b_frames))
    units = read(media, 60, start_s=0.999)
    assert units[0].idr
    assert numbers(units) == [number % FRAMES for number in range(15, 75)]
    assert all(0 < b.timestamp - a.timestamp < 6200 for a, b in pairwise(units))


def test_size_and_rate_can_be_asked_for(plain: Path) -> None:
    (media,) = open_media(str(plain), size=(160, 120), frame_rate=5.0, bitrate=200_000, loop=False)
    units = read(media)
    picture = parse_sps(units[0].nals[0])
    assert (picture.width, picture.height, picture.frame_rate) == (160, 120, 5.0)
    assert [unit.timestamp for unit in units] == [number * 18000 for number in range(15)]
    assert numbers(units) == list(range(0, FRAMES, 3))


def test_rate_above_the_files_repeats_pictures() -> None:
    shown = at_rate(iter([(0, "a"), (18000, "b"), (36000, "c")]), 10.0, 54000)
    assert list(shown) == [(0, "a"), (9000, "a"), (18000, "b"), (27000, "b"), (36000, "c"), (45000, "c")]


def test_picture_that_changes_size_carries_its_own_parameter_sets(tmp_path: Path) -> None:
    (media,) = open_media(str(write_changing_size(tmp_path / "sizes.h264")), loop=False)
    sizes = [parse_sps(unit.nals[0]) for unit in read(media) if unit.idr]
    assert [(one.width, one.height) for one in sizes] == [*[(640, 360)] * 2, *[(320, 240)] * 2, *[(640, 360)] * 2]


def test_pictures_end_after_their_last_and_start_where_asked() -> None:
    asked: list[int] = []

    def draw(number: int):
        asked.append(number)
        return next(iter(pictures(1, 160, 120)))

    media = PictureMedia(lambda: draw, Encoding(160, 120, 12.5), frames=25)
    assert media.duration_s == 2.0
    units = read(media, start_s=1.5)
    assert asked == list(range(19, 25))
    assert [unit.timestamp for unit in units] == [number * 7200 for number in range(19, 25)]


def test_idr_picture_is_made_when_asked_for() -> None:
    media = PictureMedia(lambda: lambda _: next(iter(pictures(1, 160, 120))), Encoding(160, 120, 10.0, gop_s=2.0))
    playback = media.play()
    idr = [playback.read(fresh=number == 7)[0].idr for number in range(28)]
    assert [number for number, one in enumerate(idr) if one] == [0, 7, 27]


def test_scenes_of_several_cameras_have_seeds_of_their_own() -> None:
    first, second = open_media("scene://?seed=4", 2, size=(64, 48))
    (fifth,) = open_media("scene://?seed=5", size=(64, 48))
    assert read(second, 3) == read(fifth, 3)
    assert read(first, 3) != read(second, 3)


def test_damaged_file_ends_with_an_error(tmp_path: Path) -> None:
    path = write_truncated(tmp_path / "cut.mp4")
    for asked in (None, FPS):
        with pytest.raises(SourceError, match=r"cut\.mp4"):
            read(*open_media(str(path), frame_rate=asked), 200)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("rtsp://camera/1", "no other URL"),
        ("scene://?sed=1", "scene://?seed=N"),
        ("scene://?seed=-1", "whole number"),
        ("scene://place", "scene://?seed=N"),
        ("missing.mp4", "no such file"),
        (".", "a folder"),
        ("empty.mp4", "cannot be read as video"),
        ("text.mp4", "cannot be read as video"),
        ("sound.m4a", "no video track"),
    ],
)
def test_wrong_source_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("no video " * 100)
    write_audio(Path("sound.m4a"))
    with pytest.raises(SourceError, match=words.replace("?", r"\?")):
        open_media(source)


@pytest.mark.parametrize("encoding", [(33, 48, 15.0), (8, 8, 15.0), (64, 48, 0.0), (64, 48, 1000.0)])
def test_encoding_that_h264_cannot_carry_is_refused(encoding: tuple[int, int, float]) -> None:
    with pytest.raises(SourceError, match=r"picture size|frame rate"):
        Encoding(*encoding)


def test_b_frames_are_not_sent_as_they_are(with_b_frames: Path) -> None:
    with pytest.raises(UnsupportedSourceError, match="without B frames"):
        PassthroughMedia(examine(with_b_frames), loop=False)


def test_missing_pyav_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "av" else find(name, *rest))
    with pytest.raises(MissingExtraError, match=r"vidpipe fakecam needs the package av.*vidpipe\[fakecam\]"):
        open_media("scene://")


def test_package_needs_no_pyav() -> None:
    code = "import sys; sys.modules['av'] = None; import pipeline.fakecam, pipeline.cli.fakecam"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
