"""Whatever is wrong, a user reads one clear sentence and the command exits with a status: one table, no traceback."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from processes import free_port, vidpipe, write_config
from videos import FPS, pictures, write_audio, write_changing_size, write_truncated, write_video

import engines
from pipeline.fakecam import Encoding, FakeCamera
from pipeline.fakecam.pictures import PictureMedia
from pipeline.rtsp.auth import Credentials, Guard

SCENE = Path(engines.__file__).parent / "bundles" / "scene"
SECRET = "c4nary-p4ss"


@dataclass(frozen=True)
class Case:
    """What is wrong (`prepare` returns the command's arguments), and what the user must read."""

    name: str
    prepare: Callable[[Path], list[object]]
    says: str


def run_config(text: str, *options: str) -> Callable[[Path], list[object]]:
    def prepare(folder: Path) -> list[object]:
        any_port = "\npublish: {bind: 'tcp://127.0.0.1:*'}" if text.endswith("}}") else ""
        (folder / "vidpipe.yaml").write_text(text + any_port)
        return ["run", *options]

    return prepare


def run_source(make: Callable[[Path], object]) -> Callable[[Path], list[object]]:
    def prepare(folder: Path) -> list[object]:
        write_config(folder, {"cam": str(make(folder))})
        return ["run", "--duration", 30]

    return prepare


def check_source(address: str) -> Callable[[Path], list[object]]:
    def prepare(folder: Path) -> list[object]:
        write_config(folder, {"cam": {"source": address, "open_timeout_s": 2.0}})
        return ["check", "cam"]

    return prepare


def run_bundle(damage: Callable[[Path], None]) -> Callable[[Path], list[object]]:
    def prepare(folder: Path) -> list[object]:
        bundle = folder / "bundle"
        shutil.copytree(SCENE, bundle)
        damage(bundle)
        write_config(folder, {"cam": {"source": "scene://", "model": str(bundle)}})
        return ["run"]

    return prepare


def flip_a_byte(bundle: Path) -> None:
    data = bytearray((bundle / "temporal.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "temporal.onnx").write_bytes(bytes(data))


def contradict(**changes: object) -> Callable[[Path], None]:
    def damage(bundle: Path) -> None:
        manifest = yaml.safe_load((bundle / "manifest.yaml").read_text())
        manifest.update(changes)
        (bundle / "manifest.yaml").write_text(yaml.safe_dump(manifest))

    return damage


def empty(folder: Path) -> Path:
    (folder / "zero.mp4").touch()
    return folder / "zero.mp4"


CASES = [
    Case("missing config", lambda _: ["run", "--config", "none.yaml"], "none.yaml does not exist: vidpipe init"),
    Case("broken config", run_config("cameras: [\n"), "vidpipe.yaml is no valid YAML in line 2"),
    Case(
        "unknown key", run_config("cameras: {cam: {sorce: 0}}"), "cameras.cam.sorce: unknown key, did you mean source?"
    ),
    Case(
        "wrong type", run_config("cameras: {cam: {source: 0, fps: fast}}"), "cameras.cam.fps: is 'fast'; input should"
    ),
    Case("unknown camera", lambda _: ["run", "camera1"], "there is no camera camera1, did you mean camera0?"),
    Case("unknown back end", run_config("cameras: {cam: {source: 'scene://'}}", "--backend", "cuda"), "cuda"),
    Case("scene option", run_source(lambda _: "scene://?sed=1"), "scene:// has no option 'sed'"),
    Case("fps above the model's", run_config("cameras: {cam: {source: 'scene://', fps: 50}}"), "leave fps out, or set"),
    Case("no such file", run_source(lambda folder: folder / "none.mp4"), "none.mp4: no such file"),
    Case("zero bytes", run_source(empty), "empty"),
    Case("audio only", run_source(lambda folder: write_audio(folder / "sound.mp4")), "no video"),
    Case("truncated", run_source(lambda folder: write_truncated(folder / "cut.mp4")), "cut off or damaged"),
    Case("unreachable host", check_source("rtsp://127.0.0.1:9/x"), "refuses the connection"),
    Case("unknown host", check_source("rtsp://no-such-host.invalid/x"), "no-such-host.invalid"),
    Case("missing model", run_config("cameras: {cam: {source: 'scene://', model: scenne}}"), "scenne"),
    Case("flipped byte", run_bundle(flip_a_byte), "temporal.onnx"),
    Case("missing model file", run_bundle(lambda bundle: (bundle / "encoder.onnx").unlink()), "encoder.onnx"),
    Case(
        "contradicting labels",
        run_bundle(contradict(labels=["a", "b"], events={})),
        "manifest.yaml says prob float32 [N, 2]",
    ),
    Case("contradicting state", run_bundle(contradict(state=[])), "state"),
    Case("no manifest", run_bundle(lambda bundle: (bundle / "manifest.yaml").unlink()), "manifest.yaml"),
    Case("watch nothing", lambda _: ["watch", "--timeout", 0.5], "no clip came from tcp://127.0.0.1:5555"),
    Case("init over a file", lambda folder: ["init", write_config(folder, {"a": 0})[0]], "is there already"),
    Case("train nothing", lambda _: ["train", "none.yaml"], "none.yaml"),
    Case("verify nothing", lambda _: ["verify", "nothing"], "nothing"),
    Case("serve nothing", lambda _: ["fakecam", "none.mp4", "--port", 0], "none.mp4"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_sentence_and_a_status(case, tmp_path):
    result = vidpipe(*case.prepare(tmp_path), folder=tmp_path)
    assert result.returncode in (1, 2), result.stdout + result.stderr
    told = result.stdout + result.stderr
    assert case.says in told
    assert "Traceback" not in told
    assert len(result.stderr.strip().splitlines()) <= 3, result.stderr


def test_a_port_in_use(tmp_path):
    config, address = write_config(tmp_path, {"cam": "scene://"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(address.rsplit(":", 1)[1])))
        taken.listen()
        result = vidpipe("run", "--config", config, folder=tmp_path)
    assert result.returncode == 1
    told = f"vidpipe: publish.bind {address} is already in use: stop the other program or choose another port\n"
    assert result.stderr == told


@contextmanager
def web_page() -> Iterator[str]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/page" else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://cam:{SECRET}@127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "says"), [("/page", "sends a page at /page, no video"), ("/none", "has nothing at /none")]
)
def test_a_url_that_is_no_video(tmp_path, path, says):
    with web_page() as url:
        result = vidpipe(*check_source(url + path)(tmp_path), folder=tmp_path)
    assert result.returncode == 1
    assert says in result.stderr
    assert SECRET not in result.stdout + result.stderr


def test_a_wrong_password(tmp_path):
    numbered = list(pictures(30, 320, 240))
    media = PictureMedia(lambda: lambda number: numbered[number % 30], Encoding(320, 240, FPS))
    with FakeCamera(media, guard=Guard(Credentials("cam", "right"))) as camera:
        address = camera.url.replace("rtsp://", f"rtsp://cam:{SECRET}@")
        result = vidpipe(*check_source(address)(tmp_path), folder=tmp_path)
    assert result.returncode == 1
    assert "password" in result.stderr
    assert SECRET not in result.stdout + result.stderr


def test_a_silent_host_costs_no_more_than_its_timeout(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        result = vidpipe(*check_source(address)(tmp_path), folder=tmp_path)
    assert result.returncode == 1
    assert "cam: " in result.stderr


def test_a_picture_that_changes_size_resets_the_memory_and_says_so(tmp_path):
    config, _ = write_config(tmp_path, {"cam": write_changing_size(tmp_path / "changing.h264", 100)})
    result = vidpipe("run", "--config", config, "--json", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert '"reset_reason":"resolution_change"' in result.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_cache_folder_that_cannot_be_written_costs_nothing_but_itself(tmp_path):
    config, _ = write_config(tmp_path, {"cam": write_video(tmp_path / "a.mp4", 45)})
    blocked = tmp_path / "file"
    blocked.touch()
    more = {"XDG_CACHE_HOME": str(blocked), "XDG_STATE_HOME": str(blocked)}
    result = vidpipe("run", "--config", config, "--json", folder=tmp_path, **more)
    assert result.returncode == 0
    assert "vidpipe.clip/1" in result.stdout
    assert "cannot be written" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_port_of_a_fake_camera_in_use(tmp_path):
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        result = vidpipe("fakecam", "--port", port, folder=tmp_path)
    assert result.returncode == 1
    assert str(port) in result.stderr
    assert "Traceback" not in result.stderr
