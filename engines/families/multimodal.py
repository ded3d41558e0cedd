"""Video beside further inputs: a recurrent network for each, fused late by learned weights, each missing at any time.

The video's part is that of `cnn_lstm` on an encoder. Each further input (`engines.further`) has a linear layer, a GRU
and a head of its own. Where an input has no sample its GRU stands still, and what it said last loses its say with time:
its weight in the mean of the logits is `freshness`, 1 at a sample, and falls by exp(-dt / fade) until the next one. An
input that never came has no say, so the weights of the others add up to one. In training whole inputs are left out at
random (the modality dropout of Neverova et al. 2016, arXiv 1501.00102), so that each part learns to answer alone.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, NamedTuple, cast

import msgspec
import torch
from torch import Tensor, nn

from engines.errors import ConfigError
from engines.families.contract import State, StateSpec
from engines.families.memory import GruMemory, LstmMemory
from engines.families.on_encoder import PACE_LIMIT, Count, EncoderOptions, Share
from engines.families.recurrent import Recurrent, RecurrentOptions
from engines.further import FurtherInput

_ENOUGH = 0.1  # freshness of some input from which on training may do without the video


class FurtherPart(FurtherInput, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A further input and the sizes of its network: of the linear layer, and of the GRU."""

    reduced: Count = 64
    hidden: Count = 64


class MultimodalOptions(RecurrentOptions, frozen=True, kw_only=True):
    """`further` names the inputs in the order in which a step reads them.

    `fade_s` is how long an input without samples keeps about a third of its say at the start of training, which learns
    it; `leave_out` the share of sequences in which an input, or the video, is left out in training.
    """

    further: tuple[FurtherPart, ...] = ()
    fade_s: Annotated[float, msgspec.Meta(gt=0)] = 2.0
    leave_out: Share = 0.2


