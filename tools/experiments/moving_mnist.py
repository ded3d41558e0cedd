"""Moving digits, 10 frames to 10: do the ConvLSTM cell and the LSTM cell of the families learn to foretell a film?

    python tools/experiments/moving_mnist.py [--quick] [--json OUT] [--paper-size]

A reader takes in ten frames; a writer of the same cell starts from its memory, sees nothing but what it drew itself,
and draws the next ten (Srivastava et al. 2015, arXiv 1502.04681; Shi et al. 2015, arXiv 1506.04214). Judged by the
squared error summed over the pixels (0 to 1) of a frame, on digits that nobody learned from, beside repeating the last
frame and staying dark. On a CPU 32x32 pixels with the 8x8 digits of scikit-learn at twice their size; `--paper-size` is
the papers' 64x64 with MNIST's digits, and wants a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from results import arguments, finish, table  # isort: skip - sets the number of threads first

import numpy as np
import torch
from digits import Digits, mnist_digits, small_digits
from moving import FRAMES, enlarged, sequences
from torch import Tensor, nn
from torch.nn import functional

from engines.families.contract import State
from engines.families.convlstm import ConvLstmCell
from engines.families.memory import LstmMemory
from engines.training.schedule import cosine

SEEN = FRAMES // 2
PEAKS = {"ConvLSTM": 3e-3, "FC-LSTM": 1e-3}
"""Each network's learning rate."""
PUBLISHED = (
    ("FC-LSTM 2048x2", "cross entropy 4832.5 a frame", "Shi et al. 2015"),
    ("ConvLSTM, one layer of 256", "cross entropy 3887.9 a frame", "Shi et al. 2015"),
    ("ConvLSTM, three layers", "cross entropy 3670.9 a frame", "Shi et al. 2015"),
    ("ConvLSTM-S", "MSE 46.26 a frame", "OpenSTL"),
)


@dataclass(frozen=True)
class Size:
    """Of the film and its patches in pixels, of the networks, and of their training."""

    film: int
    patch: int
    maps: int
    kernel: int
    hidden: int
    batches: int
    batch: int = 16


SMALL = Size(film=32, patch=4, maps=64, kernel=3, hidden=512, batches=900)
QUICK = Size(film=32, patch=4, maps=64, kernel=3, hidden=256, batches=160)
PAPER = Size(film=64, patch=4, maps=256, kernel=5, hidden=2048, batches=200_000)


class Forecaster(nn.Module):
    """Patches of ten frames `[N, 10, C, h, w]` to the logits of the next ten, each drawn from the one before."""

    def __init__(self, size: Size, *, convolved: bool) -> None:
        super().__init__()
        channels, grid = size.patch**2, size.film // size.patch
        self.convolved, self.shape = convolved, (channels, grid, grid)
        inputs, hidden = (channels, size.maps) if convolved else (channels * grid**2, size.hidden)
        self.blank = (hidden, grid, grid) if convolved else (1, hidden)
        self.reader, self.writer = (
            ConvLstmCell(inputs, hidden, size.kernel, (grid, grid)) if convolved else LstmMemory(inputs, hidden)
            for _ in range(2)
        )
        self.draw: nn.Module = nn.Conv2d(hidden, channels, 1) if convolved else nn.Linear(hidden, inputs)

    def forward(self, seen: Tensor) -> Tensor:
        """The whole forecast; without teacher forcing, since what comes is not known when it matters."""
        frames = seen if self.convolved else seen.flatten(2)
        state: State = (seen.new_zeros(len(seen), *self.blank), seen.new_zeros(len(seen), *self.blank))
        for frame in frames.unbind(1):
            _, state = self._step(self.reader, frame, state)
        frame, drawn = frames[:, -1], []
        for _ in range(SEEN):
            hidden, state = self._step(self.writer, frame, state)
            drawn.append(self.draw(hidden))
            frame = torch.sigmoid(drawn[-1])
        return torch.stack(drawn, 1).reshape(-1, SEEN, *self.shape)

    def _step(self, cell: nn.Module, frame: Tensor, state: State) -> tuple[Tensor, State]:
        if isinstance(cell, LstmMemory):
            return cell.step(frame, state)
        assert isinstance(cell, ConvLstmCell)
        state = cell.step(frame, *state)
        return state[0], state


