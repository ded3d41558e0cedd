"""A whole evaluation: real small videos through the serving step, the whole-sequence pass, and the report."""

from __future__ import annotations

import hashlib
import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import videos
import yaml
from small_families import SMALL

from engines.bundle import Bundle, load_bundle
from engines.datasets.footage import sample
from engines.datasets.intervals import labels_at
from engines.datasets.labelled import Dataset, LabelledVideo, Span
from engines.datasets.reading import load_dataset
from engines.errors import DataError, MissingExtraError
from engines.evaluation.baselines import encode_baselines, fit_baselines
from engines.evaluation.evaluate import evaluate
from engines.evaluation.judging import Material, Order
from engines.evaluation.record import Evaluation
from engines.evaluation.report.page import render
from engines.evaluation.resampling import Figure
from engines.evaluation.units import judged_frames, rows_of, units_of
from engines.evaluation.watching import Watcher
from engines.export import write_bundle as export_bundle
from engines.families import build_family
from engines.manifest import SCHEMA, ClipRule, EventRule, FrameInput, Manifest
from engines.training.sequences import FeatureSequence

LABELS = ("idle", "passing", "left_behind")
FPS = 8.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips of 1.5 to 3 s in two splits with groups, a long video with intervals, and a file that is none."""
    folder = tmp_path_factory.mktemp("data")
    rows = ["path,label,split,group"]
    for number in range(12):
        videos.write_video(folder / f"clip{number}.mp4", 24 + 2 * number, width=64, height=48)
        split = "a" if number < 6 else "b"
        rows.append(f"clip{number}.mp4,{LABELS[number % 2]},{split},g{number // 2}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    (folder / "broken.mp4").write_bytes(b"no video at all")
    (folder / "some.csv").write_text("\n".join([*rows, "broken.mp4,idle,b,g9"]) + "\n")
    videos.write_video(folder / "long.mp4", 300, width=64, height=48)
    spans = ["long.mp4,idle,0,6", "long.mp4,passing,6,10.5", "long.mp4,idle,10.5,16", "long.mp4,passing,16,18"]
    (folder / "long.csv").write_text("\n".join(["path,label,start,end", *spans]) + "\n")
    return folder


@pytest.fixture(scope="module")
def bundle(write_bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    rules = {"passing": EventRule(0.4, 0.35)}
    return load_bundle(write_bundle(tmp_path_factory.mktemp("models") / "tiny", events=rules, warm_up_s=0.5))


def judge(bundle: Bundle, manifest: Path, **order: object) -> tuple[Evaluation, Material]:
    dataset = load_dataset(manifest, labels=bundle.manifest.labels)
    return evaluate(bundle, dataset, Order(**{"draws": 50, "threads": 1, "backend": "onnxruntime", **order}))


@pytest.fixture(scope="module")
def clips_judged(bundle: Bundle, folder: Path) -> tuple[Evaluation, Material]:
    return judge(bundle, folder / "some.csv", split="b", command="vidpipe evaluate tiny")


def test_what_is_reported_is_what_is_there(clips_judged: tuple[Evaluation, Material]) -> None:
    found, material = clips_judged
    assert (found.data.videos, found.data.clips, found.data.groups, found.data.grouped) == (6, 6, 3, True)
    assert found.data.clips_of == {"idle": 3, "passing": 3, "left_behind": 0}
    (skipped,) = found.data.skipped
    assert skipped.path.endswith("broken.mp4")
    assert "not a video" in skipped.reason
    right = [material.judged.probabilities[i].argmax() == unit.label for i, unit in enumerate(material.units)]
    assert found.figures["accuracy"].value == pytest.approx(np.mean(right))
    assert np.trace(found.confusion) == sum(right)
    assert np.sum(found.confusion) == 6
    assert found.figures["auc"] == msgspec.structs.replace(
        found.figures["auc"], value=None, why="defined for two labels"
    )
    assert any("left_behind" in note for note in found.notes)
    assert len(found.mistakes) == 6 - sum(right)
    assert sum(each.clips for each in found.groups) == 6
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found


def test_videos_slower_than_the_model_get_a_note(bundle: Bundle, folder: Path) -> None:
    faster = msgspec.structs.replace(bundle.manifest, input=msgspec.structs.replace(bundle.manifest.input, fps=40.0))
    found, _ = judge(Bundle(bundle.folder, faster, bundle.sha), folder / "clips.csv", split="b")
    assert any("6 of 6 videos have fewer frames a second" in note and "(40)" in note for note in found.notes)
    found, _ = judge(bundle, folder / "clips.csv", split="b")
    assert not any("fewer frames" in note for note in found.notes)


def test_baselines_come_from_the_other_split(clips_judged: tuple[Evaluation, Material]) -> None:
    found, _ = clips_judged
    assert set(found.baselines) == {"single frame", "mean over frames", "mean + |difference|"}
    assert found.baselines_from == "6 other videos of these data (split: a)"
    assert found.headline == found.comparison.sentence
    assert found.comparison.verdict in ("better", "not shown", "worse")


def test_without_other_rows_there_are_no_baselines(bundle: Bundle, folder: Path) -> None:
    found, _ = judge(bundle, folder / "clips.csv")
    assert (found.data.videos, found.baselines, found.comparison.verdict) == (12, {}, "not compared")
    assert "nothing is left to fit them on" in found.headline


def test_shared_groups_give_no_baselines(bundle: Bundle, folder: Path) -> None:
    text = (folder / "clips.csv").read_text().replace(",b,g4", ",b,g0")
    (folder / "leak.csv").write_text(text)
    found, _ = judge(bundle, folder / "leak.csv", split="b")
    assert found.baselines == {}
    assert "share the group g0" in found.baselines_from


def test_baselines_of_the_bundle_are_used(bundle: Bundle, folder: Path, write_bundle, tmp_path: Path) -> None:
    dataset = load_dataset(folder / "clips.csv", labels=LABELS)
    with Watcher(bundle, "onnxruntime", threads=1) as watcher:
        seen, _ = watcher.features(dataset.videos)
    sequences = [
        FeatureSequence(video.path.name, video.group, features, times, labels_at(times, video.spans, LABELS))
        for video, times, features in seen
    ]
    data = encode_baselines(fit_baselines(sequences, LABELS))
    own = load_bundle(write_bundle(tmp_path / "own", files={"baselines.npz": data}))
    found, _ = judge(own, folder / "clips.csv", split="b")
    assert (found.baselines_from, len(found.baselines)) == ("the bundle", 3)


def test_frames_are_those_of_serving_and_state_is_carried(bundle: Bundle, folder: Path) -> None:
    """The first video is watched alike in both streams, the second is not; a broken file leaves no trace."""
    rows = load_dataset(folder / "clips.csv", labels=LABELS).videos
    broken = LabelledVideo(folder / "broken.mp4", rows[0].spans, "g9")
    with Watcher(bundle, "onnxruntime", threads=1) as watcher:
        (first, second), skipped = watcher.watch([rows[0], broken, rows[5]])
    with Watcher(bundle, "onnxruntime", threads=1) as watcher:
        (_, clean), _ = watcher.watch([rows[0], rows[5]])
    assert len(skipped) == 1
    expected = sample(rows[0].path, FPS, (6, 8))
    assert first.times_s.tolist() == expected.times_s.tolist()
    np.testing.assert_allclose(first.alone, first.carried, atol=1e-6)
    assert np.abs(second.alone - second.carried).max() > 1e-3
    np.testing.assert_allclose(second.carried, clean.carried, atol=1e-7)
    assert second.joined_s == pytest.approx(len(first.times_s) / FPS)


def test_a_video_cut_off_while_it_is_watched_leaves_no_trace(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    cut = videos.write_truncated(tmp_path / "cut.mp4")
    rows = load_dataset(folder / "clips.csv", labels=LABELS).videos
    with Watcher(bundle, "onnxruntime", threads=1) as watcher:
        (_, second), skipped = watcher.watch([rows[0], LabelledVideo(cut, rows[0].spans, "cut"), rows[1]])
    with Watcher(bundle, "onnxruntime", threads=1) as watcher:
        (_, clean), _ = watcher.watch([rows[0], rows[1]])
    assert "cut off" in skipped[0].reason
    np.testing.assert_allclose(second.carried, clean.carried, atol=1e-7)
    assert second.joined_s == clean.joined_s


def test_intervals_are_cut_as_serving_does(bundle: Bundle, folder: Path) -> None:
    found, material = judge(bundle, folder / "long.csv")
    assert found.data.unit == "2 s of a video, one each 1 s"
    labels = {unit.start_s: LABELS[unit.label] for unit in material.units}
    # 5-7 s is half of each: the first one counts; 18-20 s is not marked
    assert [labels[start] for start in (0.0, 4.0, 5.0, 6.0, 9.0, 10.0, 16.0, 17.0)] == [
        "idle", "idle", "idle", "passing", "passing", "idle", "passing", "passing",
    ]  # fmt: skip
    assert 18.0 not in labels
    first = material.units[0]
    assert (first.begin, first.first, first.last) == (0, 3, 16)  # warm after 0.5 s at 8 frames/s
    assert found.stream is not None
    assert (found.stream.joined, found.stream.events) == (False, 2)
    assert found.figures["interval_accuracy"].value is not None
    assert found.figures["accuracy"].why == "one group gives no interval"


def test_a_frame_a_hair_before_a_mark_is_judged_as_it_was_learnt(bundle: Bundle, folder: Path) -> None:
    with Watcher(bundle, "onnxruntime", threads=1) as watcher:
        (watched,), _ = watcher.watch(load_dataset(folder / "long.csv", labels=LABELS).videos)
    early = replace(watched, times_s=watched.times_s - 3e-8 * (watched.times_s > 0))
    assert rows_of([early], bundle.manifest) == [
        replace(unit, end_s=pytest.approx(unit.end_s)) for unit in rows_of([watched], bundle.manifest)
    ]
    groups = np.zeros(1, np.int64)
    truth = [judged_frames([each], [each.alone], groups, LABELS).truth for each in (watched, early)]
    np.testing.assert_array_equal(*truth)


def test_a_clip_shorter_than_the_warm_up_is_judged_all_the_same(bundle: Bundle, folder: Path) -> None:
    slow = msgspec.structs.replace(bundle.manifest, warm_up_s=60.0, clip=ClipRule(aggregate="last"))
    with Watcher(bundle, "onnxruntime", threads=1) as watcher:
        watched, _ = watcher.watch(load_dataset(folder / "clips.csv", labels=LABELS).videos[:1])
    (unit,) = units_of(watched, slow)
    assert (unit.first, unit.last) == (0, len(watched[0].times_s))
    np.testing.assert_array_equal(unit.score([watched[0].alone], "last"), watched[0].alone[-1])


def test_nothing_to_judge_is_one_error(bundle: Bundle, folder: Path) -> None:
    video = LabelledVideo(folder / "broken.mp4", (Span(0.0, float("inf"), "idle"),), "g")
    with pytest.raises(DataError, match="none of the 1 videos can be judged"):
        evaluate(bundle, Dataset("here", LABELS, (video,), True), Order(backend="onnxruntime"))
    short = LabelledVideo(folder / "long.mp4", (Span(0.0, 0.5, "idle"), Span(0.5, 0.9, "passing")), "g")
    with pytest.raises(DataError, match="no video is long enough"):
        evaluate(bundle, Dataset("here", LABELS, (short,), True), Order(backend="onnxruntime"))


# ---- whole-sequence mode -------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"encoder": "pixels", "height": 6, "width": 8, "fps": FPS, "hidden": 8}
    return write_trained(tmp_path_factory.mktemp("trained") / "gru", "gru", options)


def write_trained(folder: Path, family: str, options: dict[str, object]) -> Path:
    """A network of a real family as `vidpipe train` would write it, untrained."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    torch.manual_seed(3)
    torch.set_num_threads(1)
    model = build_family(family, {**options, "labels": 3})
    with torch.no_grad():
        model.temperature.fill_(0.25)
    about = Manifest(SCHEMA, family, "1", family, LABELS, FrameInput(6, 8, FPS), (1,), (), {})
    shares = {"idle": 0.7, "passing": 0.2, "left_behind": 0.1}
    recipe = {"options": {name: value for name, value in options.items() if name != "labels"}}
    about = msgspec.structs.replace(about, training={"recipe": recipe, "priors": shares})
    export_bundle(folder, model, about, "# untrained")
    return folder