class Multimodal(Recurrent):
    """The family `multimodal`; a step reads the encoder's vector and each further input's values and flag."""

    family = "multimodal"
    options_type: ClassVar[type[EncoderOptions]] = MultimodalOptions
    memory_type = LstmMemory

    def __init__(self, options: MultimodalOptions) -> None:
        _check(options)
        super().__init__(options)
        self.further = tuple(FurtherInput(each.name, each.size, each.max_age_s) for each in options.further)
        self._leave_out = options.leave_out
        self._video_state = len(self.state_spec)
        self.beside = nn.ModuleList(BesideNetwork(part, options.labels, options.dropout) for part in options.further)
        self.weights = nn.Parameter(torch.zeros(1 + len(self.further)))
        self.log_fade_s = nn.Parameter(torch.full((len(self.further),), math.log(options.fade_s)))
        own = (StateSpec(f"{part.name}_h", (1, part.hidden)) for part in options.further)
        self.state_spec = (*self.state_spec, *own, StateSpec("freshness", (len(self.further),)))

    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream; see the contract."""
        read, (of_video, before, freshness) = self._unpacked(features), self._parts(state)
        logits, of_video = super().step(read.video, dt, of_video)
        faded = freshness * self._fading(dt)
        said, after = [], []
        for k, (network, values) in enumerate(zip(self._networks, read.values, strict=True)):
            here, following = network.step(values, faded[:, k], read.present[:, k], before[k])
            said.append(here)
            after.append(following)
        freshness = torch.where(read.present, torch.ones_like(faded), faded)
        fused = self._fused([logits, *said], freshness, torch.ones_like(dt))
        return fused, (*of_video, *after, freshness)

    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence of each stream; see the contract."""
        read = self._unpacked(features)
        of_video, before, start = self._parts(state or self.init_state(len(dt), features))
        present, watched = self._left_out(read.present)
        logits, of_video = super().forward(read.video, dt, of_video)
        faded, freshness = self._freshness(present, dt, start)
        said, after = [], []
        for k, (network, values) in enumerate(zip(self._networks, read.values, strict=True)):
            here, following = network(values, faded[..., k], present[..., k], before[k])
            said.append(here)
            after.append(following)
        enough = freshness.amax(-1) > _ENOUGH
        fused = self._fused([logits, *said], freshness, torch.where(enough, watched[:, None], 1.0).to(dt.dtype))
        return fused, (*of_video, *after, freshness[:, -1])

    @property
    def _networks(self) -> list[BesideNetwork]:
        return [cast("BesideNetwork", network) for network in self.beside]

    def _unpacked(self, features: Tensor) -> _Read:
        at, values, flags = self.features[0], [], []
        for each in self.further:
            values.append(features[..., at : at + each.size])
            flags.append(features[..., at + each.size] > 0.5)
            at += each.size + 1
        return _Read(features[..., : self.features[0]], values, torch.stack(flags, -1))

    def _parts(self, state: State) -> tuple[State, State, Tensor]:
        """The state of the video, of each further input, and their freshness."""
        return state[: self._video_state], state[self._video_state : -1], state[-1]

    def _seconds(self, dt: Tensor) -> Tensor:
        """dt within a factor of 32 of the nominal one, as `pace` reads it."""
        return dt.clamp(1 / (PACE_LIMIT * self.fps), PACE_LIMIT / self.fps)

    def _fading(self, dt: Tensor) -> Tensor:
        """The factor by which each input's freshness falls in a step without it, `[..., inputs]`."""
        return torch.exp(-self._seconds(dt)[..., None] / self.log_fade_s.exp())

    def _freshness(self, present: Tensor, dt: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Freshness at each step of a sequence `[N, T, inputs]`, before its sample is looked at and after.

        The product of all factors since the last sample, as exp of the seconds since then; these are summed in float64.
        """
        now = self._seconds(dt).double().cumsum(1)[..., None].expand(present.shape)
        last = torch.where(present, now, torch.full_like(now, -1.0)).cummax(1).values
        ever = last >= 0
        gap = torch.where(ever, now - last, now).to(dt.dtype)
        level = torch.where(ever, torch.ones_like(gap), start[:, None])
        after = level * torch.exp(-gap / self.log_fade_s.exp())
        before = torch.cat([start[:, None], after[:, :-1]], 1) * self._fading(dt)
        return before, after

    def _fused(self, logits: list[Tensor], freshness: Tensor, watched: Tensor) -> Tensor:
        """The mean of all logits `[..., labels]`, weighted by what was learned and by how fresh each is."""
        there = torch.cat([watched[..., None], freshness], -1) * torch.softmax(self.weights, 0)
        shares = there / there.sum(-1, keepdim=True)
        return (torch.stack(logits, -2) * shares[..., None]).sum(-2)

    def _left_out(self, present: Tensor) -> tuple[Tensor, Tensor]:
        """Presence `[N, T, inputs]` and whether the video is watched `[N]`, some of it left out in training."""
        kept = torch.ones((len(present), 1 + present.shape[-1]), dtype=torch.bool, device=present.device)
        if self.training and self._leave_out:
            kept = torch.rand(kept.shape, device=present.device) >= self._leave_out
        return present & kept[:, None, 1:], kept[:, 0].to(torch.float32)


class _Read(NamedTuple):
    """What a step or a sequence reads: `[..., D]`, of each input `[..., size]`, and whether each is there."""

    video: Tensor
    values: list[Tensor]
    present: Tensor


class BesideNetwork(nn.Module):
    """The network of one further input; without a sample it stands still, and says what it said before."""

    def __init__(self, part: FurtherPart, labels: int, dropout: float) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Linear(part.size, part.reduced), nn.LayerNorm(part.reduced), nn.ReLU())
        self.memory = GruMemory(part.reduced + 1, part.hidden)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(part.hidden, labels)

    def step(self, values: Tensor, faded: Tensor, present: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One step: values `[N, size]`, freshness and presence `[N]`, state `[N, 1, hidden]` to logits and state."""
        _, (stepped,) = self.memory.step(self._seen(values, faded), (hidden,))
        hidden = torch.where(present[:, None, None], stepped, hidden)
        return self.head(self.dropout(hidden[:, 0])), hidden

    def forward(self, values: Tensor, faded: Tensor, present: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """A sequence: the GRU reads the steps with a sample alone, and every step takes what it said last."""
        seen = self._seen(values, faded)
        order = torch.argsort((~present).to(torch.int8), dim=1, stable=True)
        out, _ = self.memory(seen.gather(1, order[..., None].expand_as(seen)), (hidden,))
        heard = torch.cat([hidden, out], 1)
        held = heard.gather(1, present.cumsum(1)[..., None].expand(-1, -1, heard.shape[-1]))
        return self.head(self.dropout(held)), held[:, -1:]

    def _seen(self, values: Tensor, faded: Tensor) -> Tensor:
        return torch.cat([self.dropout(self.reduce(values)), faded[..., None]], -1)


def _check(options: MultimodalOptions) -> None:
    names = [part.name for part in options.further]
    if not names:
        raise ConfigError(
            "the family multimodal has no further input: name one in its options, such as "
            "`further: [{name: audio, size: 20}]`, or take cnn_lstm"
        )
    if len(set(names)) != len(names):
        raise ConfigError(f"the further inputs of the family multimodal must have different names, found {names}")
