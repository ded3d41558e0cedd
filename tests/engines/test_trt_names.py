"""Every name that the TensorRT and CUDA code uses, and that the fake of the tests has, exists in the real modules."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import fake_gpu
import pytest

import engines

FOLDER = Path(engines.__file__).parent
SOURCES = sorted(FOLDER.glob("trt_*.py"))
# asked for with hasattr: gone from 10 or 11 on (shared/reference: dumped from the modules of 8.6 to 11.4)
OLD = {"NetworkDefinitionCreationFlag.EXPLICIT_BATCH", "BuilderFlag.FP16", "PreviewFeature.PROFILE_SHARING_0806"}
CLASSES = {  # what a variable of this name is
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "context": "IExecutionContext",
    "engine_runtime": "Runtime",
    "cuda_engine": "ICudaEngine",
}
BUILDER_ONLY = {"Builder", "INetworkDefinition", "OnnxParser", "IBuilderConfig", "IOptimizationProfile"}


def attributes(path: Path) -> list[str]:
    """Dotted names in a module, longest first: `trt.MemoryPoolType.WORKSPACE`, `config.set_flag`."""
    found = []
    for top in ast.walk(ast.parse(path.read_text())):
        parts: list[str] = []
        node: ast.AST = top
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if parts and isinstance(node, ast.Name):
            found.append(".".join([node.id, *parts]))
    return found


USED = sorted({name for path in SOURCES for name in attributes(path)})
MODULE_NAMES = sorted(
    {name.removeprefix("trt.") for name in USED if name.startswith("trt.")}
    | {name.removeprefix("runtime.module.") for name in USED if name.startswith("runtime.module.")}
)
MEMBERS = sorted(
    name for name in (each.removeprefix("self.") for each in USED) if name.split(".")[0] in CLASSES and "." in name
)


def has(root: object, dotted: str) -> bool:
    for part in dotted.split("."):
        if not hasattr(root, part):
            return False
        root = getattr(root, part)
    return True


def test_the_walk_finds_the_names() -> None:
    assert {"MemoryPoolType.WORKSPACE", "TensorIOMode.INPUT", "ILogger.ERROR", "nptype"} <= set(MODULE_NAMES)
    assert {"config.set_timing_cache", "context.execute_async_v3", "network.get_input"} <= set(MEMBERS)
    assert {"cuda_engine.create_execution_context", "cuda_engine.get_tensor_mode"} <= set(MEMBERS)


@pytest.mark.parametrize("package", ["tensorrt", "tensorrt_rtx"])
def test_every_name_is_in_a_real_builder(package: str) -> None:
    real = pytest.importorskip(package, reason=f"{package} is not installed")
    assert [name for name in MODULE_NAMES if name not in OLD and not has(real, name)] == []
    assert [name for name in MEMBERS if not has(real, in_class(name))] == []


def test_every_runtime_member_is_in_the_lean_runtime_of_tensorrt_11() -> None:
    lean = pytest.importorskip("tensorrt_lean", reason="tensorrt-lean is not installed: pip install tensorrt-lean")
    members = [name for name in MEMBERS if CLASSES[name.split(".")[0]] not in BUILDER_ONLY]
    assert len(members) > 10
    assert [name for name in members if not has(lean, in_class(name))] == []


def in_class(name: str) -> str:
    """`context.infer_shapes` as `IExecutionContext.infer_shapes`."""
    variable, member = name.split(".")[:2]
    return f"{CLASSES[variable]}.{member}"


@pytest.mark.parametrize("kind", [fake_gpu.ICudaEngine, fake_gpu.IExecutionContext])
@pytest.mark.parametrize("package", ["tensorrt", "tensorrt_lean", "tensorrt_rtx"])
def test_the_fake_has_no_member_that_the_real_class_lacks(kind: type, package: str) -> None:
    real = getattr(pytest.importorskip(package, reason=f"{package} is not installed"), kind.__name__)
    assert {name for name in vars(kind) if not name.startswith("_")} <= set(dir(real))


@pytest.mark.parametrize("package", ["tensorrt", "tensorrt_lean", "tensorrt_rtx"])
def test_the_fake_module_has_no_name_that_the_real_one_lacks(package: str) -> None:
    real = pytest.importorskip(package, reason=f"{package} is not installed")
    fake = fake_gpu.tensorrt(fake_gpu.Machine())
    assert {name for name in vars(fake) if not name.startswith("_")} <= set(dir(real))
    assert {name for name in vars(fake.ILogger) if not name.startswith("_")} <= set(dir(real.ILogger))
    assert {name for name in vars(fake.Runtime) if not name.startswith("_")} <= set(dir(real.Runtime))
    assert set(vars(fake.TensorIOMode)) <= set(dir(real.TensorIOMode))


def test_the_graph_names_are_in_the_real_cuda_bindings() -> None:
    """cuda-bindings imports without a driver."""
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    used = [name.removeprefix("cu.") for name in attributes(FOLDER / "trt_graph.py") if name.startswith("cu.")]
    assert "cuGraphLaunch" in used
    assert [name for name in used if not has(real, name)] == []
    fake = fake_gpu.cuda_driver(fake_gpu.Machine())
    assert [name for name in vars(fake) if not name.startswith("_") and not hasattr(real, name)] == []


def test_the_memory_names_are_in_the_real_pycuda() -> None:
    """pycuda's module does not import without libcuda; its names are strings in its two files."""
    spec = pytest.importorskip("importlib.util").find_spec("pycuda")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("pycuda is not installed")
    folder = Path(next(iter(spec.submodule_search_locations)))
    (binary,) = folder.glob("_driver*.so")
    text = binary.read_bytes() + (folder / "driver.py").read_bytes()
    used = {name.split(".")[-1] for name in attributes(FOLDER / "trt_cuda.py") if name.startswith("self._driver.")}
    fake = fake_gpu.pycuda_driver(fake_gpu.Machine())
    names = used | {name for name in vars(fake) if not name.startswith("_")}
    assert {"pagelocked_empty", "memcpy_htod_async", "memset_d8_async", "event_flags"} <= names
    assert [name for name in sorted(names) if name.encode() not in text] == []


def test_the_fake_covers_what_is_used_of_pycuda() -> None:
    fake = fake_gpu.pycuda_driver(fake_gpu.Machine())
    used = {name for name in attributes(FOLDER / "trt_cuda.py") if name.startswith("self._driver.")}
    assert [name for name in used if not has(SimpleNamespace(_driver=fake), name.removeprefix("self."))] == []
