"""Which back end is picked, what is said when one is missing, and a back end that kills its process."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines import backends
from engines.backends import BACKENDS, Backend, check_backend, installed_backends, open_engines
from engines.bundle import Bundle
from engines.cache import recall, remember
from engines.encoder import Encoder
from engines.engine import EngineOptions
from engines.errors import BackendError, MissingExtraError
from engines.probe import probe

OPTIONS = [EngineOptions("tiny.onnx")]
CRASHING = """
import os, pathlib, signal, sys
from engines.ort import OrtEngine

class Engine(OrtEngine):
    @classmethod
    def open(cls, model, options):
        counter = pathlib.Path(os.environ["OPENED"])
        with counter.open("a") as file:
            file.write(f"{os.getpid()}\\n")
        if options.batch == 4 or (options.batch == 7 and not options.cautious):
            os.kill(os.getpid(), signal.SIGSEGV)
        if options.batch == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        if options.batch == 5:
            print("noise on stdout")
            print("noise on stderr", file=sys.stderr)
            sys.exit(3)
        engine = super().open(model, options)
        engine.cautious = options.cautious
        return engine
"""


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """Makes `openvino` a back end that dies of SIGSEGV for batch 4; gives the process ids that opened it."""
    (tmp_path / "fragile_engine.py").write_text(CRASHING)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OPENED", str(tmp_path / "opened"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    row = Backend("Fragile", "fragile_engine:Engine", "openvino", "", may_crash=True, fixed_batches=True)
    monkeypatch.setitem(BACKENDS, "openvino", row)
    return lambda: [int(line) for line in (tmp_path / "opened").read_text().split()]


def batches(*sizes: int) -> list[EngineOptions]:
    return [EngineOptions("tiny.onnx", batch=size) for size in sizes]


def test_a_crash_in_the_compiler_is_one_sentence_and_is_remembered(
    fragile: Callable[[], list[int]], graphs: object
) -> None:
    with pytest.raises(
        BackendError, match=r"^Fragile \S+ crashed \(SIGSEGV\) on tiny\.onnx here: use another"
    ) as refused:
        open_engines(graphs.encoder(), "openvino", batches(1, 4))
    assert "\n" not in str(refused.value)
    tried = fragile()
    assert len(tried) == 4  # both batches as asked, and both with caution
    assert os.getpid() not in tried
    with pytest.raises(BackendError, match="crashed"):
        open_engines(graphs.encoder(), "openvino", batches(1, 4))
    assert fragile() == tried  # from memory, without another crash


def test_caution_is_the_way_out_where_it_helps(
    fragile: Callable[[], list[int]], graphs: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "vidpipe"):
        first, second = open_engines(graphs.encoder(), "openvino", batches(1, 7)).engines
    assert (first.cautious, second.cautious) == (True, True)
    assert "crashed (SIGSEGV)" in caplog.messages[-1]
    assert "without the optimisation that crashed" in caplog.messages[-1]


def test_a_graph_that_crashes_the_real_compiler_gives_right_answers() -> None:
    """Chained residual layers at a fixed batch of 8 kill OpenVINO 2026.2 to 2026.4 with SIGSEGV."""
    rng = np.random.default_rng(0)
    shapes = {"a": (64, 64), "ab": (64,), "b": (64, 128), "bb": (128,), "c": (128, 64), "cb": (64,)}
    w = {name: (0.1 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Gemm", ["x", "a", "ab"], ["xa"]),
        helper.make_node("Add", ["x", "xa"], ["x1"]),
        helper.make_node("Gemm", ["x1", "b", "bb"], ["xb"]),
        helper.make_node("Relu", ["xb"], ["xr"]),
        helper.make_node("Gemm", ["xr", "c", "cb"], ["xc"]),
        helper.make_node("Add", ["x1", "xc"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 64]) for name in "xy")
    weights = [numpy_helper.from_array(array, name) for name, array in w.items()]
    graph = helper.make_graph(nodes, "residual", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    (engine,) = open_engines(model, "openvino", [EngineOptions("residual.onnx", batch=8)]).engines
    given = rng.normal(size=(8, 64)).astype(np.float32)
    once = given + given @ w["a"] + w["ab"]
    expected = once + np.maximum(once @ w["b"] + w["bb"], 0) @ w["c"] + w["cb"]
    np.testing.assert_allclose(engine.run({"x": given})["y"], expected, atol=1e-4)
    engine.close()


def test_a_child_killed_from_outside_is_not_held_against_the_model(
    fragile: Callable[[], list[int]], graphs: object
) -> None:
    for times in (1, 2):
        with pytest.raises(BackendError, match=r"crashed \(SIGKILL\)"):
            open_engines(graphs.encoder(), "openvino", batches(6))
        assert len(fragile()) == 2 * times


def test_auto_falls_back_and_says_so(fragile: Callable[[], list[int]], tiny: Bundle) -> None:
    with Encoder.open(tiny, "auto", max_batch=4) as encoder:
        assert encoder.backend == "onnxruntime"
        assert "not openvino: Fragile" in encoder.why
        assert "crashed (SIGSEGV)" in encoder.why


def test_what_works_is_tried_in_a_child_once(fragile: Callable[[], list[int]], graphs: object) -> None:
    open_engines(graphs.encoder(), "openvino", batches(1, 2))
    assert [pid == os.getpid() for pid in fragile()] == [False, False, True, True]
    open_engines(graphs.encoder(), "openvino", batches(2, 1))
    assert [pid == os.getpid() for pid in fragile()][4:] == [True, True]
    other = graphs.encoder(output="other")
    open_engines(other, "openvino", batches(1))
    assert [pid == os.getpid() for pid in fragile()][6:] == [False, True]


def test_a_child_that_only_fails_leaves_the_sentence_to_the_parent(fragile: Callable[[], list[int]]) -> None:
    with pytest.raises(BackendError, match=r"cannot load tiny\.onnx"):
        open_engines(b"no model", "openvino", OPTIONS)
    assert len(fragile()) == 2  # nothing was remembered: tried in the child, then here


def test_noise_of_a_child_is_no_verdict(fragile: Callable[[], list[int]], graphs: object, tmp_path: Path) -> None:
    probe(BACKENDS["openvino"], graphs.encoder(), batches(5))
    assert not list((tmp_path / "cache" / "vidpipe" / "probes").glob("*"))


def test_a_read_only_cache_costs_a_warning_and_nothing_else(
    graphs: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file-where-the-folder-should-be"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    with caplog.at_level(logging.WARNING, "vidpipe"):
        (engine,) = open_engines(graphs.encoder(), "openvino", OPTIONS).engines
    engine.close()
    (record,) = caplog.records
    assert f"the cache folder {blocked}" in record.getMessage()
    assert "cannot be written" in record.getMessage()


def test_a_full_disk_leaves_no_half_written_memory(tmp_path: Path) -> None:
    remember(tmp_path, "key", "old")
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[1]);"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1));"  # a file may have one byte: the write fails half-way
        "from pathlib import Path; from engines.cache import remember;"
        "remember(Path(sys.argv[2]), 'key', 'new and longer than one byte')"
    )
    root = Path(backends.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, root, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "cannot be written (File too large)" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert recall(tmp_path, "key") == "old"


def test_unreadable_memory_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    assert recall(tmp_path, "key") is None
    assert recall(tmp_path, "nothing") is None


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    real = backends.importlib.util.find_spec
    monkeypatch.setattr(
        backends.importlib.util, "find_spec", lambda name, *rest: None if name in packages else real(name, *rest)
    )


def test_an_unknown_back_end_lists_the_known_ones() -> None:
    with pytest.raises(BackendError, match=r"no back end 'openvin': vidpipe knows auto, .*openvino, onnxruntime"):
        check_backend("openvin")


def test_a_missing_package_names_the_fix(monkeypatch: pytest.MonkeyPatch, graphs: object) -> None:
    hide(monkeypatch, "onnxruntime", "openvino")
    with pytest.raises(
        MissingExtraError, match=r"onnxruntime, which is not installed: pip install 'vidpipe\[onnxruntime\]'"
    ):
        open_engines(graphs.encoder(), "onnxruntime", OPTIONS)
    with pytest.raises(BackendError, match="needs the package openvino: pip install openvino"):
        open_engines(graphs.encoder(), "openvino", OPTIONS)
    with pytest.raises(
        BackendError, match=r"no back end can load tiny\.onnx: .*not openvino: .*; not onnxruntime: "
    ) as none:
        open_engines(graphs.encoder(), "auto", OPTIONS)
    assert "\n" not in str(none.value)
    assert not {"openvino", "onnxruntime"} & set(installed_backends())


def test_auto_takes_the_next_when_the_best_is_not_installed(monkeypatch: pytest.MonkeyPatch, graphs: object) -> None:
    hide(monkeypatch, "openvino")
    opened = open_engines(graphs.encoder(), "auto", OPTIONS)
    assert opened.engines[0].backend == "onnxruntime"
    assert "not openvino: the back end openvino needs the package openvino" in opened.why


def test_a_package_that_does_not_import_is_a_back_end_error(
    graphs: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_engine.py").write_text("raise ImportError('libnothing.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKENDS, "onnxruntime", Backend("ONNX Runtime", "broken_engine:Engine", "onnxruntime", "x"))
    with pytest.raises(BackendError, match=r"installed but cannot be imported: libnothing\.so\.1"):
        open_engines(graphs.encoder(), "onnxruntime", OPTIONS)


def test_importing_the_runtime_imports_no_back_end() -> None:
    code = (
        "import json, sys; import engines.encoder, engines.temporal, engines.bundle, engines.verify;"
        "optional = 'openvino onnxruntime onnx torch tensorrt tensorrt_rtx pycuda cuda'.split();"
        "print(json.dumps([m for m in optional if m in sys.modules]))"
    )
    root = Path(backends.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
