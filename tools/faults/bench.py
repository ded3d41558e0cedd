"""The work bench of the fault cases: a video, a model that looks 30 times a second, and stages to hurt."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import yaml

from engines.bundle import load_bundle
from engines.scene import Scene
from faults.ear import Ear
from faults.pauses import Pauses
from faults.rig import Rig, running, write_config
from pipeline.bench.live import VIDPIPE
from pipeline.fakecam import FakeCamera, open_media

SOURCE_HZ = 30
GOP_S = 0.5
_UP_S = 30.0
_FREE_FRAMES = 16
_WATCHED = Path(__file__).parent / "watched.py"


@dataclass(frozen=True)
class Frame:
    """A frame as the model got it: media time, when `grab` returned, and when it was handed over, all in seconds."""

    camera: str
    media_s: float
    grabbed_s: float
    handed_s: float


@dataclass
class Stage:
    """Cameras, a pipeline on them, and an ear. Camera k is called cam<k>."""

    cameras: list[FakeCamera]
    rig: Rig
    ear: Ear
    started_s: float
    names: list[str] = field(default_factory=list)

    def frames(self, camera: str | None = None, since_s: float = 0.0) -> list[Frame]:
        """What the model got since then, of a pipeline that is watched."""
        lines = (self.rig.folder / "frames").read_text().splitlines()
        found = [Frame(*json.loads(line)) for line in lines if line.endswith("]")]
        return [frame for frame in found if camera in (None, frame.camera) and frame.handed_s >= since_s]

    def wait_for_all(self) -> None:
        """Until each camera has given a clip.

        Raises:
            RuntimeError: one did not.
        """
        for name in self.names:
            if self.ear.clip(name, _UP_S) is None:
                said = [f"{status.state} {status.detail}" for _, status in self.ear.statuses(name)[-1:]]
                raise RuntimeError(f"{name} gave no clip within {_UP_S:g} s: {said} {self.rig.errors[-1000:]}")


class Bench:
    """Makes stages; everything lies in one temporary folder."""

    def __init__(self, folder: Path, *, seed: int, soak: Path | None = None, capture: str = "opencv") -> None:
        self.folder, self.seed, self.soak, self.capture = folder, seed, soak, capture
        self.video = _record(folder / "scene.mp4", seed)
        self.quick_model = _quick_model(folder / "quick")

    def own_folder(self) -> Path:
        """A new empty folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def serve(self, stack: ExitStack, count: int, **options: Any) -> list[FakeCamera]:
        """So many fake cameras that show the video, each with its own port."""
        return [stack.enter_context(FakeCamera(one, **options)) for one in open_media(str(self.video), count)]

    @contextmanager
    def stage(
        self,
        count: int = 1,
        *,
        quick: bool = False,
        watched: bool = False,
        camera: dict[str, Any] | None = None,
        each: Sequence[dict[str, Any]] = (),
        prepare: Callable[[Sequence[FakeCamera]], None] = lambda _: None,
        served: dict[str, Any] | None = None,
        logins: Sequence[str] = (),
        program: Sequence[str] | None = None,
        wait: bool = True,
        more: dict[str, str] | None = None,
        **sections: Any,
    ) -> Iterator[Stage]:
        """Cameras, `vidpipe run` on them, and an ear.

        Args:
            count: how many cameras.
            quick: the model looks at each of the 30 frames a second, not at 5.
            watched: note each frame that the model gets.
            camera: further settings of each camera.
            each: settings of one camera each, in order.
            prepare: what is done to the cameras before the pipeline starts.
            served: options of the fake cameras.
            logins: user and password in the URL of each camera, as user:password.
            program: what is run instead of vidpipe.
            wait: return when each camera has given a clip.
            more: environment variables of the pipeline.
            sections: further sections of the configuration.
        """
        folder = self.own_folder()
        with ExitStack() as stack:
            cameras = self.serve(stack, count, **(served or {}))
            prepare(cameras)
            model = str(self.quick_model) if quick else "scene"
            own = {"model": model, "capture": self.capture, **(camera or {})}
            names = [f"cam{k}" for k in range(count)]
            sources = {name: {"source": one.url, **own} for name, one in zip(names, cameras, strict=True)}
            for name, settings in zip(names, each, strict=False):
                sources[name].update(settings)
            for name, login in zip(names, logins, strict=False):
                sources[name]["source"] = sources[name]["source"].replace("://", f"://{login}@", 1)
            config, address = write_config(folder, sources, **sections)
            ear = stack.enter_context(Ear(address))
            started_s = time.monotonic()
            noting = (sys.executable, str(_WATCHED), str(folder / "frames"))
            program = program or (noting if watched else VIDPIPE)
            rig = stack.enter_context(running(folder, config, address, program=program, more=more))
            stage = Stage(cameras, rig, ear, started_s, names)
            if wait:
                stage.wait_for_all()
            yield stage


def busy(pauses: Pauses) -> str:
    """Why a gap between frames may be the machine's doing, or nothing.

    In a standstill capture leaves out no frame until half of its ring of 16 is full, then every second: so a standstill
    that makes a gap of more than two lasts for 16.
    """
    waited = pauses.worst_s * SOURCE_HZ
    return f"its threads waited for a CPU for {waited:.1f} frame times in one second" if waited > _FREE_FRAMES else ""


def _record(path: Path, seed: int) -> Path:
    """Twelve seconds of the scene at 30 frames a second, with an IDR picture each half second.

    A client that connects waits for the next IDR picture, which is the camera's doing and none of vidpipe's.
    """
    scene = Scene(seed, width=640, height=360, fps=SOURCE_HZ)
    options = {"preset": "veryfast", "bf": "0", "g": str(round(GOP_S * SOURCE_HZ)), "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=SOURCE_HZ, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 640, 360, "yuv420p", 1_000_000
        for index in range(12 * SOURCE_HZ):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene.frame(index), "bgr24")))
        container.mux(stream.encode())
    return path


def _quick_model(folder: Path) -> Path:
    """The scene model with another rate in its manifest: its answers are worth nothing, its speed is what is wanted."""
    shutil.copytree(load_bundle("scene").folder, folder)
    path = folder / "manifest.yaml"
    manifest = yaml.safe_load(path.read_text())
    manifest["name"], manifest["input"]["fps"] = "quick", float(SOURCE_HZ)
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    return folder
