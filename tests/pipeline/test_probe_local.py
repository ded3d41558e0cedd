"""The probe of files and devices."""

from __future__ import annotations

import os
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from videos import write_audio, write_video

from engines.errors import SourceError, UnsupportedSourceError
from pipeline.capture import probe_local
from pipeline.capture.probe import Finding, probe


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4", 15, width=320, height=240)


def test_video_file_is_found(video: Path) -> None:
    assert probe(str(video)) == Finding("file", f"{video} holds h264, 320x240", "h264", 320, 240)
    assert probe(f"file://{video}") == probe(str(video))


def test_other_containers_are_left_to_the_decoder(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", 5)
    assert probe(str(path)).kind == "file"


def test_scene_is_always_there() -> None:
    assert probe("scene://?seed=3").kind == "scene"


def test_files_that_are_wrong_are_told_apart(tmp_path: Path, video: Path) -> None:
    def wav(path: Path) -> None:
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000)
            sound.writeframes(b"\x00" * 100)

    empty, cut, front = tmp_path / "empty.mp4", tmp_path / "cut.mp4", tmp_path / "front.mp4"
    empty.touch()
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    fast = write_video(tmp_path / "fast.mp4", 15, movflags="faststart").read_bytes()
    front.write_bytes(fast[: fast.index(b"moov") + 20])
    write_audio(tmp_path / "sound.m4a")
    wav(tmp_path / "sound.wav")
    os.mkfifo(tmp_path / "pipe")
    cases: list[tuple[Path, type[SourceError], str]] = [
        (tmp_path / "none.mp4", SourceError, "no such file"),
        (tmp_path, SourceError, "a folder"),
        (empty, SourceError, "empty"),
        (cut, SourceError, "incomplete"),
        (front, SourceError, "incomplete"),
        (tmp_path / "sound.m4a", UnsupportedSourceError, "no video track"),
        (tmp_path / "sound.wav", UnsupportedSourceError, "WAV"),
        (tmp_path / "pipe", SourceError, "neither a file nor a video device"),
        (empty / "below", SourceError, "no such file"),
        (Path("192.168.1.20:554/live"), SourceError, "no such file; a camera's address begins with rtsp://"),
    ]
    for path, error, words in cases:
        with pytest.raises(error, match=words) as caught:
            probe(str(path))
        assert str(caught.value).startswith(f"{path}: ")


def test_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path) -> None:
    def barred(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(probe_local.Path, "open", barred)
    with pytest.raises(SourceError, match="cannot be read: permission denied"):
        probe(str(video))


def test_missing_and_barred_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="/dev/video987: no such device"):
        probe("987")
    with pytest.raises(SourceError, match="not a video device"):
        probe_local.probe_device(tmp_path)
    assert probe("/dev/null").kind == "device"
    monkeypatch.setattr(probe_local.os, "access", lambda *_: False)
    with pytest.raises(SourceError, match=r"may not open the device; add the user to its group"):
        probe("/dev/null")


def test_half_damaged_boxes_end(tmp_path: Path) -> None:
    path = tmp_path / "boxes.mp4"
    ftyp = struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0)
    beyond = struct.pack(">I4sQI4s", 1, b"moov", 2**64 - 20, 8, b"free")
    path.write_bytes(ftyp + beyond)
    with pytest.raises(SourceError, match="incomplete"):
        probe(str(path))
    huge = struct.pack(">I4s", 24, b"trak") + struct.pack(">I4sQ", 1, b"mdia", 2**64 - 1)
    path.write_bytes(ftyp + struct.pack(">I4s", 32, b"moov") + huge)
    with pytest.raises(UnsupportedSourceError, match="no video track"):
        probe(str(path))
    for tail in (
        struct.pack(">I4s", 3, b"free"),
        struct.pack(">I4sQ", 1, b"mdat", 2**63),
        struct.pack(">I4s", 0, b"mdat"),
    ):
        path.write_bytes(ftyp + tail)
        with pytest.raises(SourceError, match="incomplete"):
            probe(str(path))


def test_index_of_very_many_parts_is_not_walked_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "bomb.mp4"
    index = struct.pack(">I4s", 8 + 160_000, b"moov") + struct.pack(">I4s", 8, b"trak") * 20_000
    path.write_bytes(struct.pack(">I4s4s", 12, b"ftyp", b"isom") + index)
    with pytest.raises(SourceError, match="more than 10000 parts"):
        probe(str(path))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8), st.integers(0, 10_000))
def test_damaged_mp4_gives_a_finding_or_an_error(
    tmp_path: Path, video: Path, flips: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(video.read_bytes())
    index = data.index(b"moov")
    for at, value in flips:
        data[(index + at) % len(data)] = value
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data[: len(data) - cut % len(data)])
    try:
        assert isinstance(probe(str(path)), Finding)
    except SourceError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - either outcome is right
