"""LSTM with attention: over the picture before each step, and over its own last hidden states after it.

Where to look in the feature map is asked by the hidden state of the step before (additive attention over the grid's
cells; Xu et al. 2015, arXiv 1502.03044, for video Sharma et al. 2015, arXiv 1511.04119). Which of the last hidden
states matter is asked by the newest (Bahdanau et al. 2014, arXiv 1409.0473).
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from engines.families.contract import State, StateSpec
from engines.families.memory import LstmMemory
from engines.families.on_encoder import Count, EncoderOptions, OnEncoder, Share

NOTHING = -1e4
"""Added to the score of a slot that holds nothing: its weight is exactly 0 in float32, and float16 can say it too."""


class AttentionLstmOptions(EncoderOptions, frozen=True, kw_only=True):
    """`memory` is how many hidden states are recalled, the newest included; `attention` is the width of the scores."""

    reduced: Count = 128
    hidden: Count = 256
    attention: Count = 64
    memory: Annotated[int, msgspec.Meta(ge=2, le=1024)] = 32
    dropout: Share = 0.0


class Explained(NamedTuple):
    """Answers and what they were told from: the weights sum to 1 over a picture or the memory."""

    logits: Tensor
    """`[N, T, labels]`."""
    spatial: Tensor
    """`[N, T, h, w]`: how much of each cell of the feature map was taken in."""
    temporal: Tensor
    """`[N, T, memory]`: how much of each of the last hidden states was recalled; the newest is the last."""
    state: State


class AttentionLstm(OnEncoder):
    """The family `attention_lstm`; its features are a map, its state h, c and the last hidden states."""

    family = "attention_lstm"
    options_type = AttentionLstmOptions
    spatial = True

    def __init__(self, options: AttentionLstmOptions) -> None:
        super().__init__(options)
        self.options = options
        hidden, slots = options.hidden, options.memory - 1
        self.reduce = nn.Sequential(
            nn.Linear(self.features[0], options.reduced), nn.LayerNorm(options.reduced), nn.ReLU()
        )
        self.where = Additive(options.reduced, hidden, options.attention)
        self.memory = LstmMemory(options.reduced + 1, hidden)
        self.when = Additive(hidden, hidden, options.attention)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(2 * hidden, options.labels)
        past = (StateSpec("hiddens", (slots, hidden)), StateSpec("valid", (slots,)))
        self.state_spec = (*self.memory.state_spec(), *past)

    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream; see the contract."""
        lstm, (hiddens, valid) = state[:2], state[2:]
        cells = self._cells(features)
        lstm, _ = self._look(cells, self.where.keys(cells), self.pace(dt)[:, None], lstm)
        newest = lstm[0][:, 0]
        hiddens = torch.cat([hiddens, newest[:, None]], 1)
        valid = torch.cat([valid, torch.ones_like(valid[:, :1])], 1)
        weights = torch.softmax(self.when(self.when.keys(hiddens), newest) + NOTHING * (1 - valid), 1)
        recalled = (weights[:, None] @ hiddens)[:, 0]
        return self._answer(newest, recalled), (*lstm, hiddens[:, 1:], valid[:, 1:])

    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence of each stream; see the contract."""
        explained = self.explain(features, dt, state)
        return explained.logits, explained.state

    def explain(self, features: Tensor, dt: Tensor, state: State | None = None) -> Explained:
        """Like `forward`, with the weights of both attentions."""
        state = state or self.init_state(len(dt), features)
        lstm, (hiddens, valid) = state[:2], state[2:]
        slots = valid.shape[1]
        newest, looks, lstm = self._walk(features, dt, lstm)
        hiddens, valid = torch.cat([hiddens, newest], 1), torch.cat([valid, torch.ones_like(dt)], 1)
        keys = self.when.keys(hiddens).unfold(1, slots + 1, 1).transpose(2, 3)
        missing = NOTHING * (1 - valid.unfold(1, slots + 1, 1))
        temporal = torch.softmax(self.when(keys, newest) + missing, 2)
        recalled = (hiddens.unfold(1, slots + 1, 1) @ temporal[..., None])[..., 0]
        spatial = torch.unflatten(looks, 2, self.features[1:])
        following = (*lstm, hiddens[:, -slots:], valid[:, -slots:])
        return Explained(self._answer(newest, recalled), spatial, temporal, following)

    def _walk(self, features: Tensor, dt: Tensor, lstm: State) -> tuple[Tensor, Tensor, State]:
        """Hidden states `[N, T, hidden]`, where each step looked `[N, T, h * w]`, and the LSTM's last state."""
        cells = torch.unflatten(self._cells(features.flatten(0, 1)), 0, dt.shape)
        keys, pace = self.where.keys(cells), self.pace(dt)[..., None]
        hiddens, looks = [], []
        # unbound at once: the gradient of a slice is as large as all steps together
        for some, asked, since in zip(cells.unbind(1), keys.unbind(1), pace.unbind(1), strict=True):
            lstm, look = self._look(some, asked, since, lstm)
            hiddens.append(lstm[0][:, 0])
            looks.append(look)
        return torch.stack(hiddens, 1), torch.stack(looks, 1), lstm

    def _cells(self, maps: Tensor) -> Tensor:
        """Maps `[N, C, h, w]` as reduced cells `[N, h * w, reduced]`."""
        cells: Tensor = self.dropout(self.reduce(maps.flatten(2).transpose(1, 2)))
        return cells

    def _look(self, cells: Tensor, keys: Tensor, pace: Tensor, lstm: State) -> tuple[State, Tensor]:
        """Look at the cells as the LSTM's hidden state asks, and step it; the weights are `[N, h * w]`."""
        weights = torch.softmax(self.where(keys, lstm[0][:, 0]), 1)
        seen = (weights[:, None] @ cells)[:, 0]
        _, lstm = self.memory.step(torch.cat([seen, pace], 1), lstm)
        return lstm, weights

    def _answer(self, newest: Tensor, recalled: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(torch.cat([newest, recalled], -1)))
        return logits


class Additive(nn.Module):
    """Additive attention: the score of a key k for a question q is v . tanh(W k + U q)."""

    def __init__(self, keys: int, questions: int, width: int) -> None:
        super().__init__()
        self.keys = nn.Linear(keys, width)
        self.ask = nn.Linear(questions, width, bias=False)
        self.weigh = nn.Linear(width, 1, bias=False)

    def forward(self, keys: Tensor, question: Tensor) -> Tensor:
        """Scores `[..., S]` of projected keys `[..., S, width]` for questions `[..., questions]`."""
        scores: Tensor = self.weigh(torch.tanh(keys + self.ask(question)[..., None, :]))
        return scores[..., 0]