def test_both_modes_agree(trained: Path, folder: Path) -> None:
    found, material = judge(load_bundle(trained), folder / "clips.csv")
    agreement = found.agreement
    assert agreement.compared
    assert agreement.largest_difference <= 1e-5
    assert (agreement.same_decisions, agreement.figures_equal, agreement.within_limit) == (True, True, True)
    assert agreement.steps == sum(len(each.times_s) for each in material.watched)
    assert found.figures["recall_head"].value is not None  # `idle`
    assert found.figures["recall_tail"].why == "none of the labels occurs"
    assert found.labels[0].training_share == 0.7


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALL))
def test_both_modes_agree_in_every_family(name: str, folder: Path, tmp_path: Path) -> None:
    family, options = SMALL[name]
    bundle = load_bundle(write_trained(tmp_path / "model", family, {"fps": FPS, **options}))
    found, _ = judge(bundle, folder / "clips.csv", draws=0)
    assert found.agreement.compared, found.agreement.why
    assert found.agreement.within_limit, found.agreement.largest_difference
    assert found.agreement.figures_equal


def test_other_weights_are_found_out(trained: Path, folder: Path, tmp_path: Path) -> None:
    """The whole-sequence pass is a second opinion: it must differ when its weights do."""
    found, _ = judge(load_bundle(_with_weights(trained, tmp_path, lambda a: 0.5 * a)), folder / "clips.csv")
    assert found.agreement.compared
    assert not found.agreement.within_limit


