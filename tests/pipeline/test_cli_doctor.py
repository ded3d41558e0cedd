"""`vidpipe doctor`: what is printed, for people and for programs, and the exit status."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from engines import doctor as examined
from pipeline.cli.doctor import doctor

app = typer.Typer()
app.command()(doctor)


def test_people_read_machine_packages_and_back_ends() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    for start in ("vidpipe ", "CPU ", "GPU ", "video ", "TLS ", "numpy ", "openvino ", "tensorrt ", "auto takes "):
        assert any(line.startswith(start) for line in result.stdout.splitlines()), start
    assert "its FFmpeg: avcodec " in result.stdout


def test_programs_read_json() -> None:
    report = json.loads(CliRunner().invoke(app, ["--json"]).stdout)
    assert report["machine"]["cores"] >= 1
    assert {each["name"] for each in report["backends"]} >= {"tensorrt", "openvino", "onnxruntime"}
    assert report["auto"] in {each["name"] for each in report["backends"] if each["ready"]}


def test_where_nothing_could_run_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examined, "unusable", lambda backend: "broken")
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 1
    assert "auto takes none: not tensorrt: broken" in result.stdout


def test_what_is_missing_names_the_extra_in_its_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examined, "unusable", lambda backend: "not here: pip install 'vidpipe[onnxruntime]'")
    backends = CliRunner().invoke(app, []).stdout.split("back end")[1]
    assert "pip install 'vidpipe[onnxruntime]'" in backends
