"""Streams, names and capture processes that mean harm: they cost their own camera, and nothing else."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from capturing import plan
from damaged import write_bomb, write_damaged
from videos import write_video

from engines.errors import SourceError
from pipeline.capture import process
from pipeline.capture.bell import Bell
from pipeline.capture.confinement import MEMORY_BYTES, environment
from pipeline.capture.fleet import Fleet
from pipeline.capture.frames import open_source
from pipeline.capture.process import CaptureProcess
from pipeline.capture.protocol import Ended, Order, Running
from pipeline.capture.supervisor import CameraState, CapturePlan

CAPTURES = ("opencv", "pyav")
BOTH = pytest.mark.parametrize("capture", CAPTURES)
ROOT = Path(__file__).parents[2]


def drain(*plans: CapturePlan) -> Fleet:
    """Read files to their ends, beside a camera that must not notice, and with no more memory than is allowed.

    The fleet is closed; each camera has its last counters as `final`.
    """
    with Fleet([*plans, plan("other", "scene://?fps=60", 60.0)]) as fleet:
        before = 0
        while not all(camera.over for name, camera in fleet.cameras.items() if name != "other") or before < 5:
            fleet.wait(1.0)
            before = max(before, fleet.cameras["other"].ring.counts().grabbed)
            for camera in fleet.cameras.values():
                assert peak_bytes(camera.process) < MEMORY_BYTES
                while camera.ring.backlog:
                    camera.ring.skip()
                    camera.free_slot()
        other = fleet.cameras["other"]
        assert (other.state, other.connections) == (CameraState.RUNNING, 1)
        for each in plans:
            camera = fleet.cameras[each.name]
            assert camera.state in (CameraState.FINISHED, CameraState.FAILED), camera.detail
            camera.final = camera.ring.counts()
    return fleet


def peak_bytes(child: CaptureProcess | None) -> int:
    """The most memory that a process had at once, 0 for one that is gone."""
    try:
        status = Path(f"/proc/{child.pid}/status").read_text() if child else ""
    except FileNotFoundError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 if "VmHWM:" in status else 0


def damage(folder: Path, units: int, seed: int) -> dict[str, int]:
    """So many damaged units through both back ends at once, which make the same of them; what each calls damaged."""
    video = write_damaged(folder / f"damaged{seed}.h264", units, seed)
    fleet = drain(*(plan(capture, str(video), capture=capture) for capture in CAPTURES))
    grabbed = {fleet.cameras[capture].final.grabbed for capture in CAPTURES}
    assert len(grabbed) == 1
    assert min(grabbed) > units // 4
    return {capture: fleet.cameras[capture].final.damaged for capture in CAPTURES}


def test_damaged_access_units_are_counted_and_cost_no_other_camera(tmp_path):
    damaged = damage(tmp_path, 200, seed=1)
    assert min(damaged.values()) > 50, damaged


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_damaged_access_units(tmp_path):
    damaged = [damage(tmp_path, 500, seed) for seed in range(20)]
    for capture in CAPTURES:
        assert sum(each[capture] for each in damaged) > 4000


@pytest.mark.slow
@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "avi", "flv"])
def test_damaged_containers_end_as_well_and_alike(tmp_path, container):
    whole = write_video(tmp_path / f"whole.{container}", 60, width=160, height=128).read_bytes()
    plans = []
    for seed, every in enumerate((2000, 300, 50, 20)):
        rng, data = random.Random(seed), bytearray(whole)
        for _ in range(len(data) // every):
            data[rng.randrange(300, len(data))] = rng.randrange(256)
        file = tmp_path / f"{seed}.{container}"
        file.write_bytes(data)
        plans += [plan(f"{capture}{seed}", str(file), capture=capture) for capture in CAPTURES]
    fleet = drain(*plans)
    for seed in range(4):
        opencv, pyav = (fleet.cameras[f"{capture}{seed}"] for capture in CAPTURES)
        assert opencv.final.grabbed == pyav.final.grabbed, (opencv.detail, pyav.detail)
        assert "process" not in opencv.detail + pyav.detail


@pytest.mark.slow
def test_pictures_that_would_fill_the_memory_end_their_capture(tmp_path):
    first, later = write_bomb(tmp_path / "first.h264", 1000), write_bomb(tmp_path / "later.h264", 1000, after=15)
    files = {"first": first, "later": later}
    fleet = drain(
        *(plan(f"{c}-{name}", str(path), capture=c, stall_s=5.0) for c in CAPTURES for name, path in files.items())
    )
    for name in ("opencv-first", "opencv-later", "pyav-first"):
        assert "its pictures are 16000x16000; at most 67108864 pixels are read" in fleet.cameras[name].detail
    assert fleet.cameras["pyav-later"].final.damaged > 0
    assert fleet.cameras["opencv-later"].final.grabbed >= 15


def test_a_capture_process_knows_nothing_of_other_cameras(monkeypatch):
    monkeypatch.setenv("OTHER_CAMERA_PASSWORD", "Kanarienvogel")
    monkeypatch.setenv("http_proxy", "http://user:Kanarienvogel@proxy")
    assert "Kanarienvogel" not in str(environment())
    with Fleet([plan("a", "scene://")]) as fleet:
        fleet.wait(1.0)
        seen = Path(f"/proc/{fleet.cameras['a'].process.pid}")
        assert b"Kanari" not in (seen / "cmdline").read_bytes()
        if not os.access(seen / "environ", os.R_OK):
            pytest.skip("only root may look at a process that is not dumpable")
        assert b"PYTHONPATH" in (seen / "environ").read_bytes()
        assert b"Kanari" not in (seen / "environ").read_bytes()


@pytest.mark.parametrize(("deed", "expected"), [("", "open"), ("hide()", "closed")])
def test_a_parent_that_hides_keeps_its_environment_from_its_children(deed, expected):
    """Else what is left out of a capture process's environment stands open in its parent's."""
    code = f"""
