"""Session descriptions: what a camera offers (RFC 4566, and RFC 6184 section 8 for H.264)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

# RTP payload types that need no rtpmap line (RFC 3551 section 6)
_STATIC = {0: "PCMU", 8: "PCMA", 14: "MPA", 26: "JPEG", 32: "MPV", 33: "MP2T", 34: "H263"}


@dataclass(frozen=True)
class MediaDescription:
    """One `m=` section."""

    kind: str  # 'video', 'audio', 'application'
    encoding: str  # 'H264', 'H265', 'JPEG', ... in upper case; '' where the description does not say
    parameters: dict[str, str] = field(default_factory=dict)  # of the fmtp line, names in lower case
    control: str = ""
    frame_rate: float | None = None  # frames/s

    def parameter_sets(self) -> tuple[bytes, ...]:
        """The NAL units of `sprop-parameter-sets`; those that are no base64 are left out."""
        texts = self.parameters.get("sprop-parameter-sets", "").split(",")
        return tuple(nal for text in texts if (nal := _base64(text)))


def parse_sdp(text: str) -> tuple[MediaDescription, ...]:
    """The media of a description, in order; lines that are not understood are passed over."""
    sections: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        key, _, value = line.strip().partition("=")
        if key == "m":
            sections.append([])
        if sections:
            sections[-1].append((key, value))
    return tuple(_media(section) for section in sections)


def format_sdp(*, host: str, title: str, sps: bytes, pps: bytes, frame_rate: float, ends_s: float | None) -> str:
    """The description of one H.264 track; `ends_s` None for a stream without an end."""
    sets = ",".join(base64.b64encode(nal).decode() for nal in (sps, pps))
    family = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0",
        f"o=- 1 1 IN {family} {host}",
        f"s={title}",
        "t=0 0",
        f"a=range:npt=0-{'' if ends_s is None else format(ends_s, '.3f')}",
        "a=control:*",
        "m=video 0 RTP/AVP 96",
        f"c=IN {family} {host}",
        "a=rtpmap:96 H264/90000",
        f"a=fmtp:96 packetization-mode=1;profile-level-id={sps[1:4].hex().upper()};sprop-parameter-sets={sets}",
        f"a=framerate:{frame_rate:g}",
        "a=control:track1",
    ]
    return "\r\n".join([*lines, ""])


def _media(section: list[tuple[str, str]]) -> MediaDescription:
    kind, *rest = section[0][1].split() or [""]
    payload = rest[2] if len(rest) > 2 else ""
    attributes = [value.partition(":")[::2] for key, value in section if key == "a"]
    encoding = _STATIC.get(int(payload), "") if payload.isascii() and payload.isdigit() and len(payload) < 4 else ""
    found: dict[str, str] = {name: value for name, value in attributes if name not in ("rtpmap", "fmtp")}
    for name, value in attributes:
        number, _, text = value.partition(" ")
        if number == payload:
            found[name] = text.strip()
    if "rtpmap" in found:
        encoding = found["rtpmap"].partition("/")[0].upper()
    return MediaDescription(kind, encoding, _fmtp(found.get("fmtp", "")), found.get("control", ""), _rate(found))


def _fmtp(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}


def _rate(attributes: dict[str, str]) -> float | None:
    try:
        rate = float(attributes.get("framerate", ""))
    except ValueError:
        return None
    return rate if 0 < rate < 1000 else None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
