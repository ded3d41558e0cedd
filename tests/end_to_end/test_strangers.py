"""A whole vidpipe with few descriptors and strangers at all its doors: cameras come back, and subscribers hear on."""

import http.client
import socket
import subprocess
import threading
import time
from contextlib import closing, suppress

import psutil
import pytest
from processes import VIDPIPE, environment, free_port, write_config

from pipeline.stream.messages import Status
from pipeline.stream.subscriber import Subscriber

DESCRIPTORS = 256
CAMERAS = ("camera0", "camera1", "camera2")


def crowd(ports, over):
    """Connect on and on, say nothing, and stay as long as one is let."""
    held = []
    while not over.is_set():
        for port in ports:
            with suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", port), timeout=0.2))
        if len(held) > 3000:
            held.pop(0).close()
    for each in held:
        each.close()


@pytest.mark.slow
def test_a_camera_comes_back_while_strangers_take_what_connections_there_are(tmp_path):
    metrics = free_port()
    config, address = write_config(
        tmp_path,
        {camera: f"scene://?seed={number}&fps=15" for number, camera in enumerate(CAMERAS)},
        state={"folder": str(tmp_path / "state")},
        metrics={"bind": f"127.0.0.1:{metrics}"},
        publish={"replay": (replay := f"tcp://127.0.0.1:{free_port()}")},
    )
    command = [VIDPIPE, "run", "--config", str(config), "--quiet"]
    child = subprocess.Popen(
        ["bash", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "bash", *command],
        cwd=tmp_path,
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    over = threading.Event()
    ports = [int(each.rpartition(":")[2]) for each in (address, replay, str(metrics))]
    thread = threading.Thread(target=crowd, args=(ports, over))
    try:
        with Subscriber(address, kinds=["clip", "status"]) as subscriber:

            def wait_for(condition, limit_s=60.0):
                deadline_s = time.monotonic() + limit_s
                while True:
                    message = subscriber.receive(1.0)
                    if isinstance(message, Status) and condition(message):
                        return message
                    assert time.monotonic() < deadline_s

            before = wait_for(lambda status: status.state == "running").counts.connections
            thread.start()
            alarm = wait_for(lambda status: status.alarms).alarms[0]
            assert "connections are ended, since all of" in alarm
            for victim in psutil.Process(child.pid).children():
                victim.kill()
            for camera in CAMERAS:
                wait_for(
                    lambda s, name=camera: (s.camera, s.state) == (name, "running") and s.counts.connections > before
                )
            assert psutil.Process(child.pid).num_fds() < DESCRIPTORS - 40
            with closing(http.client.HTTPConnection("127.0.0.1", metrics, timeout=10)) as connection:
                connection.request("GET", "/readyz")
                assert connection.getresponse().status == 200
            assert subscriber.missed == 0
    finally:
        over.set()
        thread.join()
        child.terminate()
        errors = child.communicate(timeout=20)[1]
    assert child.returncode == 0
    assert errors.count("connections are ended") == 1
    assert "Traceback" not in errors
