"""The session description of a camera, as its faults make it."""

from __future__ import annotations

from pipeline.fakecam.board import View
from pipeline.fakecam.camera import Camera
from pipeline.fakecam.faults import Codec, NoVideo
from pipeline.rtsp.sdp import format_sdp


def describe(camera: Camera, view: View, host: str) -> str:
    """The SDP text that answers DESCRIBE at the address `host`."""
    picture = camera.format
    text = format_sdp(
        host=host,
        title=camera.path,
        sps=picture.sps,
        pps=picture.pps,
        frame_rate=picture.frame_rate,
        ends_s=camera.media.duration_s if camera.lossless else None,
    )
    if view.find(NoVideo):
        return text.partition("m=video")[0] + "m=audio 0 RTP/AVP 0\r\na=control:track1\r\n"
    if codec := view.find(Codec):
        lines = [line for line in text.split("\r\n") if not line.startswith("a=fmtp:")]
        return "\r\n".join(lines).replace(" H264/", f" {codec.name}/")
    return text
