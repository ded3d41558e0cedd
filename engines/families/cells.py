"""Recurrent cells from their gates: one step of an LSTM, with peepholes or without, and of a GRU."""

from __future__ import annotations

import torch
from torch import Tensor


def lstm_cell(gates: Tensor, cell: Tensor, peepholes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Hidden and cell state after one step; Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.

    Works alike on vectors and on maps, whose gates are convolutions (Shi et al. 2015, arXiv 1506.04214, equation 3).

    Args:
        gates: `[N, 4 * C, ...]` before the non-linearities, in torch's order: input, forget, candidate, output.
        cell: `[N, C, ...]`, the cell state before.
        peepholes: `[3, C, ...]`, by which the cell state is seen by the gates input, forget (as it was before) and
            output (as it is after).
    """
    enter, forget, candidate, leave = gates.chunk(4, 1)
    if peepholes is not None:
        enter, forget = enter + peepholes[0] * cell, forget + peepholes[1] * cell
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
    if peepholes is not None:
        leave = leave + peepholes[2] * cell
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def gru_cell(from_input: Tensor, from_memory: Tensor, hidden: Tensor) -> Tensor:
    """Hidden state after one step of a GRU (Cho et al. 2014, arXiv 1406.1078) in the form that torch computes.

    Args:
        from_input: `[N, 3 * C]`, the input's share of the gates in torch's order: reset, update, candidate.
        from_memory: `[N, 3 * C]`, the share of the hidden state before; the reset gate acts on it, bias and all.
        hidden: `[N, C]`, the hidden state before.
    """
    reset, update, candidate = from_input.chunk(3, 1)
    reset_too, update_too, remembered = from_memory.chunk(3, 1)
    candidate = torch.tanh(candidate + torch.sigmoid(reset + reset_too) * remembered)
    update = torch.sigmoid(update + update_too)
    return (1 - update) * candidate + update * hidden
