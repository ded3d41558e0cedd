"""The contract of every network family: whole sequences for training, single steps for serving, equal by test."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from engines.further import FurtherInput, step_shape

State = tuple[Tensor, ...]


class StateSpec(NamedTuple):
    """One state tensor: float32 `[batch, *shape]`, all zero at the start, holding no index."""

    name: str
    shape: tuple[int, ...]


class StreamModel(nn.Module):
    """An encoder of single frames and a recurrent step over its features.

    `forward` over a sequence and `step` frame by frame give the same logits. `dt` is in seconds since the step before.
    """

    encoder: nn.Module
    """uint8 `[N, height, width, 3]` BGR to features float32 `[N, *features]`; casts and scales inside."""
    frame_shape: tuple[int, int]
    """Height and width of a frame in pixels."""
    fps: float
    """The rate that `dt` is measured against, in frames a second."""
    features: tuple[int, ...]
    """Shape of the encoder's features of one frame."""
    described: int | None = None
    """How many of them, from the first on, are the encoder's vector, where more is behind it; None: all."""
    further: tuple[FurtherInput, ...] = ()
    """What a step reads beside them; see `engines.further`."""
    labels: int
    """Number of classes."""
    state_spec: tuple[StateSpec, ...]
    receptive_field: int | None = None
    """How many of the latest steps an answer can depend on; None: there is no bound."""
    temperature: Tensor
    """float32 `[1]`: what served logits are divided by; 1 until calibration (Guo et al. 2017, arXiv 1706.04599)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones(1))
        self.register_load_state_dict_pre_hook(_with_temperature)  # type: ignore[no-untyped-call]

    @classmethod
    @abstractmethod
    def build(cls, options: Mapping[str, object]) -> StreamModel:
        """Make the network from a recipe's options; ConfigError names what is wrong with them."""

    @abstractmethod
    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: features `[N, *step_features]` and dt `[N]` to logits `[N, labels]` and the next state.

        Logits are raw here and in `forward`: only what is served is divided by the temperature.
        """

    @abstractmethod
    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence: features `[N, T, *step_features]` and dt `[N, T]` to logits `[N, T, labels]` and last state."""

    def look(self, sequences: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take a look at what will be learnt from, once before learning starts; most families have no need to.

        Each sequence is features `[T, *step_features]` and dt `[T]` from a stream's start on.
        """
        del sequences

    def penalty(self) -> Tensor:
        """What learning adds to the loss, for a family that holds its weights back; 0 for most."""
        return torch.zeros(())

    @property
    def step_features(self) -> tuple[int, ...]:
        """Shape of what a step reads of one frame: `features`, and the further inputs behind them."""
        return step_shape(self.features, self.further)

    def init_state(self, batch: int, like: Tensor | None = None) -> State:
        """The state of `batch` fresh streams, on the device and of the type of `like`."""
        dtype, device = (like.dtype, like.device) if like is not None else (torch.float32, None)
        return tuple(torch.zeros((batch, *spec.shape), dtype=dtype, device=device) for spec in self.state_spec)


class Served(nn.Module):
    """What is exported of a family: one step with resets inside the graph and a flag for rows that went non-finite."""

    def __init__(self, model: StreamModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, dt: Tensor, keep: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """prob, logits `[N, labels]`, ok `[N]` and the next state.

        A row whose `keep` is 0 starts from zero and does not look at its dt. State is cleared with `where`, never by
        multiplication, since NaN times 0 is NaN.
        """
        fresh = keep < 0.5
        state = tuple(torch.where(_as_rows(fresh, s), torch.zeros_like(s), s) for s in state)
        dt = torch.where(fresh, torch.full_like(dt, 1.0 / self.model.fps), dt)
        logits, following = self.model.step(features, dt, state)
        logits = logits / self.model.temperature
        # inputs too: on some engines ReLU and clamp turn NaN into a number, and the row would look well
        finite = torch.isfinite(features).flatten(1).all(1) & torch.isfinite(dt) & torch.isfinite(logits).all(1)
        for tensor in following:
            finite = finite & torch.isfinite(tensor).flatten(1).all(1)
        following = tuple(torch.where(_as_rows(finite, s), s, torch.zeros_like(s)) for s in following)
        return (torch.softmax(logits, 1), logits, finite.to(torch.float32), *following)


def _as_rows(flags: Tensor, like: Tensor) -> Tensor:
    """Flags `[N]` shaped to broadcast over the rows of `like`."""
    return flags.reshape(-1, *[1] * (like.dim() - 1))


def _with_temperature(module: nn.Module, tensors: dict[str, Any], prefix: str, *_: object) -> None:
    """Weights that were saved before there was a temperature mean the network as it is."""
    assert isinstance(module, StreamModel)
    tensors.setdefault(f"{prefix}temperature", torch.ones_like(module.temperature))
