"""Rare labels: digits of which the most frequent is a hundred times as frequent as the rarest; four losses compared.

    python tools/experiments/long_tail.py [--quick] [--json OUT]

Rows of real MNIST digits through the family `gru`. Which digit is how rare is drawn by the seed. Balanced accuracy is
the mean over labels of the share that is right, on 1,000 held-out digits of about a hundred each.
"""

from __future__ import annotations

from results import arguments, finish, table  # isort: skip - sets the number of threads first

import numpy as np
from digit_rows import HELD_OUT, ROWS_HZ, row_sequences
from digits import Digits, mnist_digits
from learners import learn, toy_model

from engines.training.answers import answer
from engines.training.learning import Learning, LossName

LOSSES: tuple[LossName, ...] = ("cross_entropy", "logit_adjusted", "class_balanced", "focal")
MOST, RATIO = 400, 100.0
PARTS = {"head": slice(0, 3), "mid": slice(3, 6), "tail": slice(6, 10)}
"""Labels from the most frequent on: 400 to 144, 86 to 31, and 19 to 4 of each."""


def main() -> None:
    chosen = arguments(__doc__).parse_args()
    seeds, losses = (1, LOSSES[:2]) if chosen.quick else (3, LOSSES)
    digits, rows, found = mnist_digits(), [], {}
    for loss in losses:
        shares = np.array([_by_rarity(digits, loss, seed, epochs=25 if chosen.quick else 30) for seed in range(seeds)])
        columns = {name: shares[:, part].mean(1) for name, part in PARTS.items()} | {"balanced": shares.mean(1)}
        found[loss] = {name: float(column.mean()) for name, column in columns.items()}
        rows.append((loss, *(f"{column.mean():.3f} ± {column.std():.3f}" for column in columns.values())))
        print(*rows[-1], flush=True)
    text = table(("loss", *PARTS, "all labels alike"), rows)
    finish(chosen, {"balanced_accuracy": found, "seeds": seeds, "counts": counts().tolist()}, text)


def counts() -> np.ndarray:
    """How many of each label are learnt from, the most frequent first: a geometric series."""
    return np.rint(MOST * RATIO ** (-np.arange(10) / 9)).astype(np.int64)


def subsampled(digits: Digits, order: np.ndarray, rng: np.random.Generator) -> Digits:
    """So many of each digit; `order` holds the digits from the most frequent to the rarest."""
    parts = [
        rng.permutation(np.flatnonzero(digits.names == digit))[:count]
        for digit, count in zip(order, counts(), strict=True)
    ]
    return digits.take(rng.permutation(np.concatenate(parts)))


def _by_rarity(digits: Digits, loss: LossName, seed: int, epochs: int) -> list[float]:
    """The share that is right of each digit, the most frequent first."""
    known, unknown = digits.divide(HELD_OUT, seed)
    rng = np.random.default_rng([seed, 6])
    order = rng.permutation(10)
    model = toy_model("gru", "pixels", (1, 28), labels=10, fps=ROWS_HZ)
    learning = Learning(
        epochs=epochs,
        lanes=64,
        steps=28,
        learning_rate=4e-3,
        reset=0.0,
        join=0.0,
        offset=0.0,
        drop=0.0,
        warm_up_steps=0,
        loss=loss,
    )
    learn(model, row_sequences(model, subsampled(known, order, rng)), learning, labels=10, seed=seed)
    said = np.array([logits[-1].argmax() for logits in answer(model, row_sequences(model, unknown))])
    return [float((said[unknown.names == digit] == digit).mean()) for digit in order]


if __name__ == "__main__":
    main()
