"""`vidpipe run`: what it says when it has started."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.app import Started
from pipeline.cli import run
from pipeline.config.schema import Config


class Said:
    """A screen that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("keys", "config", "watch"),
    [
        (False, None, "vidpipe watch "),
        (False, Path("a b.yaml"), "vidpipe watch --config 'a b.yaml' "),
        (True, Path("b.yaml"), "vidpipe watch --keys FILE "),
    ],
)
def test_the_command_to_watch_with_reads_the_same_file(keys, config, watch):
    said = Said()
    settings = Config.model_validate({"cameras": {"a": {"source": "scene://"}}})
    run._announce(said, settings, Started("tcp://127.0.0.1:1", ("model m",), "127.0.0.1:2", keys), config)
    assert said.lines[0] == "model m"
    assert f"see it with: {watch} " in said.lines[-1]
