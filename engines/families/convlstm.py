"""ConvLSTM: an LSTM at every cell of the encoder's map whose gates also read the neighbours' memory.

Shi et al. 2015, arXiv 1506.04214. Input and hidden state have a convolution each, so that every weight is a constant of
the exported graph.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn

from engines.errors import ConfigError
from engines.families.cells import lstm_cell
from engines.families.contract import State, StateSpec
from engines.families.on_encoder import Count, EncoderOptions, OnEncoder, Share


class ConvLstmOptions(EncoderOptions, frozen=True, kw_only=True):
    """`kernel` is the odd side of the convolutions; `dropout` acts on the map and before the head."""

    channels: Count = 64
    kernel: Annotated[int, msgspec.Meta(ge=1, le=15)] = 3
    peepholes: bool = False
    dropout: Share = 0.0


class ConvLstmCell(nn.Module):
    """`[N, inputs, h, w]` a step to hidden and cell state `[N, channels, h, w]`; peepholes have a weight per cell."""

    def __init__(
        self, inputs: int, channels: int, kernel: int, size: tuple[int, int], *, peepholes: bool = False
    ) -> None:
        super().__init__()
        self.from_input = nn.Conv2d(inputs, 4 * channels, kernel, padding=kernel // 2)
        self.from_memory = nn.Conv2d(channels, 4 * channels, kernel, padding=kernel // 2, bias=False)
        self.peepholes = nn.Parameter(torch.zeros(3, channels, *size)) if peepholes else None

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One step: x `[N, inputs, h, w]`."""
        return lstm_cell(self.from_input(x) + self.from_memory(h), c, self.peepholes)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A sequence: x `[N, T, inputs, h, w]` to every hidden state `[N, T, channels, h, w]` and the last h and c."""
        out = []
        for gates in torch.unflatten(self.from_input(x.flatten(0, 1)), 0, x.shape[:2]).unbind(1):
            h, c = lstm_cell(gates + self.from_memory(h), c, self.peepholes)
            out.append(h)
        return torch.stack(out, 1), h, c


class ConvLstm(OnEncoder):
    """The family `convlstm`: the map and a plane with the pace of time -> cell -> mean and maximum -> head."""

    family = "convlstm"
    options_type = ConvLstmOptions
    spatial = True

    def __init__(self, options: ConvLstmOptions) -> None:
        super().__init__(options)
        if options.kernel % 2 == 0:
            raise ConfigError(f"the family convlstm takes odd kernels, such as 3, found {options.kernel}")
        channels, *size = self.features
        self.state_spec = tuple(StateSpec(name, (options.channels, *size)) for name in ("h", "c"))
        self.cell = ConvLstmCell(
            channels + 1, options.channels, options.kernel, (size[0], size[1]), peepholes=options.peepholes
        )
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(2 * options.channels, options.labels)

    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream; see the contract."""
        state = self.cell.step(self._seen(features, dt), *state)
        return self._answer(state[0]), state

    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence of each stream; see the contract."""
        h, c = state or self.init_state(len(dt), features)
        out, h, c = self.cell(self._seen(features, dt), h, c)
        return self._answer(out), (h, c)

    def _seen(self, features: Tensor, dt: Tensor) -> Tensor:
        pace = self.pace(dt)[..., None, None, None].expand(*dt.shape, 1, *self.features[1:])
        return torch.cat([self.dropout(features), pace], -3)

    def _answer(self, hidden: Tensor) -> Tensor:
        """Logits of hidden states `[..., channels, h, w]`."""
        pooled = torch.cat([hidden.mean((-2, -1)), hidden.amax((-2, -1))], -1)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits
