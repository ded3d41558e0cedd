"""A camera's media that sends the H.264 of a file as it is, without decoding."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from engines.errors import ProtocolError, SourceError, UnsupportedSourceError
from pipeline.fakecam.media import StreamFormat
from pipeline.fakecam.video_file import VideoFile, laps, opened, seek
from pipeline.rtsp.h264 import (
    CLOCK_HZ,
    IDR_SLICE,
    PPS,
    SPS,
    AccessUnit,
    AvccConfig,
    nal_type,
    parse_avcc_config,
    pictures_only,
    split_annexb,
    split_avcc,
)

_READ_UNITS = 8  # pictures handed over at a time: few hand-overs, little memory


class PassthroughMedia:
    """The H.264 track of a file, stored in the order shown. Raises SourceError where it is damaged."""

    def __init__(self, file: VideoFile, *, loop: bool) -> None:
        if file.codec != "h264" or file.reordered:
            raise UnsupportedSourceError(f"{file.path}: only H.264 without B frames can be sent as it is")
        self._file, self._loop = file, loop
        self._config = _config(file)

    @property
    def format(self) -> StreamFormat:
        """Parameter sets and size."""
        file, config = self._file, self._config
        return StreamFormat(config.sps[0], config.pps[0], file.width, file.height, file.frame_rate)

    @property
    def duration_s(self) -> float | None:
        """Length in seconds; None where the file loops."""
        return None if self._loop else self._file.duration / CLOCK_HZ

    def play(self, start_s: float = 0.0) -> PassthroughPlayback:
        """Start at the first IDR picture at or after `start_s`."""
        return PassthroughPlayback(_from_idr(_units(self._file, self._config, start_s, loop=self._loop)))


class PassthroughPlayback:
    """Hands the file's pictures over, a few a read."""

    def __init__(self, units: Iterator[AccessUnit]) -> None:
        self._units = units

    def read(self, *, fresh: bool = False) -> list[AccessUnit]:  # noqa: ARG002 - a file has its IDR pictures where they are
        """The next pictures, none after the last."""
        return list(islice(self._units, _READ_UNITS))


def _config(file: VideoFile) -> AvccConfig:
    with opened(file.path) as container:
        extradata = bytes(container.streams.video[0].codec_context.extradata or b"")
    if extradata[:1] == b"\x01":
        config = parse_avcc_config(extradata)
    else:
        nals = split_annexb(extradata)
        by_type = [tuple(nal for nal in nals if nal_type(nal) == kind) for kind in (SPS, PPS)]
        config = AvccConfig(0, by_type[0], by_type[1])
    if not config.sps or not config.pps:
        raise SourceError(f"{file.path}: the H.264 track has no parameter sets")
    return config


def _units(file: VideoFile, config: AvccConfig, start_s: float, *, loop: bool) -> Iterator[AccessUnit]:
    for begins, offset in laps(file, round(start_s * CLOCK_HZ), loop=loop):
        empty = True
        for unit in _lap(file, config, begins, offset):
            empty = False
            yield unit
        if empty and not offset:
            raise SourceError(f"{file.path}: the file holds no picture any more")


def _lap(file: VideoFile, config: AvccConfig, begins: int, offset: int) -> Iterator[AccessUnit]:
    with opened(file.path) as container:
        stream = container.streams.video[0]
        seek(container, file, offset)
        for index, packet in enumerate(container.demux(stream)):
            if not packet.size:
                continue
            ticks = file.ticks(packet.pts, stream.time_base, index)
            if ticks >= offset:
                yield _checked(file, bytes(packet), config, begins + ticks)


def _checked(file: VideoFile, data: bytes, config: AvccConfig, timestamp: int) -> AccessUnit:
    try:
        return _unit(data, config, timestamp)
    except ProtocolError as error:
        raise SourceError(f"{file.path}: the file is damaged: {error}") from error


def _unit(data: bytes, config: AvccConfig, timestamp: int) -> AccessUnit:
    nals = split_avcc(data, config.length_bytes) if config.length_bytes else split_annexb(data)
    idr = any(nal_type(nal) == IDR_SLICE for nal in nals)
    sets = tuple(nal for nal in nals if nal_type(nal) in (SPS, PPS)) or (config.sps + config.pps if idr else ())
    return AccessUnit(sets + pictures_only(nals), timestamp, idr)


def _from_idr(units: Iterator[AccessUnit]) -> Iterator[AccessUnit]:
    for unit in units:
        if unit.idr:
            yield unit
            break
    yield from units
