"""An RTSP camera of our own: serves the test scene, pictures or a video file as H.264, with faults on command."""

from pipeline.fakecam.camera import StartMode
from pipeline.fakecam.history import Counters, Event
from pipeline.fakecam.media import Encoding, Media, Playback, StreamFormat
from pipeline.fakecam.server import FakeCamera, FakeCameraServer
from pipeline.fakecam.sources import open_media

__all__ = [
    "Counters",
    "Encoding",
    "Event",
    "FakeCamera",
    "FakeCameraServer",
    "Media",
    "Playback",
    "StartMode",
    "StreamFormat",
    "open_media",
]
