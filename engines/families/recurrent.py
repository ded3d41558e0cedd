"""Families of one recurrent network over an encoder's features: a projection, what remembers, and a head.

With an LSTM this is the long-term recurrent convolutional network of Donahue et al. 2015 (arXiv 1411.4389); with a
GRU it is the plain design that held its own against transformers in online action detection (An et al. 2023, MiniROAD).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
import torch
from torch import Tensor, nn

from engines.families.contract import State
from engines.families.differences import Kind, difference, difference_spec, differences
from engines.families.memory import GruMemory, LstmMemory
from engines.families.on_encoder import Count, EncoderOptions, OnEncoder, Share


class RecurrentOptions(EncoderOptions, frozen=True, kw_only=True):
    """Sizes and inputs.

    `inputs` says whether the network reads the features, their differences to the step before, or both; `differences`
    whether those keep their sign. `dropout` acts on the projected inputs, between layers and before the head.
    """

    reduced: Count = 256
    hidden: Count = 256
    layers: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1
    dropout: Share = 0.0
    inputs: Literal["features", "differences", "both"] = "features"
    differences: Kind = "signed"


class Recurrent(OnEncoder):
    """Features `[D]` -> linear, layer normalisation, ReLU -> recurrent network, with the pace of time -> head."""

    options_type: ClassVar[type[EncoderOptions]] = RecurrentOptions
    memory_type: ClassVar[type[LstmMemory] | type[GruMemory]]

    def __init__(self, options: RecurrentOptions) -> None:
        super().__init__(options)
        self.options = options
        self._differs = options.inputs != "features"
        width = 2 * self.features[0] if options.inputs == "both" else self.features[0]
        self.reduce = nn.Sequential(nn.Linear(width, options.reduced), nn.LayerNorm(options.reduced), nn.ReLU())
        self.memory = self.memory_type(options.reduced + 1, options.hidden, options.layers, options.dropout)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(options.hidden, options.labels)
        self._kept = len(self.memory.parts)
        self.state_spec = (*self.memory.state_spec(), *(difference_spec(self.features) if self._differs else ()))

    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream; see the contract."""
        remembered, before = state[: self._kept], state[self._kept :]
        change, before = difference(features, before, self.options.differences) if self._differs else (None, before)
        out, remembered = self.memory.step(self._seen(features, change, dt), remembered)
        return self.head(self.dropout(out)), (*remembered, *before)

    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence of each stream; see the contract."""
        state = state or self.init_state(len(dt), features)
        remembered, before = state[: self._kept], state[self._kept :]
        change, before = differences(features, before, self.options.differences) if self._differs else (None, before)
        out, remembered = self.memory(self._seen(features, change, dt), remembered)
        return self.head(self.dropout(out)), (*remembered, *before)

    def _seen(self, features: Tensor, change: Tensor | None, dt: Tensor) -> Tensor:
        """What the recurrent network reads, of steps or of sequences alike."""
        if change is None:
            read = features
        else:
            read = change if self.options.inputs == "differences" else torch.cat([features, change], -1)
        return torch.cat([self.dropout(self.reduce(read)), self.pace(dt)[..., None]], -1)
