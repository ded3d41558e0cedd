"""The first lines of a run say which precision it took, and that `vidpipe build` chose it."""

from __future__ import annotations

from pathlib import Path

import lowering
import pytest
from processes import write_config
from videos import write_video

from engines.backends import BACKENDS
from engines.bundle import load_bundle
from engines.precision import PrecisionChoice, keep_choice
from pipeline.app import RunOptions, Started, run
from pipeline.config.load import load_config
from pipeline.stream.messages import Message, Prediction


def first_line(folder: Path, precision: str) -> tuple[str, set[str]]:
    """What is announced of the model, and the precisions that its predictions name."""
    path, _ = write_config(folder, {"a": write_video(folder / "a.mp4", 40)})
    path.write_text(path.read_text() + f"\ninference: {{backend: {lowering.NAME}, precision: {precision}}}\n")
    config = load_config(path)
    announced: list[Started] = []
    messages: list[Message] = []
    run(config, config.cameras, RunOptions(), messages.append, announced.append)
    (line,) = announced[0].models
    return line, {each.model.precision for each in messages if isinstance(each, Prediction)}


def test_a_run_says_which_precision_it_took_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    lowering.install(monkeypatch, "bf16")
    line, published = first_line(tmp_path, "auto")
    assert "(encoder f32, step f32)" in line
    assert published == {"f32"}
    choice = PrecisionChoice("bf16", lowering.NAME, "1", 8, 2, ())
    keep_choice(load_bundle("scene"), BACKENDS[lowering.NAME], choice)
    line, published = first_line(tmp_path, "auto")
    assert "(encoder bf16, chosen by vidpipe build, step f32)" in line
    assert published == {"bf16"}
    assert "(encoder bf16, step f32)" in first_line(tmp_path, "bf16")[0]
    assert "(encoder f32, step f32)" in first_line(tmp_path, "f32")[0]
