"""A back end that says it has lower precisions: ONNX Runtime in float32, whose answers in `i8` are off."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.agreement import FEATURES
from engines.backends import BACKENDS
from engines.engine import Array, EngineOptions
from engines.errors import BackendError
from engines.ort import OrtEngine

NAME = "onnxruntime"


class Engine(OrtEngine):
    """`f16` is computed in bf16, `f8` crashes, `i8` is wrong by 1 in every feature, `i4` never runs."""

    @classmethod
    def open(cls, model: bytes, options: EngineOptions) -> Engine:
        if options.precision == "f8":
            raise BackendError(f"Lowering crashed (SIGSEGV) on {options.name} here: use another back end")
        engine = super().open(model, replace(options, precision="f32"))
        assert isinstance(engine, Engine)
        engine.precision = "bf16" if options.precision == "f16" else options.precision
        return engine

    def wait(self, request: int) -> dict[str, Array]:
        outputs = super().wait(request)
        if self.precision == "i4":
            raise BackendError("Lowering cannot run this graph in i4")
        return {FEATURES: outputs[FEATURES] + 1} if self.precision == "i8" else outputs


def install(monkeypatch: pytest.MonkeyPatch, *precisions: str) -> None:
    """In place of ONNX Runtime, for one test."""
    row = replace(BACKENDS[NAME], target="lowering:Engine", precisions=precisions)
    monkeypatch.setitem(BACKENDS, NAME, row)
