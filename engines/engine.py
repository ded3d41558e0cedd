"""The engine contract: named tensors in, named tensors out, on a back end imported only when used.

A back end is one file with one class that has the members of `Engine` and a class method
`open(model: bytes, options: EngineOptions) -> Engine`, plus a row in `BACKENDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

from numpy.typing import NDArray

from engines.errors import BackendError
from engines.interrupts import interrupts_held

Array: TypeAlias = NDArray[Any]
Feeds: TypeAlias = Mapping[str, Array]

FULL_PRECISION = "f32"
AUTO_PRECISION = "auto"  # what `vidpipe build` chose by measurement on this machine, else f32


@dataclass(frozen=True)
class TensorSpec:
    """Name, numpy dtype name and shape of one tensor of a graph; `None` stands for a length fixed only when it runs."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def fits(self, shape: tuple[int | None, ...]) -> bool:
        """Whether a tensor of `shape` can be meant: same number of axes, and no two known lengths differ."""
        return len(shape) == len(self.shape) and all(
            a is None or b is None or a == b for a, b in zip(shape, self.shape, strict=True)
        )

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {shape_text(self.shape)}"


def nobody(_: int) -> None:
    """Who listens to an engine before someone does."""


def shape_text(shape: tuple[int | None, ...]) -> str:
    """A shape as people write it: `[N, 90, 160, 3]`."""
    return f"[{', '.join('N' if length is None else str(length) for length in shape)}]"


@dataclass(frozen=True)
class EngineOptions:
    """How to open one graph."""

    name: str  # what errors call the model, e.g. "encoder.onnx of scene"
    batch: int | None = None  # length of the first axis of every input; None: decided by each run
    requests: int = 1  # asynchronous requests that may be in flight at once
    threads: int | None = None  # threads over all requests; None: one per CPU this process may use
    precision: str = FULL_PRECISION  # arithmetic inside the graph; tensors that cross the boundary keep their type
    max_batch: int = 16  # longest first axis that will be run; back ends that compile for batches go up to it
    rows: int = 0  # most rows of a state pool inside the graph (`engines.arena`); 0: it has none
    cautious: bool = False  # leave out what is known to crash the compiler, at some cost in speed


class Engine(Protocol):
    """One graph, loaded and compiled. Owned by one thread; `requests` of its runs may be in flight at once."""

    backend: str  # key in BACKENDS
    version: str  # of the package that runs the graph
    precision: str  # what the arithmetic really is, e.g. "f32"
    device: str  # e.g. "CPU"
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Feed every input by name and get every output by name, as arrays that belong to the caller.

        Raises:
            BackendError: a tensor is missing, unknown, or of another type or shape than its spec, or the run failed.
        """
        ...

    def start(self, request: int, feeds: Feeds) -> None:
        """Start one run; the fed arrays may be shared, so they must stay untouched until `wait(request)` returns."""
        ...

    def done(self, request: int) -> bool:
        """Whether `wait(request)` would return at once."""
        ...

    def wait(self, request: int) -> dict[str, Array]:
        """Wait for a started run and get its outputs, as arrays that belong to the caller."""
        ...

    def listen(self, finished: Callable[[int], None]) -> bool:
        """Have `finished(request)` called, from any thread, when a started run ends; False: this back end cannot.

        `wait` then returns at once or nearly so; `done` may still say no for a moment.
        """
        ...

    def close(self) -> None:
        """Wait for what is in flight and free threads and memory; closing twice is allowed."""
        ...


@dataclass(frozen=True)
class Backend:
    """A row of the back-end table: where the class is, and what must be installed for it."""

    title: str
    target: str  # import string, module:class
    package: str  # what it needs, by the name that is both imported and installed
    extra: str  # the extra of vidpipe that brings it; empty: a plain install does
    may_crash: bool = False  # compiling can kill the process, so try it in a child first
    patience_s: float = 300.0  # how long that child may take
    fixed_batches: bool = False  # a compile for one batch is faster than one for any
    precisions: tuple[str, ...] = ()  # beside f32; what the machine lacks may be computed in another
    instead: tuple[str, ...] = ()  # packages that do as well as `package`
    besides: tuple[str, ...] = ()  # further packages that it needs, brought by the same extra
    unusable: str = ""  # import string of a function that says why nothing can run here; its answer is empty if it can
    encoder: str = ""  # import strings of an Encoder and a Temporal that keep features and state on the device;
    temporal: str = ""  # the latter runs `temporal.onnx` with pools inside

    @property
    def resident(self) -> bool:
        """Whether features and state stay where the engine runs."""
        return bool(self.temporal)


class EngineClass(Protocol):
    """What a row of the back-end table points at."""

    def open(self, model: bytes, options: EngineOptions) -> Engine:
        """Load and compile the ONNX file `model`; raises BackendError."""
        ...


def load_class(title: str, target: str) -> EngineClass:
    """Import the class behind an import string.

    Raises:
        BackendError: the package is there and does not import, e.g. for a missing system library.
    """
    try:
        return cast("EngineClass", load_attribute(target))
    except (ImportError, OSError) as error:
        raise BackendError(f"{title} is installed but cannot be imported: {' '.join(str(error).split())}") from error


def load_attribute(target: str) -> Any:
    """What an import string `module:name` points at."""
    module, _, attribute = target.partition(":")
    with interrupts_held():
        return getattr(importlib.import_module(module), attribute)
