"""From a camera's settings to how it is read: what is refused before any process starts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from engines.errors import ConfigError, MissingExtraError
from pipeline import plan
from pipeline.config.schema import Camera

BUNDLE = SimpleNamespace(name="scene", manifest=SimpleNamespace(input=SimpleNamespace(fps=8.0, height=4, width=6)))


def planned(**settings):
    return plan.capture_plan("door", Camera.model_validate({"source": "rtsps://cam/1", **settings}), BUNDLE)


def test_settings_reach_the_capture_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").touch()
    made = planned(capture="pyav", transport="udp", tls={"verify": False, "ca_file": "ca.pem"}, fps=4)
    assert (made.capture, made.transport, made.tls_verify, made.rate_hz) == ("pyav", "udp", False, 4)
    assert made.ca_file == str(tmp_path / "ca.pem"), "whole, since a capture process need not stand where vidpipe does"
    assert (planned().capture, planned().tls_verify, planned().ca_file) == ("opencv", True, None)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fps": 9}, "cameras.door.fps is 9, but the model scene was made for 8"),
        ({"tls": {"ca_file": "none.pem"}}, "cameras.door.tls.ca_file: none.pem is no file"),
        ({"tls": {"ca_file": "a;b.pem"}}, "cameras.door.tls.ca_file: a;b.pem has ; or | in its name"),
        ({"capture": "pyav", "source": 0}, "cameras.door.capture is pyav, which reads no devices here"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, monkeypatch, settings, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a;b.pem").touch()
    with pytest.raises(ConfigError, match=words.replace("|", r"\|")):
        planned(**settings)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(plan, "find_spec", lambda name: None)
    assert planned().capture == "opencv"
    with pytest.raises(MissingExtraError, match=r"cameras.door.capture: pyav needs the package av.*vidpipe\[pyav\]"):
        planned(capture="pyav")
