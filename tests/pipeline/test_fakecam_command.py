"""`vidpipe fakecam` as a user types it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from certificates import write_authority
from rtsp_client import RtspClient
from videos import write_video

from pipeline.capture.probe import probe
from pipeline.capture.tls import Trust

RUN = """
import sys, typer
from engines.errors import VidpipeError
from pipeline.cli.fakecam import fakecam
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(fakecam)
try:
    app()
except VidpipeError as error:
    sys.exit(f"vidpipe: {error}")
"""
SMALL = ("--size", "64x48", "--port", "0")


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", RUN, *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def refused(*arguments: str, **environment: str) -> str:
    with running(*arguments, **environment) as process:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 1
    assert "Traceback" not in errors
    return errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_until_a_signal_ends_it(number: int) -> None:
    with running("scene://?seed=3", "--cameras", "2", "--json", *SMALL) as process:
        cameras = json.loads(process.stdout.readline())["cameras"]
        assert [one["path"] for one in cameras] == ["camera0", "camera1"]
        assert (cameras[0]["width"], cameras[0]["height"], cameras[0]["fps"]) == (64, 48, 15.0)
        with RtspClient(cameras[1]["url"]) as client:
            client.play()
            assert client.pictures(3)[0].idr
            process.send_signal(number)
            assert client.at_end()
        _, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")


def test_says_how_to_point_vidpipe_at_it_without_the_password() -> None:
    arguments = ("--user", "admin", "--password-env", "CAM_PW", "--auth", "basic", "--path", "hall/door", *SMALL)
    with running(*arguments, CAM_PW="Kanari") as process:
        lines = [process.stdout.readline() for _ in range(6)]
        url = lines[1].strip()
        assert "source: 'rtsp://admin:${CAM_PW}@127.0.0.1:" in lines[4]
        assert "Kanari" not in "".join(lines) + Path(f"/proc/{process.pid}/cmdline").read_text()
        assert probe(url.replace("://", "://admin:Kanari@")).codec == "h264"


def test_faults_are_scheduled_typed_and_cleared() -> None:
    with running("--cameras", "2", "--fault", "camera0 hang DESCRIBE", "--json", *SMALL) as process:

        def typed(line: str) -> dict[str, object]:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        urls = [one["url"] for one in json.loads(process.stdout.readline())["cameras"]]
        with RtspClient(urls[0]) as hung, RtspClient(urls[1]) as client:
            hung.send("DESCRIBE")
            client.play()
            assert client.pictures(1)
            assert typed("camera1 stall 60")["order"] == {
                "fault": "stall",
                "camera": "camera1",
                "after_s": 0.0,
                "for_s": 60.0,
            }
            assert typed("status")["counters"]["viewers"] == 1
            assert client.quiet(0.2)
            assert hung.quiet(0.01)
            assert not typed("dance")["ok"]
            assert typed("clear")["text"] == "2 faults ended"
            assert hung.answer("DESCRIBE").status == 200
            assert client.pictures(1)
        process.stdin.close()  # faults come no more, pictures do
        with RtspClient(urls[1]) as client:
            client.play()
            assert client.pictures(1)
        process.send_signal(signal.SIGTERM)
        assert (process.wait(10), process.stderr.read()) == (0, "")


def test_passes_another_server_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        arguments = ("--proxy", f"127.0.0.1:{target.getsockname()[1]}", "--port", "0", "--fault", "garble 1")
        with running(*arguments) as process:
            host, port = process.stdout.readline().partition(" ")[0].split(":")
            with socket.create_connection((host, int(port)), 10) as client:
                served, _ = target.accept()
                with served:
                    client.sendall(b"hello")
                    assert served.recv(5, socket.MSG_WAITALL) not in (b"", b"hello")
                    process.stdin.write("cut\n")
                    process.stdin.flush()
                    assert process.stdout.readline() == "cut after=0 bytes how=reset once\n"
                    with pytest.raises(ConnectionResetError):
                        client.recv(1)
            process.send_signal(signal.SIGINT)
            assert (process.wait(10), process.stderr.read()) == (0, "")


def test_speaks_tls_with_a_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key, ca = (str(tmp_path / name) for name in ("cert.pem", "key.pem", "ca.pem"))
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    with running("--tls-cert", certificate, "--tls-key", key, "--json", *SMALL) as process:
        (camera,) = json.loads(process.stdout.readline())["cameras"]
        assert camera["url"].startswith("rtsps://127.0.0.1:")
        assert probe(camera["url"], trust=Trust(True, write_authority(authority, Path(ca)))).codec == "h264"


def test_ends_by_itself_after_its_duration(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", 15)
    with running(str(path), "--port", "0", "--duration", "0.2", "--no-loop", "--start", "on_connect") as process:
        output, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
    assert "320x240 at 15 frames/s" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.mp4",), "missing.mp4: no such file"),
        (("scene://?sed=1",), "should be scene://"),
        (("--size", "640"), "--size is '640'"),
        (("--size", "641x360"), "should be even"),
        (("--fps", "0"), "frame rate 0"),
        (("--path", "a b"), "--path is 'a b'"),
        (("--user", "admin"), "belong together"),
        (("--user", "admin", "--password-env", "NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE, which is not set"),
        (("--fault", "stal@10"), "'stal@10' names no fault; write"),
        (("--proxy", "8554"), "--proxy is '8554'; write"),
        (("--tls-cert", "no.pem", "--tls-key", "no.pem"), "cannot be used (No such file or directory)"),
        (("--host", "203.0.113.7"), "cannot listen at 203.0.113.7:8554"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(*arguments)


def test_taken_port_is_told_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port}: address already in use" in refused("--port", port)


def test_missing_pyav_is_told_in_a_sentence(tmp_path: Path) -> None:
    hidden = "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *r: None if n == 'av' else f(n, *r)"
    done = subprocess.run([sys.executable, "-c", hidden + RUN], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "pip install 'vidpipe[fakecam]'" in done.stderr