def test_why_modes_are_not_compared(bundle: Bundle, trained: Path, folder: Path, tmp_path: Path) -> None:
    found, _ = judge(bundle, folder / "clips.csv")
    assert (found.agreement.compared, found.agreement.why) == (False, "the bundle carries no weights.npz")
    found, _ = judge(load_bundle(_with_weights(trained, tmp_path, lambda a: a[..., :1])), folder / "clips.csv")
    assert "do not fit the recipe" in found.agreement.why


def _with_weights(trained: Path, folder: Path, change) -> Path:
    """A copy of the bundle with other weights and a right hash."""
    copy = folder / "changed"
    copy.mkdir()
    for path in trained.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with np.load(copy / "weights.npz") as file:
        arrays = {name: change(file[name]) if file[name].ndim > 1 else file[name] for name in file.files}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    (copy / "weights.npz").write_bytes(buffer.getvalue())
    manifest = yaml.safe_load((copy / "manifest.yaml").read_text())
    manifest["files"]["weights.npz"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    (copy / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    return copy


# ---- the report ----------------------------------------------------------------------------------------------------
def test_the_report_stands_alone(clips_judged: tuple[Evaluation, Material]) -> None:
    pytest.importorskip("matplotlib")
    found, material = clips_judged
    page = render(found, material)
    assert page.index("verdict") < page.index('class="tiles"')
    assert page.count("<svg") == 4
    outside = re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert [each for each in outside if "http" in each or ".." in each] == []
    assert page.count("data:image/jpeg") == len(found.mistakes) > 0
    for said in ("6 videos", "vidpipe evaluate tiny", "broken.mp4", "3 groups"):
        assert said in page


def test_without_quiet_time_the_report_has_a_sentence_in_place_of_the_curve(
    clips_judged: tuple[Evaluation, Material],
) -> None:
    pytest.importorskip("matplotlib")
    found, material = clips_judged
    assert found.stream is not None
    busy = msgspec.structs.replace(
        found,
        stream=msgspec.structs.replace(found.stream, quiet_seconds=0.0),
        figures={**found.figures, "false_alarms_per_hour": Figure(None, why="no quiet time")},
    )
    page = render(busy, material)
    assert page.count("<svg") == 3
    assert "No false alarms can be counted: no quiet time." in page


def test_the_report_escapes_what_others_wrote(clips_judged: tuple[Evaluation, Material]) -> None:
    pytest.importorskip("matplotlib")
    found, material = clips_judged
    evil = msgspec.structs.replace(found, notes=("<script>alert(1)</script>",), command="<img src=x>")
    page = render(evil, material)
    assert "<script>" not in page
    assert "<img src=x>" not in page


def test_without_matplotlib_the_report_says_what_to_install(
    clips_judged: tuple[Evaluation, Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"vidpipe\[evaluate\]"):
        render(*clips_judged)
