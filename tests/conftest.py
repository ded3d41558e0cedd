"""For every test: logging and its hooks are as before afterwards, and a line of the log that is lost is a failure."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """A command that a test calls takes over logging and the hooks for faults, pytest's own among them."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook, sys.unraisablehook)
    handlers, level = list(root.handlers), root.level
    try:
        return (yield)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(False)
        logging.getLogger("pipeline.operations.narration").setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _every_line_is_written(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    faults: list[str] = []
    monkeypatch.setattr(logging.Handler, "handleError", lambda *_: faults.append(traceback.format_exc()))
    yield
    assert not faults, f"a line of the log could not be written: {faults[0]}"
