"""A stream that does not end: a million steps of four cameras through an exported bundle, and again from its middle.

    python tools/experiments/endless.py [--quick] [--json OUT] [--families cnn_lstm,tcn]

A network that learned the task of `memory.py` for a moment is exported and stepped by the product's own `Temporal` on
OpenVINO, on digits, noise, darkness and irregular times. In the middle each camera's memory is written as a snapshot; a
fresh process restores it, steps the second half, and must say the same. `cnn_lstm` runs a million steps, others 50,000.
"""

from __future__ import annotations

from results import arguments, finish, table  # isort: skip - sets the number of threads first

import hashlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from eyes import SIDE, lend
from learners import bank_of, families_of, learn, toy_model
from memory import TICK_HZ, World, world
from streams import as_sequence, cue_stream, with_empty

from engines.bundle import Bundle, load_bundle
from engines.export import write_bundle
from engines.manifest import SCHEMA, FrameInput, Manifest
from engines.snapshot import decode_snapshot, encode_snapshot
from engines.temporal import Temporal
from engines.training.learning import Learning

CAMERAS = 4
BLOCK = 5000
"""Steps that are drawn, timed and hashed together."""
BANK = "bank.npy"


@dataclass
class Walked:
    """What a run did, block by block: CPU seconds, a hash of the logits, the largest state; and if all was well."""

    cpu_s: list[float] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    samples: list[npt.NDArray[np.float32]] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)
    well: bool = True


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--families", default="", help="names with commas; by default all, with --quick cnn_lstm")
    parser.add_argument("--second-half", nargs=3, metavar=("FOLDER", "FIRST", "END"), help="for the fresh process")
    chosen = parser.parse_args()
    if chosen.second_half:
        folder, first, end = Path(chosen.second_half[0]), *map(int, chosen.second_half[1:])
        walked = _second_half(folder, first, end)
        np.savez(folder / "second.npz", hashes=walked.hashes, samples=np.stack(walked.samples))
        return
    here, found = world(), {}
    for family in families_of(chosen.families, quick=["cnn_lstm"] if chosen.quick else None):
        steps = 20_000 if chosen.quick else 1_000_000 if family == "cnn_lstm" else 50_000
        with tempfile.TemporaryDirectory() as name:
            found[family] = _endless(family, here, Path(name), steps)
        print(family, found[family], flush=True)
    header = ("family", *next(iter(found.values())))
    rows = [(family, *figures.values()) for family, figures in found.items()]
    finish(chosen, {"cameras": CAMERAS, "families": found}, table(header, rows))


def _endless(family: str, here: World, folder: Path, steps: int) -> dict[str, object]:
    bundle = _exported(family, here, folder)
    blocks, middle, whole = steps // BLOCK, steps // BLOCK // 2, Walked()
    bank = np.load(folder / BANK)
    with Temporal.open(bundle, "openvino", capacity=CAMERAS, max_batch=CAMERAS) as temporal:
        rows = [temporal.pool.acquire(f"camera{index}") for index in range(CAMERAS)]
        _walk(temporal, rows, bank, range(middle), whole)
        for row in rows:
            snapshot = temporal.pool.snapshot(row, age_steps=middle * BLOCK, age_s=middle * BLOCK / TICK_HZ)
            (folder / f"{row}.state").write_bytes(encode_snapshot(snapshot))
        _walk(temporal, rows, bank, range(middle, blocks), whole)
    command = [sys.executable, __file__, "--second-half", str(folder), str(middle), str(blocks)]
    subprocess.run(command, check=True)
    second = np.load(folder / "second.npz")
    difference = float(np.abs(second["samples"] - np.stack(whole.samples[middle:])).max())
    tenth = max(1, blocks // 10)
    first_ms, last_ms = (1e3 * float(np.median(part)) / BLOCK for part in (whole.cpu_s[:tenth], whole.cpu_s[-tenth:]))
    return {
        "steps": blocks * BLOCK,
        "finite": whole.well,
        "largest state": max(whole.largest),
        "the same, first half": max(whole.largest[:middle]),
        "CPU ms a step, first tenth": first_ms,
        "CPU ms a step, last tenth": last_ms,
        "restored: same bits": second["hashes"].tolist() == whole.hashes[middle:],
        "restored: largest difference": difference,
    }


def _second_half(folder: Path, first: int, end: int) -> Walked:
    """Restore every camera in this process and go on."""
    bundle, walked = load_bundle(folder / "bundle"), Walked()
    with Temporal.open(bundle, "openvino", capacity=CAMERAS, max_batch=CAMERAS) as temporal:
        rows = [temporal.pool.acquire(f"camera{index}") for index in range(CAMERAS)]
        for row in rows:
            temporal.pool.restore(row, decode_snapshot((folder / f"{row}.state").read_bytes()))
        _walk(temporal, rows, np.load(folder / BANK), range(first, end), walked)
    return walked


def _walk(temporal: Temporal, rows: list[int], bank: npt.NDArray[np.float32], blocks: range, walked: Walked) -> None:
    """Step all cameras through some blocks; a block's inputs depend on its number alone."""
    for block in blocks:
        rng = np.random.default_rng([block, 7])
        shown = rng.integers(len(bank), size=(BLOCK, CAMERAS))
        dt = (rng.choice([1, 1, 1, 1, 2, 5, 16], (BLOCK, CAMERAS)) / TICK_HZ).astype(np.float32)
        keep = np.ones((BLOCK, CAMERAS), np.float32)
        keep[0] = block > 0
        said, digest = np.empty((0, 2), np.float32), hashlib.sha256()
        since = time.process_time()  # other programs' load does not count
        for index in range(BLOCK):
            result = temporal.step(rows, bank[shown[index]], dt[index], keep[index])
            walked.well &= bool(result.ok.all())
            digest.update(result.logits.tobytes())
            said = result.logits
        walked.cpu_s.append(time.process_time() - since)
        walked.hashes.append(digest.hexdigest())
        walked.samples.append(said.copy())
        state = temporal.pool.gather(np.array(rows))
        walked.largest.append(max(float(np.abs(one).max()) for one in state.values()))


def _exported(family: str, here: World, folder: Path) -> Bundle:
    """A bundle in `folder`, and beside it the features of all that its cameras will show."""
    model = lend(here.sight, toy_model(family, "conv", (SIDE, SIDE), labels=2, fps=TICK_HZ))
    bank, rng = bank_of(model, here.known), np.random.default_rng(8)
    learning = Learning(epochs=1, lanes=32, steps=16, learning_rate=4e-3, join=0, offset=0, drop=0, warm_up_steps=0)
    streams = [cue_stream(here.known, 150 * 16, 16.0, rng) for _ in range(32)]
    learn(model, [as_sequence(stream, bank, TICK_HZ, "learnt") for stream in streams], learning, labels=2)
    about = Manifest(SCHEMA, "endless", "1.0.0", family, ("7", "3"), FrameInput(1, 1, 1.0), (1,), (), {})
    write_bundle(folder / "bundle", model, about, "# a bundle for `tools/experiments/endless.py`\n")
    np.save(folder / BANK, bank_of(model, with_empty(here.unknown, rng)))
    return load_bundle(folder / "bundle")


if __name__ == "__main__":
    main()
