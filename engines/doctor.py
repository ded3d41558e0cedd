"""What this machine has and what each back end could do on it; `vidpipe doctor` prints it."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import msgspec

from engines.backends import AUTO, BACKENDS, check_backend, installed_package, unusable
from engines.engine import Backend, load_class
from engines.errors import VidpipeError
from engines.gpu import driver

_X86 = ("sse4_2", "avx", "fma", "f16c", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16")
_AMX = ("amx_tile", "amx_int8", "amx_bf16", "amx_fp16")
_ARM = ("neon", "asimd", "asimddp", "i8mm", "bf16", "sve")
_PACKAGES = {  # what each is for
    "numpy": "arrays",
    "opencv-python-headless": "reads cameras and files",
    "openvino": "inference on CPUs",
    "onnxruntime": "inference on CPUs",
    "torch": "training, and inference for comparison",
    "onnx": "export, and the float64 reference of verify",
    "tensorrt": "inference on NVIDIA GPUs",
    "tensorrt-rtx": "builds plans without a GPU",
    "pycuda": "GPU memory and streams for TensorRT",
    "cuda-bindings": "CUDA graphs for TensorRT",
    "pyzmq": "the prediction stream",
    "av": "camera for tests (vidpipe fakecam)",
}
_EXTRAS = {"onnxruntime": "onnxruntime", "torch": "train", "onnx": "train", "av": "fakecam"}  # where several bring it
_FFMPEG = re.compile(r"^ +(avcodec|avformat|avutil|swscale): +YES \(([\d.]+)\)", re.MULTILINE)
_OPENSSL = re.compile(rb"OpenSSL (\d+\.\d+\.\d+\w*) [ \w]*\d{4}")


class Machine(msgspec.Struct, frozen=True):
    """The computer."""

    system: str
    python: str
    cpu: str
    cores: int  # that this process may use
    cpu_features: tuple[str, ...]
    memory_bytes: int


class GpuFinding(msgspec.Struct, frozen=True):
    """NVIDIA GPUs as the driver shows them; `problem` says why there are none."""

    cuda: str
    gpus: tuple[str, ...]
    problem: str


class Package(msgspec.Struct, frozen=True):
    """One package: what it is for, and its version or what installs it."""

    name: str
    purpose: str
    version: str
    install: str


class Video(msgspec.Struct, frozen=True):
    """What OpenCV brings along to read video with; old OpenSSL is a reason to keep rtsps:// off the internet."""

    opencv: str
    ffmpeg: dict[str, str]
    openssl: str
    backends: tuple[str, ...]


class BackendFinding(msgspec.Struct, frozen=True):
    """One back end: whether it could run here, and what it needs if not."""

    name: str
    title: str
    ready: bool
    finding: str
    precisions: tuple[str, ...] = ()  # of the encoder; the step is always f32


class DoctorReport(msgspec.Struct, frozen=True):
    """All that is known without loading a model. `auto` is the back end that `auto` would try first, empty for none."""

    vidpipe: str
    machine: Machine
    gpu: GpuFinding
    packages: tuple[Package, ...]
    video: Video | None
    python_openssl: str
    backends: tuple[BackendFinding, ...]
    auto: str
    why: str


def examine() -> DoctorReport:
    """Look at the machine; a package that does not import is a finding, not an error."""
    findings = tuple(_backend(name, backend) for name, backend in BACKENDS.items())
    auto, why = _auto({each.name: each for each in findings})
    return DoctorReport(
        vidpipe=_version("vidpipe"),
        machine=_machine(),
        gpu=_gpu(),
        packages=tuple(_package(name, purpose) for name, purpose in _PACKAGES.items()),
        video=_video(),
        python_openssl=_python_openssl(),
        backends=findings,
        auto=auto,
        why=why,
    )


