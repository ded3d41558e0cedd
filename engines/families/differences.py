"""How features changed since the step before: zero at a stream's first step, the last ones kept as state."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from engines.families.contract import State, StateSpec

Kind = Literal["signed", "absolute"]


def difference_spec(features: tuple[int, ...]) -> tuple[StateSpec, ...]:
    """The state of differences: the features of the step before, and `seen`, which is 1 from the second step on."""
    return StateSpec("previous", features), StateSpec("seen", (1,))


def difference(features: Tensor, state: State, kind: Kind) -> tuple[Tensor, State]:
    """One step: features `[N, *features]` to their change in the same shape, and the next state."""
    previous, seen = state
    change = (features - previous) * seen.reshape(-1, *[1] * (features.dim() - 1))
    return change.abs() if kind == "absolute" else change, (features, torch.ones_like(seen))


def differences(features: Tensor, state: State, kind: Kind) -> tuple[Tensor, State]:
    """A sequence: features `[N, T, *features]` to their changes in the same shape, and the last state."""
    first, following = difference(features[:, 0], state, kind)
    change = features[:, 1:] - features[:, :-1]
    change = change.abs() if kind == "absolute" else change
    return torch.cat([first[:, None], change], 1), (features[:, -1], following[1])
