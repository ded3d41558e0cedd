"""An RTSP camera of our own: serves the test scene, pictures or a video file as H.264, for trials and tests."""

from pipeline.fakecam.camera import StartMode
from pipeline.fakecam.media import Encoding, Media, Playback, StreamFormat
from pipeline.fakecam.server import Counters, FakeCamera, FakeCameraServer
from pipeline.fakecam.sources import open_media

__all__ = [
    "Counters",
    "Encoding",
    "FakeCamera",
    "FakeCameraServer",
    "Media",
    "Playback",
    "StartMode",
    "StreamFormat",
    "open_media",
]
