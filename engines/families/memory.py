"""LSTM and GRU as parts: fused over a sequence, or the same weights step by step; the state is batch first."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.families.cells import gru_cell, lstm_cell
from engines.families.contract import State, StateSpec


class Memory(nn.Module):
    """A recurrent network of `layers` layers: `[N, T, inputs]`, or `[N, inputs]` for one step, to `hidden` numbers.

    Its state is one tensor `[N, layers, hidden]` for each of `parts`. Dropout is between the layers, in training only.
    """

    parts: ClassVar[tuple[str, ...]]
    cells: nn.RNNBase

    def __init__(self, cells: nn.RNNBase) -> None:
        super().__init__()
        self.cells = cells

    def state_spec(self, prefix: str = "") -> tuple[StateSpec, ...]:
        """The state's tensors, in the order that `step` and `forward` take them."""
        shape = (self.cells.num_layers, self.cells.hidden_size)
        return tuple(StateSpec(f"{prefix}{part}", shape) for part in self.parts)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: x `[N, inputs]` to the last layer's hidden state `[N, hidden]` and the next state."""
        layers = []
        for weights, *before in zip(self.cells.all_weights, *(part.unbind(1) for part in state), strict=True):
            after = self._cell(x, weights, tuple(before))
            x = after[0]
            layers.append(after)
        return x, tuple(torch.stack(part, 1) for part in zip(*layers, strict=True))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """A sequence: x `[N, T, inputs]` to `[N, T, hidden]` and the last state."""
        first = tuple(part.transpose(0, 1).contiguous() for part in state)
        out, last = self.cells(x, first if len(first) > 1 else first[0])
        return out, tuple(part.transpose(0, 1) for part in (last if len(first) > 1 else (last,)))

    @abstractmethod
    def _cell(self, x: Tensor, weights: list[Tensor], before: State) -> State:
        """One layer's step: its state `[N, hidden]` for each of `parts`, the hidden state first."""


class LstmMemory(Memory):
    """`torch.nn.LSTM` with its state."""

    parts = ("h", "c")

    def __init__(self, inputs: int, hidden: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__(nn.LSTM(inputs, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0))

    def _cell(self, x: Tensor, weights: list[Tensor], before: State) -> State:
        from_input, from_memory, bias, more_bias = weights
        h, c = before
        gates = functional.linear(x, from_input, bias) + functional.linear(h, from_memory, more_bias)
        return lstm_cell(gates, c)


class GruMemory(Memory):
    """`torch.nn.GRU` with its state."""

    parts = ("h",)

    def __init__(self, inputs: int, hidden: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__(nn.GRU(inputs, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0))

    def _cell(self, x: Tensor, weights: list[Tensor], before: State) -> State:
        from_input, from_memory, bias, more_bias = weights
        (h,) = before
        gates = functional.linear(x, from_input, bias), functional.linear(h, from_memory, more_bias)
        return (gru_cell(*gates, h),)
