"""Try a compile in a child process, so that a back end that crashes costs one sentence and not this process.

OpenVINO 2026.2 to 2026.4 can die of SIGSEGV in `compile_model` (chained residual layers at a fixed batch, float32).
The verdict is remembered per model, back-end version, options and CPU.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from engines.cache import cache_folder, recall, remember
from engines.engine import Array, Backend, EngineOptions, load_class
from engines.errors import BackendError
from engines.gpu import driver

_log = logging.getLogger("vidpipe.engines")
_CHILD = "import sys; sys.path[0] = {root!r}; from engines.probe import child; child()"
_GOOD = "good"
# what the model and the back end did; a SIGKILL or SIGTERM comes from outside and says nothing of them
_LASTING = tuple(f"crashed ({name})" for name in ("SIGSEGV", "SIGILL", "SIGBUS", "SIGFPE", "SIGABRT"))


def probe(backend: Backend, model: bytes, options: Sequence[EngineOptions]) -> None:
    """Compile and run `model` once per options in a child process, unless an earlier run of vidpipe did.

    Raises:
        BackendError: the child crashed or hung, now or in the run that is remembered.
    """
    folder = cache_folder() / "probes"
    keys = [_key(backend, model, each) for each in options]
    verdicts = [recall(folder, key) for key in keys]
    unknown = [i for i, verdict in enumerate(verdicts) if verdict is None]
    if unknown:
        # a plan for a GPU can take minutes, which nobody should have to guess
        level = logging.WARNING if backend.resident else logging.INFO
        _log.log(level, "trying %s with %s for the first time", options[0].name, backend.title)
        found = _try(backend, model, [options[i] for i in unknown])
        for i, verdict in zip(unknown, found, strict=False):
            verdicts[i] = verdict
            if verdict == _GOOD or verdict in _LASTING:
                remember(folder, keys[i], verdict)
    for known in verdicts:
        if known not in (None, _GOOD):
            name, installed = options[0].name, release(backend)
            raise BackendError(
                f"{backend.title} {installed} {known} on {name} here: use another back end or version of it"
            )


def _key(backend: Backend, model: bytes, options: EngineOptions) -> str:
    shape = {name: value for name, value in asdict(options).items() if name != "name"}
    facts = [hashlib.sha256(model).hexdigest(), backend.target, release(backend), shape, cpu()]
    if backend.unusable:
        facts.append(repr(driver()))  # the only hardware that a back end may lack is a GPU
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def release(backend: Backend) -> str:
    """The version of the package that the back end would use; empty where it has none that is installed."""
    for package in (backend.package, *backend.instead):
        with suppress(PackageNotFoundError):
            return version(package)
    return ""


def cpu() -> str:
    """What a compiler may choose code by: the CPU's model and flags."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted(line for line in lines if line.startswith(("model name", "flags", "Features"))))


def _try(backend: Backend, model: bytes, options: Sequence[EngineOptions]) -> list[str]:
    """One verdict per options up to the first crash; the child says `good` after each that it survived."""
    task = json.dumps({"target": backend.target, "title": backend.title, "options": [asdict(each) for each in options]})
    command = [sys.executable, "-c", _CHILD.format(root=str(Path(__file__).parents[1]))]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            input=task.encode() + b"\n" + model,
            capture_output=True,
            timeout=backend.patience_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return [*_survived(error.stdout or b""), f"hung for {backend.patience_s:.0f} s"]
    except OSError:
        return []  # no child could be started
    survived = _survived(done.stdout)
    if done.returncode < 0:
        return [*survived, f"crashed ({signal.Signals(-done.returncode).name})"]
    return survived  # a child that raised leaves the rest to the parent, where the same error gets its sentence


def _survived(output: bytes) -> list[str]:
    return [line for line in output.decode(errors="replace").splitlines() if line == _GOOD]


def child() -> None:
    """The child's side: read the task and the model from stdin, compile and run each, report on stdout."""
    task = json.loads(sys.stdin.buffer.readline())
    model = sys.stdin.buffer.read()
    for each in task["options"]:
        engine = load_class(task["title"], task["target"]).open(model, EngineOptions(**each))
        for batch in (1, 3):  # a graph with a fixed batch ignores it
            engine.run({spec.name: _zeros(spec.shape, spec.dtype, batch) for spec in engine.inputs})
        engine.close()
        sys.stdout.write(_GOOD + "\n")
        sys.stdout.flush()


def _zeros(shape: tuple[int | None, ...], dtype: str, batch: int) -> Array:
    return np.zeros([batch if length is None else length for length in shape], dtype)
