"""Bundles of every family pass `vidpipe verify` on every back end that is here: in their own sizes, and in variants."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from small_families import OWN_SIZES, VARIANTS  # noqa: E402

from engines.backends import installed_backends  # noqa: E402
from engines.bundle import load_bundle  # noqa: E402
from engines.export import write_bundle  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.manifest import SCHEMA, FrameInput, Manifest  # noqa: E402
from engines.verify import verify  # noqa: E402

NETWORKS = {**OWN_SIZES, **VARIANTS}
LABELS = ("a", "b", "c", "d")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_bundle_of_the_family_is_verified(name: str, tmp_path: Path) -> None:
    torch.manual_seed(8)
    family, options = NETWORKS[name]
    model = build_family(family, options).eval()
    about = Manifest(SCHEMA, "toy", "1.0.0", family, LABELS, FrameInput(1, 1, 1.0), (1,), (), {})
    write_bundle(tmp_path / "toy", model, about, "# toy\n")
    report = verify(load_bundle(tmp_path / "toy"), steps=150, cameras=3)
    assert [check for check in report.checks if not check.passed] == []
    assert {check.backend for check in report.checks} == set(installed_backends())
    assert {check.must_differ for check in report.checks} == {False, True}
