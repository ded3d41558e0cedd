"""Check that the names of TensorRT that vidpipe uses exist in its Python modules of many versions, without running one.

    pip download --no-deps tensorrt-cu13-bindings==11.4.0.106
    python tools/trt_names.py tensorrt_cu13_bindings-11.4.0.106-*.whl

A name counts as present where a string in the compiled module of the wheel ends with it (linkers store `ERROR` inside
`INTERNAL_ERROR`). Names that are asked for
with hasattr are listed as absent where they are: that is their purpose.
"""

from __future__ import annotations

import ast
import sys
import zipfile
from pathlib import Path

ENGINES = Path(__file__).parents[1] / "engines"
VARIABLES = {"builder", "network", "parser", "config", "profile", "context", "engine_runtime", "cuda_engine", "trt"}
MODULES = ("tensorrt.so", "tensorrt_rtx.so", "tensorrt_lean.so")


def names() -> set[str]:
    """The last parts of all dotted names that begin with `trt.`, `runtime.module.` or an object of TensorRT's."""
    found: set[str] = set()
    for path in sorted(ENGINES.glob("trt_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                text = ast.unparse(node).removeprefix("self.").replace("runtime.module.", "trt.")
                if text.split(".")[0] in VARIABLES and "(" not in text:
                    found.add(text.split(".")[-1])
    return (found | {"EXPLICIT_BATCH", "STRONGLY_TYPED"}) - VARIABLES


def missing(wheel: Path, wanted: set[str]) -> list[str]:
    """The names that no compiled module of the wheel holds."""
    with zipfile.ZipFile(wheel) as archive:
        modules = [name for name in archive.namelist() if name.endswith(MODULES)]
        data = b"".join(archive.read(name) for name in modules)
        python = b"".join(archive.read(name) for name in archive.namelist() if name.endswith("__init__.py"))
    if not modules:
        sys.exit(f"{wheel.name} holds no Python module of TensorRT")
    return sorted(name for name in wanted if name.encode() + b"\0" not in data and name.encode() not in python)


def main() -> None:
    wanted = names()
    print(f"{len(wanted)} names")
    for wheel in map(Path, sys.argv[1:]):
        print(f"{wheel.name}: absent {', '.join(missing(wheel, wanted)) or 'none'}")


if __name__ == "__main__":
    main()
