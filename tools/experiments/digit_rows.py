"""A digit row by row: MNIST's 28 rows of 28 pixels, one a step, and after the last one which digit it was.

    python tools/experiments/digit_rows.py [--quick] [--json OUT] [--families cnn_lstm,gru]

4,000 real digits to learn from, 1,000 others to judge by. A single row says next to nothing, so the answer is memory.
"""

from __future__ import annotations

from results import arguments, finish, table  # isort: skip - sets the number of threads first

import numpy as np
from digits import Digits, mnist_digits
from learners import bank_of, families_of, learn, parameters, toy_model

from engines.families.contract import StreamModel
from engines.training.answers import answer
from engines.training.learning import Learning
from engines.training.sequences import UNLABELLED, FeatureSequence

HELD_OUT = 1000
ROWS_HZ = 28.0
WIDE: dict[str, dict[str, object]] = {"convlstm": {"kernel": 5}, "graph": {"hidden": 32}}
"""A row is a map of 28 cells with one channel."""


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--families", default="", help="names with commas; by default all, with --quick cnn_lstm")
    chosen = parser.parse_args()
    known, unknown = mnist_digits().divide(HELD_OUT, seed=0)
    learning = Learning(
        epochs=15,
        lanes=64,
        steps=28,
        learning_rate=4e-3,
        reset=0.0,
        join=0.0,
        offset=0.0,
        drop=0.0,
        warm_up_steps=0,
    )
    rows, accuracies = [], {}
    for family in families_of(chosen.families, quick=["cnn_lstm"] if chosen.quick else None):
        model = toy_model(family, "pixels", (1, 28), labels=10, fps=ROWS_HZ, **WIDE.get(family, {}))
        spent_s = learn(model, row_sequences(model, known), learning, labels=10)
        accuracies[family] = accuracy(model, unknown)
        rows.append((family, parameters(model), f"{spent_s:.0f} s", accuracies[family]))
        print(*rows[-1], flush=True)
    text = table(("family", "parameters", "training", f"accuracy on {HELD_OUT} held out"), rows)
    finish(chosen, {"accuracy": accuracies, "held_out": HELD_OUT, "learnt_from": len(known)}, text)


def row_sequences(model: StreamModel, digits: Digits) -> list[FeatureSequence]:
    """Every digit as a sequence of its rows, labelled at the last one; frames of one row through the encoder."""
    height, width = digits.pictures.shape[1:]
    rows = Digits(digits.pictures.reshape(-1, 1, width), np.repeat(digits.names, height))
    features = bank_of(model, rows).reshape(len(digits), height, *model.step_features)
    times_s = np.arange(height) / ROWS_HZ
    unknown = np.full(height - 1, UNLABELLED)
    return [
        FeatureSequence(f"digit {index}", f"digit {index}", feature, times_s, np.append(unknown, name))
        for index, (feature, name) in enumerate(zip(features, digits.names, strict=True))
    ]


def accuracy(model: StreamModel, digits: Digits) -> float:
    """Share of digits that are right after their last row."""
    said = [logits[-1].argmax() for logits in answer(model, row_sequences(model, digits))]
    return float((np.array(said) == digits.names).mean())


if __name__ == "__main__":
    main()
