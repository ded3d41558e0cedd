"""Lines to stdout: in order, never in the way of the work, and not hanging at the end."""

import os
import subprocess
import time

import pytest
from processes import VIDPIPE, environment, write_config
from videos import write_video

from pipeline.cli.writer import LineWriter


def test_lines_arrive_in_order():
    out, into = os.pipe()
    writer = LineWriter(into)
    for number in range(500):
        writer.write(f"line {number}")
    writer.write("half a character: \ud83d")
    writer.close()
    os.close(into)
    with os.fdopen(out) as file:
        assert file.read().splitlines() == [
            *(f"line {number}" for number in range(500)),
            "half a character: ?",
        ]
    assert writer.lost == 0


def test_a_reader_that_stopped_loses_lines_and_holds_up_nobody():
    out, into = os.pipe()
    writer = LineWriter(into, most_bytes=510)
    started_s = time.monotonic()
    for _ in range(200_000):
        writer.write("x" * 50)
    writer.close()
    assert time.monotonic() - started_s < 20
    assert writer.lost > 100_000
    os.close(out)


def test_a_reader_that_left_ends_the_program():
    out, into = os.pipe()
    writer = LineWriter(into)
    os.close(out)
    writer.write("x")
    writer._thread.join(5)
    with pytest.raises(SystemExit) as left:
        writer.write("y")
    assert left.value.code == 0
    os.close(into)


def test_head_ends_a_run_without_an_error(tmp_path):
    config, _ = write_config(tmp_path, {"a": write_video(tmp_path / "a.mp4", 300)})
    command = f"{VIDPIPE} run --config {config} --json | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment(tmp_path), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


def test_an_unread_pipe_does_not_keep_a_run_from_ending(tmp_path):
    config, _ = write_config(tmp_path, {"a": "scene://?seed=1", "b": "scene://?seed=2"})
    command = [VIDPIPE, "run", "--config", str(config), "--json", "--duration", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(tmp_path)) as run:
        assert run.stdout is not None
        assert run.wait(30) == 0
