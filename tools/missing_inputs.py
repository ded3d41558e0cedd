"""Two inputs know more than one, and one may be missing: the family `multimodal` on a toy with a known answer.

    python tools/missing_inputs.py [--seeds 3] [--json OUT]

Sequences of 20 steps of noise. The class shows in the video alone in one half of them, and in the audio alone in the
other; audio has a sample at two steps of five. So who sees one input alone can be right in three of four at best.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from engines.families import build_family
from engines.families.contract import StreamModel

STEPS, SEQUENCES, UPDATES, ROWS, WARM_UP = 20, 2000, 300, 64, 5
PIXELS, AUDIO, FLAG = 6, slice(6, 9), 9


@dataclass(frozen=True)
class Toy:
    """N sequences: features `[N, 20, 10]` (6 pixels, 3 numbers of audio and its flag), dt `[N, 20]` and truth `[N]`."""

    features: Tensor
    dt: Tensor
    truth: Tensor

    @classmethod
    def make(cls, seed: int, count: int = SEQUENCES) -> Toy:
        """Draw sequences; what does not show the class is noise like the rest."""
        generator = torch.Generator().manual_seed(seed)
        truth = torch.randint(2, (count,), generator=generator)
        sign = (2.0 * truth - 1)[:, None]
        features = torch.randn((count, STEPS, FLAG + 1), generator=generator)
        in_video = (torch.arange(count) % 2 == 0)[:, None]
        features[..., 0] += torch.where(in_video, 0.8 * sign, 0.0)
        features[..., AUDIO.start] += torch.where(in_video, 0.0, 1.2 * sign)
        present = (torch.rand((count, STEPS), generator=generator) < 0.4).float()
        features[..., FLAG] = present
        features[..., AUDIO] *= present[..., None]
        return cls(features, torch.full((count, STEPS), 1 / 8), truth)

    def with_audio_until(self, step: int) -> Toy:
        """The same where the audio breaks off."""
        features = self.features.clone()
        features[:, step:, AUDIO.start :] = 0.0
        return Toy(features, self.dt, self.truth)

    def without_video(self) -> Toy:
        """The same in the dark."""
        features = self.features.clone()
        features[..., :PIXELS] = 0.0
        return Toy(features, self.dt, self.truth)


def trained(toy: Toy, seed: int, leave_out: float = 0.2) -> StreamModel:
    """The family with small sizes, learnt from `toy`."""
    torch.manual_seed(seed)
    further = [{"name": "audio", "size": 3, "reduced": 16, "hidden": 16}]
    options = {"encoder": "pixels", "height": 2, "width": 3, "labels": 2, "reduced": 16, "hidden": 16}
    model = build_family("multimodal", {**options, "leave_out": leave_out, "further": further})
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    for _ in range(UPDATES):
        rows = torch.randint(len(toy.truth), (ROWS,))
        logits = model(toy.features[rows], toy.dt[rows])[0][:, WARM_UP:]
        loss = cross_entropy(logits.flatten(0, 1), toy.truth[rows].repeat_interleave(STEPS - WARM_UP))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: StreamModel, toy: Toy) -> float:
    """How often the last step is right."""
    return float((model(toy.features, toy.dt)[0][:, -1].argmax(1) == toy.truth).float().mean())


def measure(seed: int) -> dict[str, float]:
    """Accuracies on sequences that nobody learnt from, by what was learnt and what is there."""
    toy, test = Toy.make(2 * seed), Toy.make(2 * seed + 1)
    video, audio = trained(toy.with_audio_until(0), seed), trained(toy.without_video(), seed)
    found = {
        "video alone": accuracy(video, test.with_audio_until(0)),
        "audio alone": accuracy(audio, test.without_video()),
    }
    for leave_out in (0.2, 0.0):
        both, name = trained(toy, seed, leave_out), f"both, leave_out {leave_out:g}"
        found[name] = accuracy(both, test)
        for step in (18, 10, 0):
            found[f"{name}: audio until step {step}"] = accuracy(both, test.with_audio_until(step))
        found[f"{name}: video dark"] = accuracy(both, test.without_video())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    runs = [measure(seed) for seed in range(1, chosen.seeds + 1)]
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"{name:<45} {mean(values):.3f}  ({min(values):.3f} to {max(values):.3f})")
    if chosen.json:
        chosen.json.write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    main()
