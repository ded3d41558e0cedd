"""Losses for one label per step, also where some labels are rare."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from engines.training.learning import LossName

BALANCE = 0.9999
"""Beta of the effective number of samples, as in the paper's experiments on large sets."""

FOCUS = 2.0
"""Gamma of the focal loss; the paper's best."""


class StepLoss:
    """The loss of each step: logits `[..., labels]` and int64 labels `[...]` to float32 `[...]`.

    With n the `counts` of each label in the data that is learnt from:

    - `cross_entropy`: -log p of the true label.
    - `logit_adjusted`: cross entropy of logits + log(n / sum n), so that the bare logits are those of balanced data
      (Menon et al. 2021, arXiv 2007.07314, equation 10 with tau 1).
    - `class_balanced`: cross entropy times (1 - beta) / (1 - beta^n), scaled to mean 1 over the labels
      (Cui et al. 2019, arXiv 1901.05555, equation 9).
    - `focal`: (1 - p)^gamma times -log p (Lin et al. 2017, arXiv 1708.02002, equation 4, without alpha).
    """

    def __init__(self, name: LossName, counts: npt.ArrayLike, *, label_smoothing: float = 0.0) -> None:
        self.name, self.label_smoothing = name, label_smoothing
        n = torch.as_tensor(np.asarray(counts, np.float64))
        # a label that never occurs must not make the others' loss infinite
        self.log_prior = torch.log(n.clamp_min(1.0) / n.clamp_min(1.0).sum()).float()
        weight = (1.0 - BALANCE) / (1.0 - BALANCE ** n.clamp_min(1.0))
        self.weight = (weight / weight.mean()).float()

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each step."""
        if self.name == "logit_adjusted":
            logits = logits + self.log_prior
        each = self._cross_entropy(logits, labels)
        if self.name == "class_balanced":
            return each * self.weight[labels]
        if self.name == "focal":
            right = torch.softmax(logits, -1).gather(-1, labels[..., None])[..., 0]
            return each * (1.0 - right) ** FOCUS
        return each

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        flat = functional.cross_entropy(
            logits.flatten(0, -2), labels.flatten(), reduction="none", label_smoothing=self.label_smoothing
        )
        return flat.reshape(labels.shape)
