"""Causal transformer over a sliding window: each layer sees its last `window` inputs and knows them by their age.

Pre-norm layers (Vaswani et al. 2017, arXiv 1706.03762; Xiong et al. 2020, arXiv 2002.04745) whose keys and values of
earlier steps are the state. A learned bias per head and age stands in for positions, so that an endless stream never
leaves the range that was trained; it starts as the slopes of Press et al. 2021 (arXiv 2108.12409).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn

from engines.errors import ConfigError
from engines.families.contract import State, StateSpec
from engines.families.on_encoder import Count, EncoderOptions, OnEncoder, Share

NOTHING = -1e4
"""Added to the score of a slot that holds nothing: its weight is exactly 0 in float32, and float16 can say it too."""


class TransformerOptions(EncoderOptions, frozen=True, kw_only=True):
    """`window` is how many steps a layer sees, the present one included; `hidden` is a multiple of `heads`."""

    hidden: Count = 256
    heads: Count = 4
    layers: Annotated[int, msgspec.Meta(ge=1, le=12)] = 2
    window: Annotated[int, msgspec.Meta(ge=2, le=1024)] = 64
    dropout: Share = 0.0


class Transformer(OnEncoder):
    """The family `transformer`; its state is each layer's keys and values, and which of them are there yet."""

    family = "transformer"
    options_type = TransformerOptions

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__(options)
        self.options = options
        if options.hidden % options.heads:
            raise ConfigError(
                f"the family transformer shares hidden among heads: {options.hidden} is no multiple of {options.heads}"
            )
        hidden, heads, slots = options.hidden, options.heads, options.window - 1
        past = (heads, slots, hidden // heads)
        names = [f"{kind}{layer}" for layer in range(options.layers) for kind in ("keys", "values")]
        self.state_spec = (*(StateSpec(name, past) for name in names), StateSpec("valid", (slots,)))
        self.receptive_field = options.layers * slots + 1
        (width,) = self.features
        self.reduce = nn.Linear(width + 1, hidden)
        self.dropout = nn.Dropout(options.dropout)
        self.layers = nn.ModuleList(Layer(options) for _ in range(options.layers))
        self.last = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, options.labels)

    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream; see the contract."""
        # with an axis of time: chained residual layers over [N, hidden] crash OpenVINO 2026.2 to 2026.4 as it compiles
        logits, following = self._pass(features[:, None], dt[:, None], state)
        return logits[:, 0], following

    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence of each stream; see the contract. Long ones are taken in parts, as scores are T x (window + T)."""
        state = state or self.init_state(len(dt), features)
        parts, length = [], max(64, self.options.window)
        for first in range(0, dt.shape[1], length):
            part = slice(first, first + length)
            logits, state = self._pass(features[:, part], dt[:, part], state)
            parts.append(logits)
        return torch.cat(parts, 1), state

    def _pass(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        *past, valid = state
        there = torch.cat([valid, torch.ones_like(dt)], 1)
        missing = (NOTHING * (1 - there))[:, None, None]
        x = self.dropout(self.reduce(torch.cat([features, self.pace(dt)[..., None]], -1)))
        following = []
        for layer, keys, values in zip(self.layers, past[::2], past[1::2], strict=True):
            x, *kept = layer(x, keys, values, missing)
            following += kept
        return self.head(self.last(x)), (*following, there[:, -valid.shape[1] :])


class Layer(nn.Module):
    """One block: attention over the past and the present, then two linear layers, each added to what came in."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        hidden, heads, window = options.hidden, options.heads, options.window
        self.heads = heads
        self.before = nn.LayerNorm(hidden)
        self.look = nn.Linear(hidden, 3 * hidden)
        self.by_age = nn.Parameter(_slopes(heads)[:, None] * torch.arange(window - 1, -1, -1))
        self.out = nn.Sequential(nn.Linear(hidden, hidden), nn.Dropout(options.dropout))
        self.think = nn.Sequential(
            nn.LayerNorm(hidden),
            nn.Linear(hidden, 2 * hidden),
            nn.ReLU(),
            nn.Linear(2 * hidden, hidden),
            nn.Dropout(options.dropout),
        )

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, missing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """T steps after the ones in the state.

        Args:
            x: `[N, T, hidden]`.
            keys, values: `[N, heads, window - 1, hidden / heads]`, oldest first.
            missing: `[N, 1, 1, window - 1 + T]`, added to the scores.

        Returns:
            What comes out, `[N, T, hidden]`, and the next keys and values.
        """
        slots = keys.shape[2]
        asked, key, value = (self._by_head(part) for part in self.look(self.before(x)).chunk(3, -1))
        keys, values = torch.cat([keys, key], 2), torch.cat([values, value], 2)
        scores = asked @ keys.transpose(2, 3) * asked.shape[-1] ** -0.5 + self._bias(x.shape[1]) + missing
        seen = (torch.softmax(scores, -1) @ values).transpose(1, 2).flatten(2)
        x = x + self.out(seen)
        return x + self.think(x), keys[:, :, -slots:], values[:, :, -slots:]

    def _by_head(self, x: Tensor) -> Tensor:
        """`[N, T, hidden]` as `[N, heads, T, hidden / heads]`."""
        return torch.unflatten(x, 2, (self.heads, -1)).transpose(1, 2)

    def _bias(self, steps: int) -> Tensor:
        """`[heads, T, window - 1 + T]`: step t sees the slots from t to t + window - 1, the last of which is itself."""
        if steps == 1:
            return self.by_age[:, None]
        window = self.by_age.shape[1]
        slots = torch.arange(window - 1 + steps, device=self.by_age.device)
        place = slots - torch.arange(steps, device=slots.device)[:, None]
        outside = (place < 0) | (place >= window)
        return self.by_age[:, place.clamp(0, window - 1)].masked_fill(outside, NOTHING)


def _slopes(heads: int) -> Tensor:
    """How much less a head looks at a step for each step of age: from 1/2 down to 1/256."""
    return -torch.pow(2.0, -8.0 * torch.arange(1, heads + 1) / heads)