def _backend(name: str, backend: Backend) -> BackendFinding:
    if reason := unusable(backend):
        return BackendFinding(name, backend.title, ready=False, finding=reason)
    try:
        check_backend(name)
        load_class(backend.title, backend.target)
    except VidpipeError as error:
        return BackendFinding(name, backend.title, ready=False, finding=str(error))
    package = installed_package(backend) or backend.package
    where = driver().gpus[0].name if backend.unusable else "this machine"
    found = f"{package} {_version(package)} on {where}"
    return BackendFinding(name, backend.title, ready=True, finding=found, precisions=_precisions(name))


def _precisions(name: str) -> tuple[str, ...]:
    """What the encoder could run in; OpenVINO gains by bfloat16 only where the CPU computes in it."""
    if name == "openvino" and {"amx_bf16", "avx512_bf16", "bf16"} & set(_machine().cpu_features):
        return ("f32", "bf16")
    return ("f32", "f16") if name == "tensorrt" else ("f32",)


def _auto(findings: dict[str, BackendFinding]) -> tuple[str, str]:
    """What `auto` would pick, and why; a model that it cannot load makes it go on to the next."""
    passed: list[str] = []
    for name in AUTO:
        if findings[name].ready:
            return name, "; ".join([f"the first that is ready of {', '.join(AUTO)}", *passed])
        passed.append(f"not {name}: {findings[name].finding}")
    return "", "; ".join(passed)


def _machine() -> Machine:
    text = _read(Path("/proc/cpuinfo"))
    names = re.findall(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = set(" ".join(re.findall(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)[:1]).split())
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", _read(Path("/proc/meminfo")), re.MULTILINE)
    return Machine(
        system=platform.platform(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        cpu=names[0] if names else platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        cpu_features=tuple(feature for feature in (*_X86, *_AMX, *_ARM) if feature in flags),
        memory_bytes=int(memory[1]) * 1024 if memory else 0,
    )


def _gpu() -> GpuFinding:
    found = driver()
    lines = (
        f"{gpu.name}, sm_{gpu.capability[0]}{gpu.capability[1]}, {gpu.memory_bytes / 2**30:.0f} GiB"
        for gpu in found.gpus
    )
    return GpuFinding(found.cuda, tuple(lines), found.problem)


def _package(name: str, purpose: str) -> Package:
    return Package(name, purpose, _version(name), "" if _version(name) else _install(name))


def _install(name: str) -> str:
    """How to get a package: by the extra of vidpipe that a user wants it for, else the first that brings it."""
    pattern = re.compile(rf"^{re.escape(name)}\b(?!-).*extra == ['\"]([\w-]+)['\"]")
    try:
        extras = [match[1] for line in requires("vidpipe") or () if (match := pattern.match(line))]
    except PackageNotFoundError:
        extras = []
    if not extras:
        return f"pip install {name}"
    return f"pip install 'vidpipe[{_EXTRAS.get(name, extras[0])}]'"


def _video() -> Video | None:
    try:
        import cv2  # noqa: PLC0415 - the engines import without it
    except ImportError:
        return None
    registry = cv2.videoio_registry
    return Video(
        opencv=cv2.__version__,
        ffmpeg=dict(_FFMPEG.findall(cv2.getBuildInformation())),
        openssl=_bundled_openssl(Path(cv2.__file__).parents[1]),
        backends=tuple(dict.fromkeys(registry.getBackendName(each) for each in registry.getBackends())),
    )


def _bundled_openssl(packages: Path) -> str:
    """The version that the OpenSSL inside OpenCV's wheel says of itself; empty where there is none."""
    for library in sorted(packages.glob("opencv*.libs/libcrypto*")):
        if found := _OPENSSL.search(library.read_bytes()):
            return found[1].decode()
    return ""


def _python_openssl() -> str:
    try:
        import ssl  # noqa: PLC0415 - a Python may be built without
    except ImportError:
        return ""
    return ssl.OPENSSL_VERSION


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if sys.platform == "linux" else ""
    except OSError:
        return ""
