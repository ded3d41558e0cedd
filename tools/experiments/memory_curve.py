"""What memory buys: how often each family is right, 2 seconds to 5 minutes after the last thing it had to remember.

    python tools/experiments/memory_curve.py [--quick] [--json OUT] [--plot docs/memory.svg] [--families cnn_lstm,tcn]

The task of `memory.py` at 8 ticks a second. All families see through the same encoder and learn from the same streams
(cues every 1 to 200 seconds on average, chunks of 8 seconds, state carried). Each judged stream ends in one last cue
and five minutes of other digits, none of them seen in training; chance is 0.5.
"""

from __future__ import annotations

from results import arguments, finish, table  # isort: skip - sets the number of threads first

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from curve_plot import draw
from eyes import SIDE, lend
from learners import bank_of, families_of, learn, parameters, toy_model
from memory import TICK_HZ, World, windows, world
from streams import as_sequence, cue_stream, one_cue_stream

from engines.families.contract import StreamModel
from engines.training.answers import answer
from engines.training.learning import Learning
from engines.training.sequences import FeatureSequence

CHUNK = 64
LANES = 32
GAPS = (8.0, 1600.0)
"""Mean ticks between cues in training, spread evenly in the logarithm over the lanes."""
RATE = {"attention_lstm": 1.5e-3}
"""Peak learning rates; at the others' 4e-3 this one learned nothing."""
OPTIONS: dict[str, dict[str, object]] = {"two_stream": {"differences": "signed"}}
"""From how much features change, as is its default, nobody can tell what was seen; from how they change one can."""
BEFORE = 64
COPIES = 6
"""An error of sight looks like a cue, so the encoder is taught for longer here, and streams show shifted digits too."""
AGES_S = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 11, 16, 22, 32, 45, 64, 90, 128, 181, 256, 300)
SHORT = "16-frame windows"


def main() -> None:
    chosen = _arguments()
    updates, count = (600, 60) if chosen.quick else (chosen.updates, 300)
    ages_s = [age for age in AGES_S if age <= 32 or not chosen.quick]
    here, curves, rows = world(COPIES, 1500 if chosen.quick else 2000), {}, []
    for family in families_of(chosen.families, quick=["cnn_lstm", "tcn"] if chosen.quick else None):
        model = lend(
            here.sight,
            toy_model(
                family, "conv", (SIDE, SIDE), labels=2, fps=TICK_HZ, **{**OPTIONS.get(family, {}), **chosen.options}
            ),
        )
        spent_s = _learn(model, here, updates, chosen.rate or RATE.get(family, 4e-3))
        sequences = _judged_streams(model, here, count, ages_s[-1])
        curves[family] = right_by_age(sequences, [logits.argmax(1) for logits in answer(model, sequences)], ages_s)
        if family == "cnn_lstm":
            curves[SHORT] = _windows(model, sequences, ages_s)
        rows.append((family, parameters(model), reach(model), f"{spent_s:.0f} s", *_some(curves[family], ages_s)))
        print(*rows[-1], flush=True)
    rows.append((f"{SHORT} (cnn_lstm)", "", "2 s", "", *_some(curves[SHORT], ages_s)) if SHORT in curves else ())
    shown = [f"{age:g} s" for age in ages_s if age in SOME]
    text = table(("family", "parameters", "receptive field", "training", *shown), [row for row in rows if row])
    figures = {"ages_s": ages_s, "accuracy": curves, "streams": count, "named_rightly": here.named_rightly}
    finish(chosen, figures, text)
    if chosen.plot is not None:
        draw(ages_s, curves, SHORT, chosen.plot)


SOME = (1, 2, 8, 16, 32, 64, 128, 300)


def _some(curve: list[float], ages_s: Sequence[float]) -> list[float]:
    return [right for right, age in zip(curve, ages_s, strict=True) if age in SOME]


def reach(model: StreamModel) -> str:
    """How far back an answer can depend on what was seen."""
    return "unbounded" if model.receptive_field is None else f"{model.receptive_field / TICK_HZ:.0f} s"


def _learn(model: StreamModel, here: World, updates: int, rate: float) -> float:
    bank, rng = bank_of(model, here.known), np.random.default_rng(1)
    learning = Learning(
        epochs=1, lanes=LANES, steps=CHUNK, learning_rate=rate, reset=0.02, join=0, offset=0, drop=0, warm_up_steps=0
    )
    gaps = np.geomspace(*GAPS, LANES)
    streams = [cue_stream(here.known, updates * CHUNK, gap, rng) for gap in gaps]
    return learn(model, [as_sequence(stream, bank, TICK_HZ, "learnt") for stream in streams], learning, labels=2)


def _judged_streams(model: StreamModel, here: World, count: int, longest_s: float) -> list[FeatureSequence]:
    bank, rng = bank_of(model, here.unknown), np.random.default_rng(2)
    after = int(longest_s * TICK_HZ)
    streams = [one_cue_stream(here.unknown, BEFORE, after, rng) for _ in range(count)]
    return [as_sequence(stream, bank, TICK_HZ, "judged") for stream in streams]


def right_by_age(
    sequences: list[FeatureSequence], said: list[npt.NDArray[np.int64]], ages_s: Sequence[float]
) -> list[float]:
    """Share of streams that are right at each age of their last cue."""
    at = [BEFORE + round(age * TICK_HZ) for age in ages_s]
    right = np.array([one[at] == sequence.labels[at] for one, sequence in zip(said, sequences, strict=True)])
    return [float(share) for share in right.mean(0)]


def _windows(model: StreamModel, sequences: list[FeatureSequence], ages_s: Sequence[float]) -> list[float]:
    """The same for the same weights over the last 16 ticks alone."""
    said = [(windows(model, sequence) > 0.5).astype(np.int64) for sequence in sequences[:100]]
    return right_by_age(sequences[:100], said, ages_s)


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.add_argument("--families", default="", help="names with commas; by default all, with --quick two")
    parser.add_argument("--options", type=json.loads, default={}, metavar="JSON", help="options of these families")
    parser.add_argument("--updates", type=int, default=1000, help="chunks that each lane learns from")
    parser.add_argument("--rate", type=float, help="the peak learning rate")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
