"""The script for GPU machines runs to its end on the GPU that is none, and records what fails."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import fake_gpu
import pytest

from engines.backends import BACKENDS
from engines.bundle import Bundle

SCRIPT = Path(__file__).parents[2] / "tools" / "gpu_proof.py"


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPT.parent)  # where Python itself looks when it runs the script
    spec = importlib.util.spec_from_file_location("gpu_proof", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(BACKENDS, "tensorrt", BACKENDS["tensorrt"])  # the script replaces it
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    return module


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_gpu.Machine]:
    yield from fake_gpu.install(monkeypatch)


def test_every_stage_runs(proof: ModuleType, machine: fake_gpu.Machine, tiny: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    sizes = ["--batch", "2", "--cameras", "2", "--steps", "60", "--seconds", "0.01", "--plans", str(tmp_path / "plans")]
    assert proof.main([str(tiny.folder), "--out", str(tmp_path), *sizes]) == 0
    results = json.loads((tmp_path / "gpu_proof.json").read_text())
    assert list(results) == list(proof.STAGES)
    assert results["verify"]["passed"] is True
    assert results["machine"]["gpu"]["gpus"] == ["Fake GPU, sm_90, 80 GiB"]
    assert results["graphs"]["max_difference"] == 0
    assert results["graphs"]["captured"] > 5
    assert results["torch"]["max_difference"] < 1e-5
    assert set(results["encoder"]) == {"tensorrt f32", "tensorrt f16", "torch f32", "seconds"}
    assert results["encoder"]["tensorrt f32"]["2"]["pictures_per_s"] > 0
    assert set(results["build"]) == {
        "encoder.onnx of tiny f32",
        "encoder.onnx of tiny f16",
        "temporal.onnx of tiny f32 pooled",
        "seconds",
    }
    page = (tmp_path / "gpu_proof.md").read_text()
    assert all(f"| {name} | {results[name]['seconds']} | ok |" in page for name in proof.STAGES)


def test_what_cannot_run_is_left_out_and_what_was_there_stays(
    proof: ModuleType, machine: fake_gpu.Machine, tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages run one by one, as on a machine that is lent for minutes; torch and OpenCV may be missing there."""
    (tmp_path / "gpu_proof.json").write_text('{"graphs": {"captured": 7}}')
    usual = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("torch", "cv2") else usual(name))
    common = [str(tiny.folder), "--out", str(tmp_path), "--plans", str(tmp_path / "plans")]
    assert proof.main([*common, "--only", "torch", "float16"]) == 0
    assert proof.main([*common, "--only", "verify", "--minutes", "-1"]) == 0
    results = json.loads((tmp_path / "gpu_proof.json").read_text())
    assert results["graphs"] == {"captured": 7}
    assert results["torch"]["left_out"] == "torch is not installed: there is nothing to compare with"
    assert "cv2 is not installed" in results["float16"]["left_out"]
    assert results["verify"]["left_out"] == "no time was left"


def test_without_a_gpu_every_stage_that_needs_one_says_so(proof: ModuleType, tiny: Bundle, tmp_path: Path) -> None:
    if not fake_gpu.gpu.no_gpu():
        pytest.skip("there is a GPU")
    common = [str(tiny.folder), "--out", str(tmp_path), "--plans", str(tmp_path / "plans")]
    assert proof.main([*common, "--steps", "20", "--seconds", "0.01"]) == 1
    results = json.loads((tmp_path / "gpu_proof.json").read_text())
    assert "there is no NVIDIA driver here" in results["build"]["failed"]
    assert "failed" not in results["machine"]
