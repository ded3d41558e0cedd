"""What the doctor says: true of this machine, and of machines that are made up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import requires, version

import fake_gpu
import pytest

from engines import doctor, gpu
from engines.backends import AUTO, BACKENDS, installed_backends
from engines.doctor import examine
from engines.engine import Backend
from engines.gpu import Driver, read_driver


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for _ in fake_gpu.install(monkeypatch):
        yield


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def none(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(gpu.ctypes, "CDLL", none)
    gpu.driver.cache_clear()
    yield
    gpu.driver.cache_clear()


def test_it_is_true_of_this_machine() -> None:
    report = examine()
    assert report.machine.cores == len(os.sched_getaffinity(0))
    assert report.machine.memory_bytes > 1 << 30
    packages = {package.name: package for package in report.packages}
    assert packages["numpy"].version == version("numpy")
    assert packages["numpy"].install == ""
    assert {each.name for each in report.backends if each.ready} == set(installed_backends())
    assert report.auto == next(name for name in AUTO if name in installed_backends())


def test_the_ffmpeg_and_the_openssl_inside_opencv_are_named() -> None:
    video = examine().video
    assert video is not None
    assert video.opencv.startswith(version("opencv-python-headless").split(".")[0])
    assert set(video.ffmpeg) == {"avcodec", "avformat", "avutil", "swscale"}
    assert all(number[0].isdigit() for number in video.ffmpeg.values())
    assert video.openssl.count(".") == 2


def test_a_missing_package_is_a_finding_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor._PACKAGES, "no-such-package", "nothing")
    monkeypatch.setattr(
        doctor, "requires", lambda name: ["no-such-package>=2; extra == 'some'", "no-such-package-x; extra == 'other'"]
    )
    (package,) = [each for each in examine().packages if each.name == "no-such-package"]
    assert (package.version, package.install) == ("", "pip install 'vidpipe[some]'")
    assert doctor._install("brand-new") == "pip install brand-new"


@pytest.mark.parametrize("name", sorted(doctor._EXTRAS))
def test_what_several_extras_bring_is_named_by_the_one_for_users(name: str) -> None:
    extra = doctor._EXTRAS[name]
    assert doctor._install(name) == f"pip install 'vidpipe[{extra}]'"
    lines = [line for line in requires("vidpipe") or () if line.startswith((f"{name}>", f"{name}="))]
    assert any(line.replace('"', "'").endswith(f"extra == '{extra}'") for line in lines)


def test_a_back_end_that_does_not_import_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "openvino", Backend("Broken", "engines.nowhere:Engine", "numpy", ""))
    (finding,) = [each for each in examine().backends if each.name == "openvino"]
    assert not finding.ready
    assert "Broken is installed but cannot be imported" in finding.finding


def test_without_a_gpu_it_says_why_and_what_is_taken_instead(without_gpu: None) -> None:
    report = examine()
    assert report.gpu == doctor.GpuFinding("", (), "there is no NVIDIA driver here (libcuda.so.1 is not installed)")
    assert report.auto == "openvino"
    assert "not tensorrt: there is no NVIDIA driver here" in report.why


def test_with_a_gpu_it_is_named_and_tensorrt_is_taken(with_gpu: None) -> None:
    report = examine()
    assert report.gpu.gpus == ("Fake GPU, sm_90, 80 GiB",)
    assert report.gpu.cuda == "13.0"
    (finding,) = [each for each in report.backends if each.name == "tensorrt"]
    assert (finding.finding, finding.precisions) == ("tensorrt  on Fake GPU", ("f32", "f16"))
    assert (report.auto, report.why) == ("tensorrt", f"the first that is ready of {', '.join(AUTO)}")


def test_no_back_end_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "unusable", lambda backend: "broken")
    report = examine()
    assert report.auto == ""
    assert report.why == "; ".join(f"not {name}: broken" for name in AUTO)


def test_a_driver_that_does_not_start_is_told_from_none() -> None:
    library = fake_gpu.FakeLibrary()
    assert read_driver(library).gpus[0].capability == (9, 0)
    library.status = 100
    assert read_driver(library) == Driver("", (), "the NVIDIA driver does not start (cuInit says 100): see nvidia-smi")
