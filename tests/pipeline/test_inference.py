"""The inference loop: fair batches, files in step, several models in one process, every frame accounted for."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from capturing import plan
from processes import write_config
from videos import write_video

import engines
from engines.encoder import Encoder
from pipeline import app
from pipeline.capture.ring import FrameHeader
from pipeline.capture.supervisor import CameraState, CameraSupervisor
from pipeline.config.load import load_config, select_cameras
from pipeline.inference.batcher import FileBatcher, LiveBatcher, make_batcher
from pipeline.stream.messages import Message, Prediction, Status

SCENE = Path(engines.__file__).parent / "bundles" / "scene"


@dataclass
class Supervised:
    """What a batcher sees of a camera."""

    name: str
    over: bool = False
    ring: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(backlog=0))

    @property
    def plan(self) -> SimpleNamespace:
        return SimpleNamespace(name=self.name)


def up_to(most: int):
    """The `fit` of an encoder that runs any batch up to `most`."""
    return lambda count: min(count, most)


def names(cameras) -> str:
    return "".join(camera.name for camera in cameras)


def come(batcher: LiveBatcher, *cameras: Supervised) -> None:
    for camera in cameras:
        camera.ring.backlog += 1
    batcher.add(cameras)


def take(batcher: LiveBatcher, free: int = 1) -> str:
    chosen = batcher.next(free)
    for camera in chosen:
        camera.ring.backlog -= 1
    return names(chosen)


def test_a_live_batch_takes_who_came_first_and_waits_for_nobody():
    a, b, c = (Supervised(name) for name in "abc")
    batcher = LiveBatcher([a, b, c], up_to(8))
    assert take(batcher) == ""
    come(batcher, c, a, a, a)
    assert [take(batcher) for _ in range(4)] == ["ca", "a", "a", ""], "one frame of each, however many wait"


def test_who_has_many_frames_gets_no_more_turns_than_others():
    a, b, c = (Supervised(name) for name in "abc")
    batcher = LiveBatcher([a, b, c], up_to(1))
    come(batcher, a, a, a, a, b, c, b, c)
    assert "".join(take(batcher) for _ in range(8)) == "abcabcaa"


def test_a_full_batch_leaves_the_others_their_places():
    cameras = [Supervised(name) for name in "abcde"]
    batcher = LiveBatcher(cameras, up_to(2))
    come(batcher, *cameras, *cameras)
    assert [take(batcher) for _ in range(6)] == ["ab", "cd", "ea", "bc", "de", ""]


def test_what_is_ready_is_shared_between_the_requests_that_are_free():
    cameras = [Supervised(name) for name in "abcde"]
    batcher = LiveBatcher(cameras, lambda count: max(size for size in (1, 2, 4) if size <= count))
    come(batcher, *cameras)
    batches = [take(batcher, free) for free in (2, 1, 1)]
    assert batches == ["ab", "cd", "e"], "3 of 5 do not fill a compiled batch: 2 now, 2 next, then the last"


def test_frames_that_nobody_told_of_are_found():
    a, b = (Supervised(name) for name in "ab")
    batcher = LiveBatcher([a, b], up_to(8))
    come(batcher, b)
    a.ring.backlog, b.ring.backlog = 1, 2
    batcher.look()
    batcher.look()
    assert [take(batcher) for _ in range(3)] == ["ba", "b", ""]


def test_word_of_a_frame_that_is_gone_is_forgotten():
    a = Supervised("a")
    batcher = LiveBatcher([a], up_to(8))
    batcher.add([a, a])
    a.ring.backlog = 1
    assert [take(batcher) for _ in range(2)] == ["a", ""]


def test_files_walk_in_step_whatever_comes_first():
    a, b = Supervised("a"), Supervised("b")
    batcher = FileBatcher([a, b], up_to(8))
    a.ring.backlog = 4
    assert batcher.next() == [], "b is not over and has no frame yet"
    b.ring.backlog = 1
    assert names(batcher.next()) == "ab"
    b.ring.backlog, b.over = 0, True
    assert names(batcher.next()) == "a"


def test_the_batcher_follows_the_sources():
    live, file = (CameraSupervisor(plan("a", source)) for source in ("scene://", "a.mp4"))
    assert isinstance(make_batcher([live, file], up_to(4)), LiveBatcher)
    assert isinstance(make_batcher([file], up_to(4)), FileBatcher)
    live.close()
    file.close()


def run(folder: Path, cameras: dict[str, object], **sections: object) -> tuple[list[app.CameraOutcome], list[Message]]:
    path, _ = write_config(folder, cameras, **sections)
    config = load_config(path)
    heard: list[Message] = []
    outcomes = app.run(config, select_cameras(config, []), app.RunOptions(), heard.append)
    return outcomes, heard


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))


def test_every_frame_is_processed_or_accounted_for(tmp_path):
    videos = {name: write_video(tmp_path / f"{name}.mp4", 60 + 15 * k) for k, name in enumerate("abcde")}
    outcomes, heard = run(tmp_path, videos, inference={"max_batch": 2})
    last = {m.camera: m for m in heard if isinstance(m, Status)}
    for k, outcome in enumerate(outcomes):
        counts = last[outcome.name].counts
        assert outcome.state is CameraState.FINISHED
        assert counts.due == counts.processed == outcome.processed == 20 + 5 * k
        assert (counts.thinned, counts.overrun, counts.in_flight) == (0, 0, 0)
    assert [m.state for m in last.values()] == ["finished"] * 5


def test_a_frame_that_repeats_the_one_before_is_not_encoded_again(tmp_path, monkeypatch):
    still = write_video(tmp_path / "still.mp4", 150, still_from=60)
    encoded = count_encoded(monkeypatch)
    outcomes, heard = run(tmp_path, {"a": still, "b": write_video(tmp_path / "b.mp4", 150)})
    reusing = sum(encoded)
    monkeypatch.setattr(FrameHeader, "repeats", property(lambda _: False))
    again, expected = run(tmp_path, {"a": still, "b": tmp_path / "b.mp4"})
    assert [o.processed for o in outcomes] == [o.processed for o in again] == [50, 50]
    assert sum(encoded) - reusing == 100
    assert 70 <= reusing <= 90, "each key frame of a still picture is coded a little differently"
    scores = [[m.scores for m in messages if isinstance(m, Prediction)] for messages in (heard, expected)]
    assert len(scores[0]) > 10
    for one, other in zip(*scores, strict=True):
        assert one == pytest.approx(other, abs=1e-5)  # the encoder's batches differ


def count_encoded(monkeypatch) -> list[int]:
    """The sizes of all batches that any encoder is given from now on."""
    counts: list[int] = []
    start = Encoder.start

    def counting(self, request, count):
        counts.append(count)
        start(self, request, count)

    monkeypatch.setattr(Encoder, "start", counting)
    return counts


def test_two_models_run_beside_each_other(tmp_path):
    other = tmp_path / "other"
    shutil.copytree(SCENE, other)
    manifest = (other / "manifest.yaml").read_text()
    (other / "manifest.yaml").write_text(manifest.replace("name: scene", "name: other", 1))
    video = write_video(tmp_path / "a.mp4", 60)
    both = {"a": {"source": str(video)}, "b": {"source": str(video), "model": str(other)}}
    _, heard = run(tmp_path, both)
    clips = {name: [m for m in heard if isinstance(m, Prediction) and m.camera == name] for name in both}
    assert [c.scores for c in clips["a"]] == [c.scores for c in clips["b"]]
    assert {c.model.name for c in clips["b"]} == {"other"}
    assert clips["a"][0].model.sha != clips["b"][0].model.sha


def test_a_lower_rate_of_its_own_reaches_the_clips(tmp_path):
    video = write_video(tmp_path / "a.mp4", 90)
    _, heard = run(tmp_path, {"a": {"source": str(video), "fps": 2.5}})
    clips = [m for m in heard if isinstance(m, Prediction)]
    assert [c.clip.frames for c in clips] == [5] * len(clips)
    assert all(c.clip.coverage == 1.0 and c.clip.fps_effective == 2.5 for c in clips)


def test_a_bad_file_does_not_stop_the_others(tmp_path):
    good = write_video(tmp_path / "a.mp4", 45)
    outcomes, heard = run(tmp_path, {"good": good, "bad": tmp_path / "none.mp4"})
    assert {o.name: o.state for o in outcomes} == {"good": CameraState.FINISHED, "bad": CameraState.FAILED}
    assert any(isinstance(m, Prediction) for m in heard)
    assert "no such file" in next(m.detail for m in heard if isinstance(m, Status) and m.state == "failed")