def patches(films: np.ndarray, patch: int) -> Tensor:
    """Films uint8 `[N, T, S, S]` as `[N, T, patch * patch, S / patch, S / patch]` between 0 and 1."""
    frames = torch.from_numpy(films).float() / 255
    return functional.pixel_unshuffle(frames[:, :, None], patch)


def squared_error(drawn: Tensor, truth: Tensor) -> float:
    """Squared error summed over a frame, mean over frames."""
    return float((drawn - truth).square().sum((2, 3, 4)).mean())


def learn(model: nn.Module, films: Callable[[int], np.ndarray], size: Size, peak: float, device: torch.device) -> None:
    """Binary cross entropy as in both papers, each batch of films drawn afresh."""
    optimizer = torch.optim.Adam(model.parameters())
    since = time.monotonic()
    for batch in range(size.batches):
        optimizer.param_groups[0]["lr"] = cosine(peak, batch, size.batches)
        film = patches(films(size.batch), size.patch).to(device)
        loss = functional.binary_cross_entropy_with_logits(model(film[:, :SEEN]), film[:, SEEN:])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if not batch % max(1, size.batches // 5):
            print(f"batch {batch}/{size.batches}, loss {loss.item():.4f}, {time.monotonic() - since:.0f} s", flush=True)


@torch.inference_mode()
def judge(model: nn.Module, films: Tensor) -> float:
    """The squared error of the model's forecast."""
    drawn = [torch.sigmoid(model(part[:, :SEEN])) for part in torch.split(films, 50)]
    return squared_error(torch.cat(drawn), films[:, SEEN:])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--paper-size", action="store_true", help="64x64, MNIST, hours on a GPU; not run here")
    chosen = parser.parse_args()
    size = PAPER if chosen.paper_size else QUICK if chosen.quick else SMALL
    device = torch.device("cuda" if chosen.paper_size and torch.cuda.is_available() else "cpu")
    known, unknown = divided(paper_size=chosen.paper_size)
    test = patches(sequences(unknown, 100 if chosen.quick else 500, size.film, np.random.default_rng(1)), size.patch)
    test = test.to(device)
    errors = {
        "repeat the last frame": squared_error(test[:, SEEN - 1 : SEEN], test[:, SEEN:]),
        "all dark": squared_error(torch.zeros_like(test[:, SEEN:]), test[:, SEEN:]),
    }
    rows: list[tuple[object, ...]] = [(name, "", "", error) for name, error in errors.items()]
    for name, peak in PEAKS.items():
        torch.manual_seed(0)
        rng, since = np.random.default_rng(2), time.monotonic()
        model = Forecaster(size, convolved=name == "ConvLSTM").to(device)
        learn(model, lambda count, rng=rng: sequences(known, count, size.film, rng), size, peak, device)  # type: ignore[misc]
        spent_s = time.monotonic() - since
        errors[name] = judge(model.eval(), test)
        weights = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        rows.append((name, f"{weights:.2f} M", f"{spent_s:.0f} s", errors[name]))
    text = table(("forecast", "parameters", "training", "squared error a frame"), rows)
    published = table(("published, 64x64 and MNIST", "figure", "source"), PUBLISHED)
    finish(chosen, {"squared_error": errors, "films": len(test), "size": size.film}, f"{text}\n\n{published}")


def divided(*, paper_size: bool) -> tuple[Digits, Digits]:
    """Digits to learn from and others to judge by."""
    digits = mnist_digits() if paper_size else enlarged(small_digits(), 16)
    return digits.divide(len(digits) // 4, seed=0)


if __name__ == "__main__":
    main()
