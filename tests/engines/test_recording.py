"""An exported bundle carries its trainer's answers, and they hold on every back end."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

torch = pytest.importorskip("torch")

from engines.backends import installed_backends  # noqa: E402
from engines.bundle import load_bundle  # noqa: E402
from engines.export import write_bundle  # noqa: E402
from engines.families.cnn_lstm import CnnLstm  # noqa: E402
from engines.golden import read_golden  # noqa: E402
from engines.manifest import Manifest  # noqa: E402
from engines.verify import verify  # noqa: E402


def test_an_exported_bundle_verifies_against_its_trainer(manifest: Manifest, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = CnnLstm.build({"height": 16, "width": 24, "labels": 3, "channels": [4, 4, 4], "places": 3, "hidden": 5})
    write_bundle(tmp_path, model, msgspec.structs.replace(manifest, name="exported"), "# card\n")
    bundle = load_bundle(tmp_path)
    golden = read_golden(bundle)
    assert golden is not None
    assert len({float(step) for step in golden.dt}) > 1  # so that a graph which ignores dt is found
    report = verify(bundle, steps=30, cameras=3)
    trainer = [check for check in report.checks if check.against == "trainer"]
    assert [check.passed for check in trainer] == [True, True] * len(installed_backends())
    assert not any("trainer" in sentence for sentence in report.not_compared)
