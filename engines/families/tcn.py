"""TCN: causal dilated convolutions over time in residual blocks, each with the latest inputs of its layers as state.

Bai et al. 2018, arXiv 1803.01271, without their weight normalisation. They pad with zeros in front of a sequence, which
is just what the state is at a stream's start.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.families.contract import State, StateSpec
from engines.families.on_encoder import Count, EncoderOptions, OnEncoder, Share


class TcnOptions(EncoderOptions, frozen=True, kw_only=True):
    """`levels` blocks of two convolutions with `kernel` taps that lie 1, 2, 4, ... steps apart."""

    channels: Count = 128
    levels: Annotated[int, msgspec.Meta(ge=1, le=10)] = 5
    kernel: Annotated[int, msgspec.Meta(ge=2, le=9)] = 3
    dropout: Share = 0.0


class Tcn(OnEncoder):
    """The family `tcn`: linear, layer normalisation, ReLU, plus the pace of time -> blocks -> head.

    Its memory ends: an answer depends on the latest `receptive_field` steps. The state is one tensor `[channels,
    steps]` with the past inputs of all convolutions, oldest first, one convolution after the other.
    """

    family = "tcn"
    options_type = TcnOptions

    def __init__(self, options: TcnOptions) -> None:
        super().__init__(options)
        width = options.channels
        self.reduce = nn.Sequential(nn.Linear(self.features[0], width), nn.LayerNorm(width), nn.ReLU())
        self.paced = nn.Linear(1, width)
        self.dropout = nn.Dropout(options.dropout)
        self.blocks = nn.ModuleList(
            TemporalBlock(width, options.kernel, 2**level, options.dropout) for level in range(options.levels)
        )
        self.head = nn.Linear(width, options.labels)
        self._past = [block.past for block in self.blocks if isinstance(block, TemporalBlock) for _ in range(2)]
        self.receptive_field = 1 + sum(self._past)
        self.state_spec = (StateSpec("past", (width, sum(self._past))),)

    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream; see the contract."""
        logits, state = self.forward(features[:, None], dt[:, None], state)
        return logits[:, 0], state

    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence of each stream; see the contract."""
        (past,) = state or self.init_state(len(dt), features)
        read = self.dropout(self.reduce(features)) + self.paced(self.pace(dt)[..., None])
        x, before, after = read.transpose(1, 2), list(past.split_with_sizes(self._past, 2)), []
        for index, block in enumerate(self.blocks):
            x, *kept = block(x, *before[2 * index : 2 * index + 2])
            after += kept
        return self.head(self.dropout(x.transpose(1, 2))), (torch.cat(after, 2),)


class TemporalBlock(nn.Module):
    """Two causal convolutions with ReLU, added to their input: `[N, C, T]` to `[N, C, T]`."""

    def __init__(self, channels: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.first = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        self.second = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, before: Tensor, between: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The output, and the past inputs `[N, C, past]` of both convolutions for the next call."""
        window = torch.cat([before, x], 2)
        y = self.dropout(functional.relu(self.first(window)))
        middle = torch.cat([between, y], 2)
        y = self.dropout(functional.relu(self.second(middle)))
        return functional.relu(x + y), window[:, :, -self.past :], middle[:, :, -self.past :]
