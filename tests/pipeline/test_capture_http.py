"""Capture over HTTP: a camera's endless MJPEG stream is live, a video of known length is read like a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import barcode
import cv2
import numpy as np
import pytest
from capturing import plan, read
from videos import write_video

from pipeline.capture.fleet import Fleet
from pipeline.capture.supervisor import CameraState

FPS = 20
BOTH = pytest.mark.parametrize("capture", ["opencv", pytest.param("pyav", marks=pytest.mark.slow)])


@contextmanager
def web(video: Path | None = None) -> Iterator[str]:
    """`/cam` is an MJPEG stream of numbered pictures in real time, `/video.mp4` the file."""
    over = threading.Event()

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self._pictures() if self.path == "/cam" else self._file()

        def _file(self):
            data = video.read_bytes()
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _pictures(self):
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
            self.end_headers()
            number = 0
            while not over.wait(1 / FPS):
                _, jpeg = cv2.imencode(".jpg", barcode.draw(np.full((240, 320, 3), 90, np.uint8), number))
                head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                self.wfile.write(head + jpeg.tobytes() + b"\r\n")
                number += 1

        def handle(self):
            with suppress(ConnectionError):
                super().handle()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@BOTH
def test_an_mjpeg_camera_is_live_and_no_frame_is_lost(capture):
    with web() as url, Fleet([plan("a", f"{url}/cam", capture=capture)]) as fleet:
        log = read(fleet, lambda logs: len(logs["a"].numbers) > 40)["a"]
        grabbed = fleet.cameras["a"].ring.counts().grabbed
    assert log.numbers == sorted(set(log.numbers))
    assert grabbed > log.numbers[-1] - log.numbers[0]
    media_ns, arrival_ns = [[getattr(h, name) for h in log.headers] for name in ("media_ns", "monotonic_ns")]
    assert np.allclose(np.diff(media_ns), np.diff(arrival_ns), atol=1e6), "the stream has no times but these"


@BOTH
def test_a_video_behind_a_web_address_waits_for_its_reader(tmp_path, capture):
    video = write_video(tmp_path / "video.mp4", 150, movflags="faststart")
    with web(video) as url, Fleet([plan("a", f"{url}/video.mp4", slots=4, capture=capture)]) as fleet:
        log = read(fleet, lambda _: fleet.over and not fleet.cameras["a"].ring.backlog)["a"]
        assert fleet.cameras["a"].state is CameraState.FINISHED
    assert log.numbers == list(range(150))
