"""What FFmpeg may open for a source, and how large its pictures may be; the same for both back ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engines.errors import UnsupportedSourceError

if TYPE_CHECKING:
    from pipeline.capture.protocol import Order

MAX_PIXELS = 8192 * 8192
"""Of one picture; a decoder needs about 1.5 bytes for each, several pictures at once, and 3 more to hand one out."""

_LOOKED_AT = 7  # where no picture is moved by more than two; FFmpeg's has_decode_delay_been_guessed

_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,ivf,nut,mxf,wtv,dhav,"
    "h264,hevc,vvc,m4v,mpegvideo,mjpeg,av1,obu,vc1,dv,yuv4mpegpipe,gif"
)
_PROTOCOLS = {"rtsp": "rtsp,rtsps,rtp,srtp,udp,tcp,tls", "http": "http,https,httpproxy,tcp,tls", "file": "file"}
# no playlists (HLS, DASH, concat) and no image sequences: each would name further addresses or files to read
_FORMATS = {"rtsp": "rtsp,mpegts", "http": "mpjpeg," + _CONTAINERS, "file": _CONTAINERS}


def ffmpeg_options(order: Order) -> dict[str, str]:
    """FFmpeg's options for a network source or file: transport, what it may open and which certificates it trusts.

    Raises:
        SourceError: certificates are to be checked, and there is no list of authorities.
    """
    options = {"protocol_whitelist": _PROTOCOLS[order.kind], "format_whitelist": _FORMATS[order.kind]}
    if order.kind == "rtsp":
        options["rtsp_transport"] = order.transport
        # else FFmpeg reads 20 frames before it opens, to find a rate: 4 s of a camera with 5 frames a second
        options["fpsprobesize"] = "0"
        # else it waits for sound as well, of which a camera may speak and send none: 5 s, or until it is given up
        options["allowed_media_types"] = "video"
    return options | (_trust_options(order) if is_encrypted(order) else {})


def read_ahead(order: Order, codec: str) -> int:
    """How many frames FFmpeg decodes before a source is open: seven of H.264, to see that they are in order."""
    return _LOOKED_AT if order.kind == "rtsp" and codec.lower() == "h264" else 0


def is_encrypted(order: Order) -> bool:
    """Whether the address asks for TLS."""
    return order.address.lower().startswith(("rtsps://", "https://"))


def _trust_options(order: Order) -> dict[str, str]:
    from pipeline.capture.tls import authorities  # noqa: PLC0415 - few cameras speak TLS

    # FFmpeg's own default is to trust everybody, and without a file its OpenSSL knows no authority
    return {"tls_verify": "1", "ca_file": order.ca_file or authorities()} if order.tls_verify else {"tls_verify": "0"}


def ffmpeg_address(order: Order) -> str:
    """The address as FFmpeg reads it: a file's name stays one, whatever colons are in it."""
    return f"file:{order.address}" if order.kind == "file" else order.address


def check_size(width: int, height: int) -> None:
    """Raises UnsupportedSourceError for a picture that is too large to be taken for a camera's."""
    if width * height > MAX_PIXELS:
        raise UnsupportedSourceError(
            f"its pictures are {width}x{height}; at most {MAX_PIXELS} pixels are read: choose a smaller size there"
        )
