"""The sequence parameter set of H.264: picture size and frame rate (ITU-T H.264 sections 7.3.2.1.1 and E.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

from engines.errors import ProtocolError

_WITH_CHROMA = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}  # profiles that name their chroma format
_EXTENDED_RATIO = 255
_LONGEST_BYTES = 1024  # a whole one with all scaling lists is shorter; reading takes the square of it
_HIGHEST_RATE = 1000  # a rate beyond it is the clock of a stream whose pictures come at any time


@dataclass(frozen=True)
class PictureFormat:
    """What a sequence parameter set says of its pictures."""

    profile: int
    width: int  # pixels, after cropping
    height: int  # pixels, after cropping
    frame_rate: float | None  # frames/s, None where the stream does not say


def parse_sps(nal: bytes) -> PictureFormat:
    """Read an SPS, its one-byte NAL header included. Raises ProtocolError where it is damaged."""
    bits = _Bits(nal[1:_LONGEST_BYTES].replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.read(8)
    bits.read(16)  # constraint flags and level
    bits.unsigned()  # seq_parameter_set_id
    chroma = _chroma_format(bits) if profile in _WITH_CHROMA else 1
    bits.unsigned()  # log2_max_frame_num_minus4
    _skip_order_count(bits)
    bits.unsigned()  # max_num_ref_frames
    bits.read(1)  # gaps_in_frame_num_value_allowed_flag
    width, height = (bits.unsigned() + 1) * 16, (bits.unsigned() + 1) * 16
    frames_only = bits.read(1)
    height *= 2 - frames_only
    if not frames_only:
        bits.read(1)  # mb_adaptive_frame_field_flag
    bits.read(1)  # direct_8x8_inference_flag
    left, right, top, bottom = (bits.unsigned() for _ in range(4)) if bits.read(1) else (0, 0, 0, 0)
    unit_x = 2 if chroma in (1, 2) else 1
    unit_y = (2 if chroma == 1 else 1) * (2 - frames_only)
    width, height = width - unit_x * (left + right), height - unit_y * (top + bottom)
    if width <= 0 or height <= 0:
        raise ProtocolError(f"an H.264 parameter set gives the picture size {width}x{height}")
    return PictureFormat(profile, width, height, _frame_rate(bits) if bits.read(1) else None)


class _Bits:
    """Reads fixed and Exp-Golomb numbers, most significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        if count > self._left:
            raise ProtocolError("an H.264 parameter set is cut off")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def unsigned(self) -> int:
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise ProtocolError("an H.264 parameter set holds a number beyond 32 bits")
        return (1 << zeros) - 1 + self.read(zeros)

    def signed(self) -> int:
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _chroma_format(bits: _Bits) -> int:
    chroma = bits.unsigned()
    separate = bits.read(1) if chroma == 3 else 0
    bits.unsigned()  # bit_depth_luma_minus8
    bits.unsigned()  # bit_depth_chroma_minus8
    bits.read(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.read(1):
        for index in range(12 if chroma == 3 else 8):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return 0 if separate else chroma


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = scale = 8
    for _ in range(size):
        if scale:
            scale = (last + bits.signed()) % 256
        last = scale or last


def _skip_order_count(bits: _Bits) -> None:
    kind = bits.unsigned()
    if kind == 0:
        bits.unsigned()  # log2_max_pic_order_cnt_lsb_minus4
    elif kind == 1:
        bits.read(1)
        bits.signed()
        bits.signed()
        for _ in range(bits.unsigned()):
            bits.signed()


def _frame_rate(bits: _Bits) -> float | None:
    """From the timing fields of the VUI; two ticks of the field clock make a frame."""
    if bits.read(1) and bits.read(8) == _EXTENDED_RATIO:
        bits.read(32)
    if bits.read(1):  # overscan_info_present_flag
        bits.read(1)
    if bits.read(1):  # video_signal_type_present_flag
        bits.read(4)
        if bits.read(1):
            bits.read(24)
    if bits.read(1):  # chroma_loc_info_present_flag
        bits.unsigned()
        bits.unsigned()
    if not bits.read(1):
        return None
    units, scale = bits.read(32), bits.read(32)
    rate = scale / (2 * units) if units else 0
    return rate if 0 < rate <= _HIGHEST_RATE else None
