"""Keys from the command line to a subscriber, with a pipeline that really runs."""

from __future__ import annotations

import time

import pytest
from processes import running, vidpipe, write_config

from pipeline.stream.messages import Prediction
from pipeline.stream.subscriber import Subscriber


@pytest.mark.slow
def test_a_client_hears_its_camera_until_it_is_revoked(tmp_path):
    cameras = {"camera0": "scene://", "camera1": "scene://"}
    config, address = write_config(tmp_path, cameras, publish={"keys": str(tmp_path / "keys")})

    def keys(*arguments: str) -> None:
        assert vidpipe("keys", *arguments, "--config", config, folder=tmp_path).returncode == 0

    refused = vidpipe("run", "--config", config, folder=tmp_path)
    assert refused.returncode == 1
    assert "vidpipe keys new NAME" in refused.stderr
    keys("new", "one", "--cameras", "camera1", "--out", str(tmp_path / "one"))
    keys("new", "two", "--out", str(tmp_path / "two"))
    with running("run", "--config", config, folder=tmp_path) as process:
        with (
            Subscriber(keys=tmp_path / "one", kinds=["clip", "status"], last=True) as one,
            Subscriber(keys=tmp_path / "two", kinds=["clip", "status"]) as two,
            Subscriber(address, kinds=["clip", "status"], repair=False) as nobody,
        ):
            clips = [message for message in (one.receive(20.0) for _ in range(12)) if isinstance(message, Prediction)]
            assert {message.camera for message in clips} == {"camera1"}
            assert two.receive(20.0) is not None
            keys("revoke", "two")
            revoked_s = time.monotonic()
            while two.receive(3.0) is not None:
                assert time.monotonic() - revoked_s < 10
            assert one.receive(20.0) is not None
            assert one.missed == 0
            assert nobody.receive(0.1) is None
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert "cut off" in errors
