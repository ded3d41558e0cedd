"""Further inputs of labelled videos: read beside each video, packed as serving packs them, learnt from and judged."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from labelled_clips import RATE, write_clip, write_manifest

from engines.bundle import load_bundle
from engines.datasets.inputs import accompany, read_inputs
from engines.datasets.reading import load_dataset
from engines.errors import ConfigError, DataError
from engines.further import FurtherInput
from pipeline.capture.ring import FrameFlag, FrameHeader
from pipeline.inputs.receiver import InputPlan, InputReceiver
from pipeline.inputs.sample import InputSample, encode, topic
from pipeline.inputs.sockets import Endpoint

AUDIO, DOOR = FurtherInput("audio", 2, max_age_s=0.5), FurtherInput("door", 1)
TIMES_S = np.array([0.0, 0.3, 0.6, 2.0])
VALUES = np.arange(8.0).reshape(4, 2)

RECIPE = """
name: hum
family: multimodal
options: {encoder: pixels, height: 8, width: 8, fps: 8, reduced: 8, hidden: 8,
  further: [{name: audio, size: 2, max_age_s: 0.5}]}
data: {path: clips.csv, validation: {split: val}}
learning: {epochs: 12, lanes: 8, steps: 16, learning_rate: 0.03, patience: 0}
"""


def save(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "inputs.npz", **arrays)
    return folder / "inputs.npz"


def test_a_frame_gets_what_serving_would_have_had(tmp_path: Path) -> None:
    samples = read_inputs(save(tmp_path, audio=VALUES, audio_times_s=TIMES_S), (AUDIO, DOOR))
    frames_s = np.arange(30) * 0.1
    features = accompany(np.ones((30, 3), np.float16), frames_s, samples, (AUDIO, DOOR))
    assert features.shape == (30, 8)
    assert features.dtype == np.float32
    assert not features[:, 6:].any(), "the file holds no door"
    sent = [
        InputSample(camera="a", input="audio", values=values, media_time=time_s)
        for time_s, values in zip(TIMES_S.tolist(), VALUES.tolist(), strict=True)
    ]
    with InputReceiver([InputPlan("a", AUDIO, Endpoint("audio", "tcp://127.0.0.1:*", bind=True))]) as receiver:
        for sample in sent:
            receiver._take([topic("a", "audio"), encode(sample)])
        for row, time_s in zip(features, frames_s.tolist(), strict=True):
            served = receiver.sample("a", "audio", FrameHeader(0, round(time_s * 1e9), 0, 0, 0, 0, FrameFlag(0)))
            assert row[3:6].tolist() == ([0, 0, 0] if served is None else [*served.tolist(), 1])


def test_one_number_a_sample_may_stand_alone_and_no_file_is_no_sample(tmp_path: Path) -> None:
    samples = read_inputs(save(tmp_path, door=np.array([3, 4]), door_times_s=np.array([0, 1])), (AUDIO, DOOR))
    features = accompany(np.ones((2, 1), np.float32), np.array([0.5, 1.0]), samples, (DOOR,))
    assert features.tolist() == [[1, 3, 1], [1, 4, 1]]
    assert read_inputs(None, (AUDIO,)) == {}


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"audoi": VALUES}, "holds 'audoi', which the model does not take: it takes audio, audio_times_s, door"),
        ({"audio": VALUES}, "holds no 'audio_times_s': for each input give its values and"),
        ({"audio": VALUES[:, :1], "audio_times_s": TIMES_S}, r"has audio as \[4, 1\] and its times as \[4\]"),
        ({"audio": VALUES, "audio_times_s": TIMES_S[:3]}, r"must be \[S, 2\] and \[S\]"),
        ({"audio": VALUES, "audio_times_s": TIMES_S[::-1]}, "their times finite and rising"),
        ({"audio": VALUES * np.nan, "audio_times_s": TIMES_S}, "the values of audio must be finite"),
        ({"audio": VALUES * 1e300, "audio_times_s": TIMES_S}, "the values of audio must be finite"),
        ({"audio": VALUES.astype(str), "audio_times_s": TIMES_S}, "both must be numbers"),
    ],
)
def test_a_file_that_makes_no_sense_is_a_sentence(tmp_path: Path, arrays: dict[str, object], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_inputs(save(tmp_path, **arrays), (AUDIO, DOOR))


@pytest.mark.parametrize("content", [b"", b"noise", b"\x93NUMPY", b"PK\x03\x04 broken"])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "inputs.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"the inputs .*inputs.npz"):
        read_inputs(tmp_path / "inputs.npz", (AUDIO,))


def test_a_manifest_names_them_and_one_that_is_missing_is_told(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", [1] * 8, 0)
    save(tmp_path, audio=VALUES, audio_times_s=TIMES_S)
    columns = "path,label,inputs"
    dataset = load_dataset(write_manifest(tmp_path / "m.csv", [("a.mp4", "x", "inputs.npz")], columns))
    assert dataset.videos[0].inputs == tmp_path / "inputs.npz"
    assert load_dataset(write_manifest(tmp_path / "m.csv", [("a.mp4", "x", "")], columns)).videos[0].inputs is None
    with pytest.raises(DataError, match=r"line 2: the inputs .*none.npz do not exist"):
        load_dataset(write_manifest(tmp_path / "m.csv", [("a.mp4", "x", "none.npz")], columns))


def write_humming(home: Path, each: int) -> None:
    """Clips that look alike; in those of `hum` the first value is high, and a third of the samples is missing."""
    rng = np.random.default_rng(3)
    rows = []
    for label, level in (("hum", 1.0), ("still", -1.0)):
        for number in range(each):
            name = f"{label}{number}"
            write_clip(home / f"{name}.mp4", [1] * 16, seed=number)
            times_s = np.sort(rng.choice(np.arange(16) / RATE, 10, replace=False))
            values = rng.normal((level, 0.0), 0.3, (10, 2))
            np.savez(home / f"{name}.npz", audio=values, audio_times_s=times_s)
            rows.append((f"{name}.mp4", label, "val" if number >= each - 4 else "train", name, f"{name}.npz"))
    write_manifest(home / "clips.csv", rows, "path,label,split,group,inputs")


def test_what_only_the_sound_tells_is_learnt_judged_and_served(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    for needed in ("onnxscript", "sklearn", "tensorboard"):
        pytest.importorskip(needed)
    from rich.console import Console  # noqa: PLC0415

    from engines.evaluation.offline import WholeSequence  # noqa: PLC0415
    from engines.evaluation.watching import Watcher  # noqa: PLC0415
    from engines.training.clips.run import ClipTraining  # noqa: PLC0415
    from engines.training.recipe import load_recipe  # noqa: PLC0415

    torch.set_num_threads(1)
    write_humming(tmp_path, 10)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    dataset = load_dataset(tmp_path / "clips.csv")
    bundle = load_bundle(ClipTraining(recipe, dataset, tmp_path / "out", Console(file=io.StringIO())).run())
    assert bundle.manifest.further == (FurtherInput("audio", 2, 0.5),)
    assert bundle.manifest.metrics["accuracy"] == 1.0
    assert bundle.manifest.metrics["best_baseline_accuracy"] < 1.0, "the video alone does not tell"
    judging = [video for video in dataset.videos if video.split == "val"]
    with Watcher(bundle, "onnxruntime", whole=WholeSequence.load(bundle)) as watcher:
        watched, skipped = watcher.watch(judging)
    assert not skipped
    for each in watched:
        assert each.whole is not None
        np.testing.assert_allclose(each.alone, each.whole, atol=1e-5)
        assert bundle.manifest.labels[each.alone.mean(0).argmax()] == each.video.label
        assert each.features.shape[1] == 64, "baselines see the video alone"
    tuned_text = RECIPE.replace("family:", "encoder: fine_tuned\nfamily:").replace("pixels", "conv")
    (tmp_path / "tuned.yaml").write_text(tuned_text)
    tuned = load_recipe(tmp_path / "tuned.yaml")
    with pytest.raises(ConfigError, match=r"multimodal reads further inputs .*write encoder: frozen"):
        ClipTraining(tuned, dataset, tmp_path / "tuned", Console(file=io.StringIO())).run()
