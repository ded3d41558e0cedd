"""CNN and LSTM on a pretrained encoder: its features, a linear layer with normalisation, one LSTM, and a head.

This is the classical long-term recurrent convolutional network (Donahue et al. 2015, arXiv 1411.4389) with a frozen
encoder. `build_family` makes it for the family `cnn_lstm` where the options name an `encoder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.encoders import build_encoder, check_frame_size, find_encoder
from engines.errors import ConfigError
from engines.families.contract import State, StateSpec, StreamModel

Count = Annotated[int, msgspec.Meta(ge=1)]


class EncoderLstmOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`encoder` is a name in `engines.encoders`; height and width 0 mean the size that it was trained at.

    `pretrained: false` starts the encoder from random weights, for networks whose weights are loaded afterwards.
    """

    encoder: str
    height: int = 0
    width: int = 0
    fps: Annotated[float, msgspec.Meta(gt=0)] = 8.0
    labels: Count = 2
    reduced: Count = 256
    hidden: Count = 256
    pretrained: bool = True


class EncoderLstm(StreamModel):
    """The family `cnn_lstm` with an `encoder`; its features are float32 `[1280]` and its encoder is never trained."""

    def __init__(self, options: EncoderLstmOptions) -> None:
        super().__init__()
        info = find_encoder(options.encoder)
        height, width = options.height or info.size, options.width or info.size
        check_frame_size(info, height, width)
        self.options = options
        self.frame_shape, self.fps, self.labels = (height, width), options.fps, options.labels
        self.features = (info.features,)
        self.state_spec = (StateSpec("h", (options.hidden,)), StateSpec("c", (options.hidden,)))
        self.encoder = build_encoder(info, pretrained=options.pretrained).requires_grad_(requires_grad=False)
        self.reduce = nn.Sequential(nn.Linear(info.features, options.reduced), nn.LayerNorm(options.reduced), nn.ReLU())
        self.memory = nn.LSTM(options.reduced + 1, options.hidden, batch_first=True)
        self.head = nn.Linear(options.hidden, options.labels)

    @classmethod
    def build(cls, options: Mapping[str, object]) -> EncoderLstm:
        """Make the network from a recipe's options."""
        try:
            chosen = msgspec.convert(dict(options), EncoderLstmOptions)
        except msgspec.ValidationError as error:
            raise ConfigError(f"the options of the family cnn_lstm with an encoder are wrong: {error}") from error
        return cls(chosen)

    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream; see the contract."""
        h, c = state
        from_input, from_memory, bias, more_bias = self.memory.all_weights[0]
        gates = functional.linear(self._seen(features, dt), from_input, bias)
        gates = gates + functional.linear(h, from_memory, more_bias)
        enter, forget, candidate, leave = gates.chunk(4, 1)  # torch's order
        c = torch.sigmoid(forget) * c + torch.sigmoid(enter) * torch.tanh(candidate)
        h = torch.sigmoid(leave) * torch.tanh(c)
        return self.head(h), (h, c)

    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence of each stream; see the contract."""
        h, c = state or self.init_state(len(dt), features)
        out, (h, c) = self.memory(self._seen(features, dt), (h[None].contiguous(), c[None].contiguous()))
        return self.head(out), (h[0], c[0])

    def _seen(self, features: Tensor, dt: Tensor) -> Tensor:
        """What the LSTM reads: reduced features, and log(dt / nominal dt) within a factor of 32 either way."""
        pace = torch.log((dt * self.fps).clamp(1 / 32, 32.0))
        return torch.cat([self.reduce(features), pace[..., None]], -1)
