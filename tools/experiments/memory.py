"""What a memory must hold: a stream of digits, and at each tick, was the last 3 or 7 a 3?

    python tools/experiments/memory.py [--quick] [--json OUT]

Trained where a cue comes every 16 ticks on average, in chunks of 16 ticks, twice: with the state carried from chunk to
chunk, and with each chunk a window from zero state. Judged on held-out digits where a cue comes every 16 and every 200
ticks, as a stream, and with the same weights over windows of the last 16 ticks from zero state.
"""

from __future__ import annotations

from results import arguments, finish, table  # isort: skip - sets the number of threads first

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from digits import Digits, small_digits
from eyes import SIDE, Weights, lend, named, taught, with_shifted
from learners import bank_of, learn, toy_model
from moving import enlarged
from sklearn.metrics import average_precision_score
from streams import as_sequence, cue_stream

from engines.families.contract import StreamModel
from engines.training.answers import answer, softmax
from engines.training.learning import Learning
from engines.training.sequences import UNLABELLED, FeatureSequence

TICK_HZ = 8.0
CHUNK = 16
LANES = 32
GAPS = (16.0, 200.0)
WAYS = {"state carried": 0.05, "windows from zero state": 1.0}
"""How training goes, and the chance that a chunk starts from zero."""


@dataclass(frozen=True)
class World:
    """Digits to learn from, digits to judge by, and the encoder's weights, which know the former alone."""

    known: Digits
    unknown: Digits
    sight: Weights
    named_rightly: float


def world(copies: int = 0, batches: int = 600) -> World:
    """Scikit-learn's digits at twice their size, and an encoder that was taught them one by one.

    The digits to learn from come with so many shifted `copies` of each.
    """
    known, unknown = enlarged(small_digits(), SIDE).divide(497, seed=0)
    weights, layer = taught(known, batches)
    known = with_shifted(known, copies)
    return World(known, unknown, weights, named(weights, layer, unknown))


def main() -> None:
    chosen = arguments(__doc__).parse_args()
    seeds, updates, ticks = 2 if chosen.quick else 3, 1500, 4000
    here, found, rows = world(), {}, []
    for way, reset in WAYS.items():
        per_seed = []
        for seed in range(seeds):
            model = lend(here.sight, toy_model("cnn_lstm", "conv", (SIDE, SIDE), labels=2, fps=TICK_HZ))
            _learn(model, here, updates, reset, seed)
            per_seed.append(_judged(model, here, ticks))
        found[way] = np.array(per_seed).mean(0)
        rows.append((way, *(" / ".join(f"{value:.3f}" for value in column) for column in np.array(per_seed).T)))
        print(*rows[-1], flush=True)
    header = ("training", *(f"{how}, gap {gap:g}" for gap in GAPS for how in ("stream", "16-tick windows")))
    figures = {way: dict(zip(header[1:], values.tolist(), strict=True)) for way, values in found.items()}
    finish(chosen, {"average_precision": figures, "named_rightly": here.named_rightly}, table(header, rows))


def _learn(model: StreamModel, here: World, updates: int, reset: float, seed: int) -> None:
    bank, rng = bank_of(model, here.known), np.random.default_rng([seed, 1])
    learning = Learning(
        epochs=1, lanes=LANES, steps=CHUNK, learning_rate=4e-3, reset=reset, join=0, offset=0, drop=0, warm_up_steps=0
    )
    streams = [cue_stream(here.known, updates * CHUNK, GAPS[0], rng) for _ in range(LANES)]
    learn(model, [as_sequence(stream, bank, TICK_HZ, "learnt") for stream in streams], learning, labels=2, seed=seed)


def _judged(model: StreamModel, here: World, ticks: int) -> list[float]:
    """Average precision for each gap, of streams and of windows."""
    bank, figures = bank_of(model, here.unknown), []
    for gap in GAPS:
        rng = np.random.default_rng([int(gap), 2])
        streams = [cue_stream(here.unknown, ticks, gap, rng) for _ in range(8)]
        sequences = [as_sequence(stream, bank, TICK_HZ, "judged") for stream in streams]
        said = [softmax(logits)[:, 1] for logits in answer(model, sequences)]
        figures.append(precision(sequences, said))
        figures.append(precision(sequences, [windows(model, sequence) for sequence in sequences]))
    return figures


def precision(sequences: list[FeatureSequence], said: list[npt.NDArray[np.float32]]) -> float:
    """Average precision over all ticks that have an answer."""
    truth, score = np.concatenate([s.labels for s in sequences]), np.concatenate(said)
    return float(average_precision_score(truth[truth != UNLABELLED] == 1, score[truth != UNLABELLED]))


@torch.inference_mode()
def windows(model: StreamModel, sequence: FeatureSequence, length: int = CHUNK) -> npt.NDArray[np.float32]:
    """For each tick the probability of a 3 after the last `length` ticks alone, from zero state."""
    features = np.concatenate([np.repeat(sequence.features[:1], length - 1, 0), sequence.features])
    parts = []
    for at in range(0, len(sequence), 1000):
        ends = np.arange(at, min(at + 1000, len(sequence)))
        seen = torch.from_numpy(features[ends[:, None] + np.arange(length)])
        logits, _ = model(seen, torch.full(seen.shape[:2], 1.0 / model.fps))
        parts.append(torch.softmax(logits[:, -1], 1)[:, 1].numpy())
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