import ctypes, os
from pipeline.capture.confinement import hide
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as after an ordinary start
{deed}
if os.fork():
    os.wait()
else:
    try:
        open(f"/proc/{{os.getppid()}}/environ").close()
        print("open")
    except PermissionError:
        print("closed")
"""
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True, check=True).stdout
    assert said.split() == [expected]


def test_a_confined_process_can_do_little(tmp_path):
    code = """
import ctypes, os, resource, sys
from pipeline.capture.confinement import confine
confine()
libc = ctypes.CDLL(None)
print(libc.prctl(39, 0, 0, 0, 0), libc.prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
try:
    bytearray(2 << 30)
except MemoryError:
    print("memory is bounded")
try:
    file = open(sys.argv[1], "wb", buffering=0)
    file.write(b"x")
except OSError:
    print("files are read only")
opened = []
try:
    while True:
        opened.append(os.dup(0))
except OSError:
    print("files are few", len(opened) < 64)
"""
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path / "written")]
    said = subprocess.run(command, env=here, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["1 0 (0, 0)", "memory is bounded", "files are read only", "files are few True"]
    assert (tmp_path / "written").read_bytes() == b""


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        ("s.send(b'nonsense')", "the capture process says what makes no sense"),
        ("s.send(bytes(70000))", "the capture process says what makes no sense"),
        ("os.kill(os.getpid(), 40)", "the capture process was ended by signal 40"),
        ("s.send(b'\\x82\\xa4type\\xa5ended\\xa6detail\\xa0')", "the capture process says what makes no sense"),
    ],
    ids=["nonsense", "far too long", "a signal without a name", "half a truth"],
)
def test_a_capture_process_gone_mad_is_ended_and_no_more(monkeypatch, deed, expected):
    assert [ended.detail for ended in _mad(monkeypatch, deed)] == [expected]


def test_what_nobody_foresaw_in_a_capture_process_is_told_by_its_parent_without_the_password(monkeypatch):
    boot = "from pipeline.capture import worker\nworker.Connection = lambda order, link: open(order.address)\n"
    monkeypatch.setattr(process, "_BOOT", boot + "worker.main({fd})")
    assert [ended.detail for ended in _news("rtsp://cam:Kanari@host/x")] == [
        "the capture process ended with code 1: FileNotFoundError: [Errno 2] No such file or directory: "
        "'rtsp://***@host/x'"
    ]


def test_a_flood_of_news_does_not_keep_its_parent(monkeypatch):
    news = _mad(monkeypatch, "s.settimeout(5)\nwhile True: s.send(b'\\x81\\xa4type\\xa7running')")
    assert len(news) == process._MOST_NEWS
    assert set(map(type, news)) == {Running}


def test_a_capture_process_cannot_make_its_parent_wait_for_it(monkeypatch):
    """It makes all that it was given block, fills what can be filled, empties the rest, and leaves a child with it."""
    boot = """
import os, socket
from pipeline.capture.protocol import Ended, EndReason, Running, decode_order, encode
s = socket.socket(fileno={fd})
order = decode_order(s.recv(65536))
try:
    while True: os.write(order.rope_fd, bytes(4096))
except BlockingIOError: pass
for fd in (order.rope_fd, order.log_fd, 1, s.fileno()): os.set_blocking(fd, True)
if os.fork():
    s.send(encode(Running()))
    s.recv(65536)
    os._exit(3)
s.close()
while True: os.read(order.log_fd, 65536)
"""
    monkeypatch.setattr(process, "_BOOT", boot)
    done = threading.Event()

    def be_a_parent() -> None:
        with Fleet([plan("a", "scene://")]) as fleet:
            camera = fleet.cameras["a"]
            while camera.state is not CameraState.RUNNING:
                fleet.wait(1.0)
            for _ in range(20_000):
                fleet.wake()
            fleet.wait(0.0)
            camera.process._link.send_bytes(b"leave")
            while camera.state is CameraState.RUNNING:
                fleet.wait(1.0)
            assert camera.reason == "the capture process ended with code 3"
            done.set()

    threading.Thread(target=be_a_parent, daemon=True).start()
    assert done.wait(20.0)


def _mad(monkeypatch, deed: str) -> list:
    """What a process that does this instead of capturing says at once: its end, or as much as is listened to."""
    boot = f"import os, socket\ns = socket.socket(fileno={{fd}})\ns.recv(65536)\n{deed}\n"
    monkeypatch.setattr(process, "_BOOT", boot)
    return _news("a.mp4")


def _news(address: str) -> list:
    ring = os.memfd_create("ring")
    bell = Bell()
    child = CaptureProcess(order(address), ring, bell.rope_fd)
    try:
        news: list = []
        while not (news and isinstance(news[-1], Ended)) and len(news) < process._MOST_NEWS:
            assert child._link.poll(10.0), "it said nothing"
            news = list(child.news())
        return news
    finally:
        child.end(0.0)
        bell.close()
        os.close(ring)


def order(address: str, kind: str = "file", log_fd: int = -1, capture: str = "opencv") -> Order:
    sizes = {"slots": 2, "height": 2, "width": 2, "rate_hz": 1.0, "open_timeout_ms": 3000, "read_timeout_ms": 1000}
    return Order(kind, address, ring_fd=-1, log_fd=log_fd, rope_fd=-1, capture=capture, **sizes)


@contextmanager
def opened(address: str, kind: str, capture: str) -> Iterator[object]:
    log_in, log_out = os.pipe()
    try:
        source = open_source(order(address, kind, log_in, capture))
        try:
            yield source
        finally:
            source.release()
    finally:
        os.close(log_in)
        os.close(log_out)


@BOTH
@pytest.mark.parametrize(
    "name",
    [
        "concat:{0}|{0}",
        "subfile,,start,0,end,0,,:{0}",
        "data:video/h264;base64,AAA=",
        "pipe:0",
        "list.txt",
        "a.m3u8",
    ],
)
def test_a_file_s_name_or_text_cannot_make_ffmpeg_open_something_else(tmp_path, monkeypatch, capture, name):
    monkeypatch.chdir(tmp_path)
    video = write_video(tmp_path / "video.ts", 3)
    (tmp_path / "list.txt").write_text("ffconcat version 1.0\nfile video.ts\n")
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nvideo.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(SourceError), opened(name.format(video), "file", capture):
        pass


@BOTH
def test_a_file_s_name_may_hold_a_colon(tmp_path, monkeypatch, capture):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "door.mp4", 3).rename(tmp_path / "concat:door.mp4")
    with opened("concat:door.mp4", "file", capture) as source:
        assert source.grab()


@BOTH
@pytest.mark.parametrize("where", ["file://{video}", "secret.ts", "tcp://127.0.0.1:{port}"])
@pytest.mark.parametrize("how", ["playlist", "redirect"])
def test_a_server_cannot_send_ffmpeg_elsewhere(tmp_path, capture, where, how):
    """A playlist leads nowhere at all; a redirect leads to HTTP only."""
    video = write_video(tmp_path / "video.ts", 3)
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0)
        target = where.format(video=video, port=other.getsockname()[1])
        with web(how, target) as (url, asked):
            with pytest.raises(SourceError), opened(url, "http", capture):
                pass
            assert set(asked) <= {"/live"} | ({"/secret.ts"} if how == "redirect" else set())
        with pytest.raises(BlockingIOError):
            other.accept()


@contextmanager
def web(how: str, target: str) -> Iterator[tuple[str, list[str]]]:
    """A server that answers with a playlist or a redirect, and what it was asked for."""
    asked: list[str] = []
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode()

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path != "/live":
                self.send_error(404)
            elif how == "redirect":
                self.send_response(302)
                self.send_header("Location", target)
                self.end_headers()
            else:
                self.send_response(200)
                self.send_header("Content-Type", "application/vnd.apple.mpegurl")
                self.send_header("Content-Length", str(len(playlist)))
                self.end_headers()
                self.wfile.write(playlist)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
