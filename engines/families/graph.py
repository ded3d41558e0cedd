"""Attention graph: the cells of the feature map are nodes that look at each other, and each has a memory of its own.

At each step every node takes in what its picture and, by graph attention (Velickovic et al. 2018, arXiv 1710.10903,
over the complete graph), the other nodes' pictures hold; a GRU with the same weights in every node remembers it. The
answer is read from the mean and the maximum over the nodes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.errors import ConfigError
from engines.families.contract import State, StateSpec
from engines.families.memory import GruMemory
from engines.families.on_encoder import Count, EncoderOptions, OnEncoder, Share


class GraphOptions(EncoderOptions, frozen=True, kw_only=True):
    """The map is averaged to `grid` x `grid` nodes, or 0: each cell is one; `hidden` is a multiple of `heads`."""

    grid: Annotated[int, msgspec.Meta(ge=0, le=16)] = 4
    hidden: Count = 128
    heads: Count = 4
    dropout: Share = 0.0


class Graph(OnEncoder):
    """The family `graph`; its state is one hidden vector per node."""

    family = "graph"
    options_type = GraphOptions
    spatial = True
    pool: Tensor

    def __init__(self, options: GraphOptions) -> None:
        super().__init__(options)
        self.options = options
        if options.hidden % options.heads:
            raise ConfigError(
                f"the family graph shares hidden among heads: {options.hidden} is no multiple of {options.heads}"
            )
        channels, height, width = self.features
        if options.grid > min(height, width):
            raise ConfigError(
                f"the family graph has a map of {height}x{width} cells: grid {options.grid} is too fine, take "
                f"{min(height, width)} or less, or 0 for every cell"
            )
        pool = _averages(height, options.grid or height), _averages(width, options.grid or width)
        self.register_buffer("pool", torch.kron(*pool).T.contiguous(), persistent=False)
        nodes, hidden = self.pool.shape[1], options.hidden
        self.state_spec = (StateSpec("nodes", (nodes, hidden)),)
        self.reduce = nn.Linear(channels, hidden)
        self.place = nn.Parameter(0.1 * torch.randn(nodes, hidden))
        self.settle = nn.Sequential(nn.LayerNorm(hidden), nn.ReLU(), nn.Dropout(options.dropout))
        self.exchange = GraphAttention(hidden, options.heads)
        self.memory = GruMemory(2 * hidden + 1, hidden)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(2 * hidden, options.labels)

    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream; see the contract."""
        seen = self._seen(features, self.pace(dt))
        h, _ = self.memory.step(seen.flatten(0, 1), _as_streams(state))
        nodes = torch.unflatten(h, 0, (-1, seen.shape[1]))
        return self._read(nodes), (nodes,)

    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence of each stream; see the contract."""
        seen = torch.unflatten(self._seen(features.flatten(0, 1), self.pace(dt).flatten()), 0, dt.shape)
        state = state or self.init_state(len(dt), features)
        out, _ = self.memory(seen.transpose(1, 2).flatten(0, 1), _as_streams(state))
        nodes = torch.unflatten(out, 0, (len(dt), -1)).transpose(1, 2)
        return self._read(nodes), (nodes[:, -1],)

    def _seen(self, maps: Tensor, pace: Tensor) -> Tensor:
        """What each node's GRU reads, `[N, nodes, 2 * hidden + 1]`: its picture, the others' by attention, the pace."""
        nodes = self.settle(self.reduce((maps.flatten(2) @ self.pool).transpose(1, 2)) + self.place)
        paces = pace[:, None, None].expand(-1, nodes.shape[1], 1)
        return torch.cat([nodes, self.exchange(nodes), paces], 2)

    def _read(self, nodes: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(torch.cat([nodes.mean(-2), nodes.amax(-2)], -1)))
        return logits


class GraphAttention(nn.Module):
    """Each node takes a weighted mean of all: per head the weights are softmax_j LeakyReLU(a . W x_i + b . W x_j)."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.carry = nn.Linear(hidden, hidden, bias=False)
        self.asks = nn.Linear(hidden, heads)
        self.tells = nn.Linear(hidden, heads, bias=False)

    def forward(self, nodes: Tensor) -> Tensor:
        """Nodes `[N, nodes, hidden]` to messages of the same shape."""
        carried = self.carry(nodes)
        asks, tells = self.asks(carried).transpose(1, 2), self.tells(carried).transpose(1, 2)
        weights = torch.softmax(functional.leaky_relu(asks[..., None] + tells[:, :, None], 0.2), -1)
        by_head = torch.unflatten(carried, 2, (self.heads, -1)).transpose(1, 2)
        messages: Tensor = (weights @ by_head).transpose(1, 2).flatten(2)
        return functional.relu(messages)


def _as_streams(state: State) -> State:
    """The nodes' memories as those of streams of their own, `[N * nodes, layers = 1, hidden]`."""
    return (state[0].flatten(0, 1)[:, None],)


def _averages(cells: int, parts: int) -> Tensor:
    """`[parts, cells]`: means over parts as equal as can be, which may overlap, as adaptive pooling takes them."""
    rows = torch.zeros(parts, cells)
    for part in range(parts):
        first, end = part * cells // parts, -(-(part + 1) * cells // parts)
        rows[part, first:end] = 1 / (end - first)
    return rows
