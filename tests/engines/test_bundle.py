"""Bundles: found, checked to the byte, and refused in one sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.bundle import Bundle, list_bundles, load_bundle
from engines.errors import ModelError


def test_sha_is_the_hash_of_the_manifest_and_read_gives_the_verified_bytes(tiny: Bundle) -> None:
    assert tiny.sha == hashlib.sha256((tiny.folder / "manifest.yaml").read_bytes()).hexdigest()
    assert tiny.read("encoder.onnx") == (tiny.folder / "encoder.onnx").read_bytes()


def flip_one_bit(folder: Path, file: str) -> None:
    data = bytearray((folder / file).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / file).write_bytes(data)


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "manifest.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def empty(folder: Path) -> None:
    (folder / "temporal.onnx").write_bytes(b"")


def cut_file(folder: Path) -> None:
    path = folder / "encoder.onnx"
    path.write_bytes(path.read_bytes()[:-1])


def folder_instead_of_file(folder: Path) -> None:
    (folder / "temporal.onnx").unlink()
    (folder / "temporal.onnx").mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "one flipped bit in the encoder": (
        lambda f: flip_one_bit(f, "encoder.onnx"),
        ["encoder.onnx is damaged", "SHA-256"],
    ),
    "one flipped bit in the step": (lambda f: flip_one_bit(f, "temporal.onnx"), ["temporal.onnx is damaged"]),
    "a file cut by one byte": (cut_file, ["encoder.onnx is damaged"]),
    "an empty file": (empty, ["temporal.onnx is damaged"]),
    "a missing file": (lambda f: (f / "encoder.onnx").unlink(), ["encoder.onnx is missing"]),
    "a folder where a file should be": (folder_instead_of_file, ["temporal.onnx cannot be read"]),
    "a missing manifest": (lambda f: (f / "manifest.yaml").unlink(), ["no manifest.yaml"]),
    "an empty manifest": (
        lambda f: (f / "manifest.yaml").write_text(""),
        ["manifest.yaml", "not a valid bundle manifest"],
    ),
    "a manifest that is no YAML": (lambda f: (f / "manifest.yaml").write_text("a: ["), ["is not valid YAML"]),
    "a manifest that is no text": (
        lambda f: (f / "manifest.yaml").write_bytes(b"\xff\xfe"),
        ["manifest.yaml is damaged"],
    ),
    "an unknown field": (lambda f: edit(f, "family:", "famly:"), ["famly"]),
    "a wrong type": (lambda f: edit(f, "height: 6", "height: six"), ["$.input.height"]),
    "another schema": (
        lambda f: edit(f, "vidpipe.bundle/1", "vidpipe.bundle/9"),
        ["vidpipe.bundle/9", "vidpipe.bundle/1"],
    ),
    "an event that is left before it is entered": (
        lambda f: edit(f, "events: {}", "events: {passing: {enter: 0.5, exit: 0.6}}"),
        ["events.passing has exit 0.6 above enter 0.5"],
    ),
    "a file outside the folder": (
        lambda f: edit(f, "files:", "files:\n  ../up: ab"),
        ["../up", "not a plain file name"],
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_one_sentence(case: str, write_bundle: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    load_bundle(folder)
    damage, parts = DAMAGE[case]
    damage(folder)
    with pytest.raises(ModelError) as refused:
        load_bundle(folder)
    message = str(refused.value)
    assert "\n" not in message
    assert "tiny" in message
    for part in parts:
        assert part in message


def test_a_change_after_loading_is_noticed_when_the_file_is_read(
    write_bundle: Callable[[Path], Path], tmp_path: Path
) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "tiny"))
    flip_one_bit(bundle.folder, "encoder.onnx")
    with pytest.raises(ModelError, match=r"encoder\.onnx is damaged"):
        bundle.read("encoder.onnx")


def test_an_unknown_name_lists_what_there_is_and_guesses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.bundle._SHIPPED", tmp_path)
    assert list_bundles() == []
    with pytest.raises(ModelError, match=r"no model 'scnee'.*shipped with vidpipe are: none"):
        load_bundle("scnee")
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene" / "manifest.yaml").touch()
    with pytest.raises(ModelError, match=r"did you mean scene\?"):
        load_bundle("scnee")
    with pytest.raises(ModelError, match="shipped with vidpipe are: scene"):
        load_bundle(tmp_path / "nothing")


def test_a_shipped_bundle_is_found_by_name_and_a_file_is_no_bundle(
    write_bundle: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.bundle._SHIPPED", tmp_path)
    folder = write_bundle(tmp_path / "tiny")
    assert list_bundles() == ["tiny"]
    assert load_bundle("tiny").folder == folder
    with pytest.raises(ModelError, match="name the folder"):
        load_bundle(folder / "encoder.onnx")
    with pytest.raises(ModelError, match=r"no model bundle: it has no manifest.yaml"):
        load_bundle(tmp_path)
