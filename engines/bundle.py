"""Model bundles on disk: found by name or folder, and read only after every hash is checked."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from engines.errors import ModelError
from engines.home import user_path
from engines.manifest import Manifest, parse_manifest

MANIFEST = "manifest.yaml"
ENCODER = "encoder.onnx"
TEMPORAL = "temporal.onnx"

_SHIPPED = Path(__file__).parent / "bundles"


@dataclass(frozen=True)
class Bundle:
    """One model: its folder, its manifest, and the SHA-256 of the manifest file, which names the whole model."""

    folder: Path
    manifest: Manifest
    sha: str

    @property
    def name(self) -> str:
        """What errors and messages call the model."""
        return self.manifest.name

    def read(self, file: str) -> bytes:
        """The bytes of one of the manifest's files, checked against its hash again, for the folder may have changed.

        Raises:
            ModelError: the file is missing, unreadable, or not the one that the manifest describes.
        """
        data = _read(self.folder / file, self.name)
        found, expected = hashlib.sha256(data).hexdigest(), self.manifest.files[file]
        if found != expected:
            raise ModelError(
                f"bundle {self.name}: {file} is damaged or was changed (SHA-256 {found[:12]}…, {MANIFEST} says "
                f"{expected[:12]}…): get the bundle {self.folder} again"
            )
        return data


def load_bundle(name_or_path: str | Path) -> Bundle:
    """Find a bundle by the name of a shipped one or by its folder, and check its manifest and all hashes.

    Raises:
        ModelError: there is no such bundle, its manifest is missing or wrong, or a file is missing or damaged.
    """
    folder = _find(name_or_path)
    data = _read(folder / MANIFEST, folder.name)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(
            f"bundle {folder.name}: {MANIFEST} is damaged (not UTF-8): get the bundle {folder} again"
        ) from error
    bundle = Bundle(folder, parse_manifest(text, f"bundle {folder.name}: {MANIFEST}"), hashlib.sha256(data).hexdigest())
    for file in bundle.manifest.files:
        bundle.read(file)
    return bundle


def list_bundles() -> list[str]:
    """The names of the bundles shipped with vidpipe, intact or not, sorted."""
    return sorted(path.parent.name for path in _SHIPPED.glob(f"*/{MANIFEST}"))


def _find(name_or_path: str | Path) -> Path:
    shipped = list_bundles()
    if str(name_or_path) in shipped:
        return _SHIPPED / str(name_or_path)
    folder = user_path(name_or_path)
    if (folder / MANIFEST).is_file():
        return folder.resolve()
    if folder.is_dir():
        raise ModelError(f"{folder} is no model bundle: it has no {MANIFEST}")
    if folder.exists():
        raise ModelError(f"{folder} is a file, and a model bundle is a folder with a {MANIFEST}: name the folder")
    close = difflib.get_close_matches(str(name_or_path), shipped, n=1)
    hint = f"did you mean {close[0]}?" if close else f"shipped with vidpipe are: {', '.join(shipped) or 'none'}"
    raise ModelError(f"there is no model {str(name_or_path)!r}, neither shipped nor as a folder; {hint}")


def _read(path: Path, bundle: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"bundle {bundle}: {path.name} is missing: get the bundle {path.parent} again") from error
    except OSError as error:
        raise ModelError(f"bundle {bundle}: {path.name} cannot be read: {error.strerror}: check {path}") from error
