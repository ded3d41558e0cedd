"""Further inputs in a bundle: one vector a step, said by the manifest, checked in the graph, verified like the rest."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from further_bundle import FURTHER, STEP_FEATURES, write_further_bundle

from engines.agreement import check_temporal
from engines.arrivals import accompanied, arrivals
from engines.backends import open_engines
from engines.bundle import load_bundle
from engines.engine import EngineOptions
from engines.errors import ModelError
from engines.further import FurtherInput, pack, step_shape, without
from engines.manifest import Manifest, dump_manifest, parse_manifest
from engines.temporal import Temporal

AUDIO, DOOR = FURTHER


def test_values_and_flags_stand_behind_the_features_in_order() -> None:
    features = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    audio, door = np.array([7, 8], np.float32), np.array([9], np.float32)
    packed = pack(features, [[audio, None], [None, door]], FURTHER)
    assert packed.tolist() == [[1, 2, 3, 7, 8, 1, 0, 0], [4, 5, 6, 0, 0, 0, 9, 1]]
    assert packed.dtype == np.float32
    assert without(features, FURTHER).tolist() == [[1, 2, 3, 0, 0, 0, 0, 0], [4, 5, 6, 0, 0, 0, 0, 0]]
    assert without(features, ()) is features


def test_the_shape_of_a_step_follows_from_the_inputs() -> None:
    assert step_shape((3,), FURTHER) == (STEP_FEATURES,)
    assert step_shape((3, 4, 5), ()) == (3, 4, 5)
    with pytest.raises(ValueError, match=r"beside a vector of features, found \[3, 4, 5\]"):
        step_shape((3, 4, 5), FURTHER)


@pytest.fixture
def own(tmp_path: Path) -> Manifest:
    return load_bundle(write_further_bundle(tmp_path / "listener")).manifest


def test_a_manifest_holds_them_and_one_without_is_read_as_before(own: Manifest) -> None:
    text = dump_manifest(own)
    assert parse_manifest(text, "it") == own
    assert own.step_features == (STEP_FEATURES,)
    older = text[: text.index("further:")] + text[text.index("summary:") :]
    assert parse_manifest(older, "it").step_features == own.features == (3,)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"further": (AUDIO, AUDIO)}, r"further must have different names, found \['audio', 'audio'\]"),
        ({"features": (3, 2, 2)}, r"further inputs go beside a vector of features, found \[3, 2, 2\]"),
        ({"further": (FurtherInput("a b", 1),)}, r"not a valid bundle manifest.*further\[0\].name"),
        ({"further": (FurtherInput("a", 0),)}, r"further\[0\].size"),
        ({"further": (FurtherInput("a", 1, 0.0),)}, r"further\[0\].max_age_s"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(own: Manifest, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        parse_manifest(dump_manifest(msgspec.structs.replace(own, **changes)), "it")


def test_a_graph_that_reads_something_else_is_refused(tmp_path: Path) -> None:
    bundle = load_bundle(write_further_bundle(tmp_path / "listener", further=(AUDIO,)))
    (engine,) = open_engines(bundle.read("temporal.onnx"), "onnxruntime", [EngineOptions("it")]).engines
    with pytest.raises(ModelError, match=r"features.*8.*manifest.yaml says.*features.*6"):
        check_temporal(bundle, engine)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_a_step_reads_what_is_packed(tmp_path: Path, backend: str) -> None:
    bundle = load_bundle(write_further_bundle(tmp_path / "listener"))
    features = pack(np.zeros((2, 3), np.float32), [[np.array([1, 0], np.float32), None], [None, None]], FURTHER)
    with Temporal.open(bundle, backend, capacity=2, max_batch=2) as temporal:
        rows = [temporal.pool.acquire(name) for name in "ab"]
        result = temporal.step(rows, features, [0.2, 0.2], [0, 0])
    assert result.logits.tolist() == [[3, 6], [3, 0]]


def test_made_up_traffic_has_inputs_that_come_and_go() -> None:
    rng = np.random.default_rng(0)
    views = rng.normal(size=(4, 3)).astype(np.float32)
    traffic = arrivals(rng, views, 3, 200, FURTHER)
    for stream in traffic.streams:
        assert stream.features.shape == (len(stream), STEP_FEATURES)
        audio, door = stream.features[:, 5], stream.features[:, 7]
        for flags in (audio, door):
            assert set(flags.tolist()) == {0.0, 1.0}
            assert 3 <= np.abs(np.diff(flags)).sum() <= len(stream) / 4, "in spells"
        assert not stream.features[audio == 0, 3:5].any()
        assert stream.features[audio == 1, 3:5].std() > 0.5
    features = np.zeros((5, 3), np.float32)
    assert accompanied(rng, features, ()) is features


def test_the_family_multimodal_is_verified_on_every_back_end(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from small_families import SMALL  # noqa: PLC0415

    from engines.export import write_bundle  # noqa: PLC0415
    from engines.families import build_family  # noqa: PLC0415
    from engines.manifest import SCHEMA, FrameInput  # noqa: PLC0415
    from engines.verify import verify  # noqa: PLC0415

    torch.manual_seed(1)
    model = build_family(*SMALL["multimodal"])
    about = Manifest(SCHEMA, "toy", "1", "multimodal", ("a", "b", "c", "d"), FrameInput(1, 1, 1.0), (1,), (), {})
    write_bundle(tmp_path / "toy", model, about, "# toy\n")
    bundle = load_bundle(tmp_path / "toy")
    assert bundle.manifest.further == model.further
    report = verify(bundle, steps=80, cameras=3)
    assert report.passed, [check for check in report.checks if not check.passed]
    assert {check.backend for check in report.checks} >= {"openvino", "onnxruntime", "torch"}
