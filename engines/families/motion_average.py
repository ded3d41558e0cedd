"""Leaky averages of what a picture shows, of how that changes, and of how it changes where most moves; linear head.

A recurrent network with next to nothing to overfit: its memory is leaky integration (Jaeger et al. 2007, Neural
Networks 20:3) with one time constant, and only a linear layer is learnt, held back by a ridge penalty (Hoerl & Kennard
1970, Technometrics 12:1). For a few hundred clips it can beat networks that learn what to remember.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from engines.encoders import EncoderInfo, build_encoder
from engines.encoders.grid import GridAndThumbnail
from engines.encoders.thumbnail import shares
from engines.errors import ConfigError
from engines.families.contract import State, StateSpec
from engines.families.on_encoder import EncoderOptions, OnEncoder, Share

Cells = Annotated[int, msgspec.Meta(ge=1, le=32)]
Side = Annotated[int, msgspec.Meta(ge=2, le=128)]
Positive = Annotated[float, msgspec.Meta(gt=0)]

STATISTICS = 4
LEAST_SCALE = 1e-3
LEAST_WEIGHT = 1e-6
LEAST_MOTION = 1e-4


class MotionAverageOptions(EncoderOptions, frozen=True, kw_only=True):
    """What is averaged and for how long.

    `grid` (rows, columns) is what the encoder's last map is averaged to, `thumbnail` (height, width) the small grey
    frame in whose cells motion is seen. A cell counts by its motion to the power of `sharpness`. `decay_s` is the time
    constant of the averages, `ridge` the penalty on the head's squared weights.
    """

    grid: tuple[Cells, Cells] = (2, 3)
    thumbnail: tuple[Side, Side] = (24, 32)
    sharpness: Annotated[float, msgspec.Meta(ge=0, le=16)] = 4.0
    decay_s: Positive = 2.0
    ridge: Annotated[float, msgspec.Meta(ge=0)] = 2.5
    dropout: Share = 0.0


class _Seen(NamedTuple):
    """One step or a sequence, `[..., C]` each: what is shown, how it changed, and how it did where most moves."""

    shown: Tensor
    changed: Tensor
    moving: Tensor


class MotionAverage(OnEncoder):
    """The family `motion_average`; its features are the map's mean, the grid channel by channel, and the thumbnail."""

    family = "motion_average"
    options_type = MotionAverageOptions
    centre: Tensor
    scale: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, options: MotionAverageOptions) -> None:
        super().__init__(options)
        self.options = options
        rows, columns = options.grid
        pixels = options.thumbnail[0] * options.thumbnail[1]
        self._channels = self.described = (self.features[0] - pixels) // (1 + rows * columns)
        self.register_buffer("rows", shares(rows, options.thumbnail[0]), persistent=False)
        self.register_buffer("columns", shares(columns, options.thumbnail[1]).T, persistent=False)
        self.register_buffer("centre", torch.zeros(STATISTICS * self._channels))
        self.register_buffer("scale", torch.ones(STATISTICS * self._channels))
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(STATISTICS * self._channels, options.labels)
        averages = ("shown", "changed", "moving", "peak")
        self.state_spec = (
            StateSpec("previous", self.features),
            StateSpec("gathered", (2,)),
            *(StateSpec(name, (self._channels,)) for name in averages),
        )

    def make_encoder(self, info: EncoderInfo, options: EncoderOptions) -> tuple[nn.Module, tuple[int, ...]]:
        """The encoder's widest map averaged to a grid, and a thumbnail behind it."""
        assert isinstance(options, MotionAverageOptions)
        channels, height, width = info.wide_shape(*self.frame_shape)
        given = (("grid", options.grid, (height, width), "cells of the map"),
                 ("thumbnail", options.thumbnail, self.frame_shape, "pixels of the frame"))  # fmt: skip
        for name, (rows, columns), limit, what in given:
            if rows > limit[0] or columns > limit[1]:
                raise ConfigError(
                    f"the family motion_average was given {name}: [{rows}, {columns}], and there are only "
                    f"{limit[0]} x {limit[1]} {what}: set it to at most that"
                )
        encoder = build_encoder(info, pretrained=options.pretrained, spatial=True, wide=True)
        cells, pixels = (side[0] * side[1] for side in (options.grid, options.thumbnail))
        whole = GridAndThumbnail(encoder, (height, width), options.grid, self.frame_shape, options.thumbnail)
        return whole, (channels * (1 + cells) + pixels,)

    def look(self, sequences: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Bring every statistic to mean 0 and deviation 1 over these sequences; see the contract."""
        every = []
        with torch.no_grad():
            for features, dt in sequences:
                statistics, _, known = self._sequence(features[None], dt[None], self.init_state(1, features))
                every.append(statistics[0][known[0, :, -1] > 0])
        table = torch.cat(every)
        self.centre.copy_(table.mean(0))
        self.scale.copy_(table.std(0, correction=0) + LEAST_SCALE)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def penalty(self) -> Tensor:
        """The ridge; see the contract."""
        return self.options.ridge * self.head.weight.square().sum()

    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream; see the contract."""
        previous, gathered = state[:2]
        seen = self._see(features, previous)
        statistics, known, following = self._gather(seen, dt[:, None], gathered, state[2:])
        return self._answer(statistics, known), (features, *following)

    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence of each stream; see the contract."""
        statistics, following, known = self._sequence(features, dt, state or self.init_state(len(dt), features))
        return self._answer(statistics, known), following

    def _sequence(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        """Statistics `[N, T, 4 C]`, the last state, and which statistics are known."""
        previous, gathered, *averages = state
        before = torch.cat([previous[:, None], features[:, :-1]], 1)
        seen = self._see(features, before)
        found, known = [], []
        for t in range(features.shape[1]):
            now = _Seen(*(part[:, t] for part in seen))
            statistics, has, (gathered, *averages) = self._gather(now, dt[:, t, None], gathered, tuple(averages))
            found.append(statistics)
            known.append(has)
        return torch.stack(found, 1), (features[:, -1], gathered, *averages), torch.stack(known, 1)

    def _see(self, features: Tensor, previous: Tensor) -> _Seen:
        """What the frames show and what changed in them, of steps `[N, F]` or sequences `[N, T, F]` alike."""
        shown, grid, thumbnail = self._split(features)
        old_shown, old_grid, old_thumbnail = self._split(previous)
        motion = torch.matmul(torch.matmul(self.rows, (thumbnail - old_thumbnail).abs()), self.columns)
        # beside the largest, so that no power of it leaves float32; where nothing moves every cell counts alike
        motion = motion.flatten(-2)
        motion = motion / (motion.amax(-1, keepdim=True) + LEAST_MOTION)
        weight = motion.pow(self.options.sharpness) + LEAST_WEIGHT
        weight = weight / weight.sum(-1, keepdim=True)
        moving = torch.matmul((grid - old_grid).abs(), weight[..., None])[..., 0]
        return _Seen(shown, (shown - old_shown).abs(), moving)

    def _split(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mean `[..., C]`, the grid `[..., C, cells]` and the thumbnail `[..., height, width]`."""
        rows, columns = self.options.grid
        sizes = (self._channels, self._channels * rows * columns, self.options.thumbnail[0] * self.options.thumbnail[1])
        mean, grid, thumbnail = features.split_with_sizes(sizes, -1)
        grid = torch.unflatten(grid, -1, (self._channels, rows * columns))
        return mean, grid, torch.unflatten(thumbnail, -1, self.options.thumbnail)

    def _gather(
        self, seen: _Seen, dt: Tensor, gathered: Tensor, averages: State
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """One step of the averages: statistics, which of them are known, and what is remembered.

        An average is divided by the weight that it has gathered, so that it is one from the first step on (the bias
        correction of Kingma & Ba 2015, arXiv 1412.6980).
        """
        leak = 1.0 - torch.exp(-dt / self.options.decay_s)
        keep = 1.0 - leak
        again = (gathered[:, :1] > 0).to(dt.dtype)  # 0 at the first step, which has nothing to differ from
        shown, changed, moving, peak = averages
        shown = keep * shown + leak * seen.shown
        changed = keep * changed + leak * again * seen.changed
        moving = keep * moving + leak * again * seen.moving
        peak = torch.maximum(keep * peak, again * seen.moving)
        gathered = keep * gathered + leak * torch.cat([torch.ones_like(again), again], 1)
        weights = gathered.clamp_min(LEAST_WEIGHT)
        statistics = torch.cat([shown / weights[:, :1], changed / weights[:, 1:], moving / weights[:, 1:], peak], 1)
        known = torch.cat([torch.ones_like(shown), *[again.expand_as(shown)] * (STATISTICS - 1)], 1)
        return statistics, known, (gathered, shown, changed, moving, peak)

    def _answer(self, statistics: Tensor, known: Tensor) -> Tensor:
        """What is not known yet counts as ordinary."""
        logits: Tensor = self.head(self.dropout((statistics - self.centre) / self.scale * known))
        return logits
