"""OpenVINO tells nobody that it is used: its package would send an event over the network when it is imported."""

import os
import subprocess
import sys

CODE = """
import socket, sys
def refuse(*_):
    raise SystemExit("a connection was tried")
socket.socket.connect = socket.getaddrinfo = refuse
import engines.vino
print(sorted(name for name in sys.modules if "telemetry" in name and sys.modules[name] is not None))
"""


def test_importing_the_back_end_sends_nothing_and_leaves_no_file(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment.pop("CI", None)
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    stub = "openvino.tools.ovc.telemetry_stub"
    assert "openvino_telemetry" not in done.stdout
    assert stub in done.stdout, "the stub that OpenVINO brings stands in"
    assert list(tmp_path.iterdir()) == [], "no id by which this machine would be known"
