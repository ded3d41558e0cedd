"""Real H.264 over RTSP from servers that we did not write, to a subscriber in another process."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import msgspec
import pytest
import zmq
from capturing import plan, read
from processes import free_port, running, write_config
from videos import FPS, write_video

from pipeline.capture.fleet import Fleet
from pipeline.capture.supervisor import CameraState
from pipeline.stream.messages import Prediction
from pipeline.stream.subscriber import Subscriber

FRAMES = 8 * FPS


@pytest.fixture
def aio_server(tmp_path: Path) -> Iterator[str]:
    """aio-rtsp-toolkit: RTP in the RTSP connection (TCP), from frame 0 for each client."""
    media = tmp_path / "media"
    media.mkdir()
    write_video(media / "numbers.mp4", FRAMES, width=640, height=360)
    port = free_port()
    command = [str(Path(sys.executable).with_name("rtsp-server")), "--dir", str(media), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--control-port", str(free_port())]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"rtsp://127.0.0.1:{port}/numbers.mp4"
    server.terminate()
    server.wait(10)


@pytest.fixture
def rs_server(tmp_path: Path) -> Iterator[str]:
    """rtsp-rs: RTP over UDP; frames are pushed at their pace, round and round."""
    rtsp = pytest.importorskip("rtsp")
    with av.open(str(write_video(tmp_path / "numbers.h264", FRAMES, width=640, height=360))) as container:
        units = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    port = free_port()
    server = rtsp.Server(f"127.0.0.1:{port}")
    server.start()
    done = threading.Event()

    def push() -> None:
        number = 0
        while not done.wait(1 / FPS):
            server.send_frame(units[number % len(units)], 90000 // FPS)
            number += 1

    thread = threading.Thread(target=push)
    thread.start()
    yield f"rtsp://127.0.0.1:{port}/stream"
    done.set()
    thread.join()
    server.stop()


def test_over_tcp_no_frame_is_lost_doubled_or_reordered(aio_server):
    with Fleet([plan("a", aio_server)]) as fleet:
        log = read(fleet, lambda logs: fleet.cameras["a"].state is CameraState.BACKOFF and logs["a"].numbers != [])["a"]
        counts = fleet.cameras["a"].ring.counts()
    assert log.numbers[-1] == FRAMES - 1
    # RTSP starts with two frames of one and the same time; the sampler takes one of them
    assert log.numbers in ([*range(FRAMES)], [0, *range(2, FRAMES)], [*range(1, FRAMES)])
    assert sum(h.dropped for h in log.headers) == counts.thinned + counts.overrun == 0


def test_over_udp_every_missing_frame_is_noticed(rs_server):
    with Fleet([plan("a", rs_server, transport="udp")]) as fleet:
        log = read(fleet, lambda logs: len(logs["a"].numbers) >= 60)["a"]
        counts = fleet.cameras["a"].ring.counts()
    steps = [(b - a) % FRAMES for a, b in itertools.pairwise(log.numbers[2:])]
    assert steps == [1] * len(steps)
    assert counts.grabbed >= len(log.numbers)


def hear(address: str, count: int) -> list[Prediction]:
    with Subscriber(address, cameras=["cam"]) as subscriber:
        heard = [subscriber.receive(30.0) for _ in range(count)]
        assert subscriber.missed == 0
    return [message for message in heard if isinstance(message, Prediction)]


def test_from_an_rtsp_camera_over_tcp_to_our_client_and_to_a_bare_socket(aio_server, tmp_path):
    config, address = write_config(tmp_path, {"cam": aio_server})
    with zmq.Context() as context:
        bare = context.socket(zmq.SUB)
        bare.setsockopt(zmq.SUBSCRIBE, b"vidpipe/1/cam/clip/")
        bare.connect(address)
        with running("run", "--config", config, folder=tmp_path):
            clips = hear(address, 3)
            received = []
            while bare.poll(2000 if received else 20000) and len(received) < 4:
                received.append(bare.recv_multipart())
        bare.close(linger=0)
    check(clips, lossless=True)
    bodies = [msgspec.msgpack.decode(body) for _, body in received]
    assert {topic for topic, _ in received} == {b"vidpipe/1/cam/clip/"}
    assert [body["seq"] for body in bodies] == list(range(bodies[0]["seq"], bodies[0]["seq"] + len(bodies)))
    assert all(body["schema"] == "vidpipe.clip/1" and body["camera"] == "cam" for body in bodies)


def test_from_an_rtsp_camera_over_udp_to_our_client(rs_server, tmp_path):
    config, address = write_config(tmp_path, {"cam": {"source": rs_server, "transport": "udp"}})
    with running("run", "--config", config, folder=tmp_path):
        check(hear(address, 3), lossless=False)


def check(clips: list[Prediction], *, lossless: bool) -> None:
    assert len(clips) == 3
    assert [b.clip.index - a.clip.index for a, b in itertools.pairwise(clips)] == [1, 1]
    assert all(clip.clip.end - clip.clip.start == pytest.approx(2.0) for clip in clips)
    assert len({clip.session for clip in clips}) == 1
    assert all(clip.clip.coverage == pytest.approx(clip.clip.frames / 10) for clip in clips)
    if lossless:
        # a busy machine may thin the stream; what it drops it says
        assert all(abs(clip.clip.frames + clip.clip.dropped - 10) <= clip.clip.dropped for clip in clips)
        assert not any(clip.damaged for clip in clips)
    assert all(0 < clip.published_at - clip.captured_at < 5e9 for clip in clips)
    assert set(clips[0].latency) == {"capture", "queue", "encode", "step", "total"}


def _gst_python() -> str | None:
    code = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    python = shutil.which("python3", path="/usr/bin")
    found = python and subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
    return python if found else None


GST_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0"); gi.require_version("GstRtsp", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer.new(); server.set_address("127.0.0.1"); server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory.new()
source = f"filesrc location={sys.argv[2]} ! qtdemux"
factory.set_launch(f"( {source} ! h264parse config-interval=-1 ! rtph264pay name=pay0 )")
auth = GstRtspServer.RTSPAuth.new(); auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
token = GstRtspServer.RTSPToken(); token.set_string("media.factory.role", "user")
auth.add_digest("cam", "s3cret", token); server.set_auth(auth)
role = Gst.Structure.from_string("user,media.factory.access=true,media.factory.construct=true")[0]
factory.add_role_from_structure(role)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None); print("ready", flush=True)
GLib.MainLoop().run()
"""


@pytest.mark.skipif(_gst_python() is None, reason="Debian's gst-rtsp-server packages are not installed")
@pytest.mark.parametrize(("password", "state"), [("s3cret", CameraState.RUNNING), ("wrong", CameraState.AUTH_FAILED)])
def test_digest_credentials_of_gst_rtsp_server(tmp_path, password, state):
    video = write_video(tmp_path / "numbers.mp4", FRAMES)
    port = free_port()
    command = [str(_gst_python()), "-c", GST_SERVER, str(port), str(video)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        with Fleet([plan("a", f"rtsp://cam:{password}@127.0.0.1:{port}/cam")]) as fleet:
            camera = fleet.cameras["a"]
            logs = read(
                fleet,
                lambda logs: (
                    camera.state is state and (state is not CameraState.RUNNING or len(logs["a"].numbers) > 30)
                ),
            )
            assert password not in camera.detail
        server.terminate()
    numbers = logs["a"].numbers[2:]
    assert (
        numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else state is CameraState.AUTH_FAILED
    )
