"""Two streams: what the picture shows now beside an LSTM over what moves, brought to like size and joined.

After Simonyan & Zisserman 2014 (arXiv 1406.2199), with differences between frames in place of optical flow.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import torch
from torch import Tensor, nn

from engines.encoders import EncoderInfo
from engines.encoders.thumbnail import WithThumbnail
from engines.errors import ConfigError
from engines.families.contract import State
from engines.families.differences import Kind, difference, difference_spec, differences
from engines.families.memory import LstmMemory
from engines.families.on_encoder import Count, EncoderOptions, OnEncoder, Share

Side = Annotated[int, msgspec.Meta(ge=4, le=128)]


class TwoStreamOptions(EncoderOptions, frozen=True, kw_only=True):
    """Where motion is seen and how large the streams are.

    `motion: features` looks at how the encoder's features change; `motion: frames` at how a grey `thumbnail` (height,
    width) of the frame changes, cell by cell. Both streams end in `projected` numbers, which then go through `dropout`.
    """

    motion: Literal["features", "frames"] = "features"
    differences: Kind = "absolute"
    thumbnail: tuple[Side, Side] = (24, 32)
    hidden: Count = 128
    projected: Count = 128
    dropout: Share = 0.0


class TwoStream(OnEncoder):
    """The family `two_stream`; where motion is seen in frames, its features end in the thumbnail."""

    family = "two_stream"
    options_type = TwoStreamOptions

    def __init__(self, options: TwoStreamOptions) -> None:
        self._by_frames = options.motion == "frames"
        super().__init__(options)
        self.options = options
        vector = self.features[0] - (options.thumbnail[0] * options.thumbnail[1] if self._by_frames else 0)
        watched = self.features[0] - vector if self._by_frames else vector
        self._parts = (vector, watched)
        self.described = vector
        self.picture = _projection(vector, options.projected)
        self.changes = MotionMap(options.thumbnail) if self._by_frames else nn.Identity()
        self.motion = _projection(MotionMap.features if self._by_frames else vector, options.projected)
        self.memory = LstmMemory(options.projected + 1, options.hidden)
        self.remembered = _projection(options.hidden, options.projected)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(2 * options.projected, options.labels)
        self.state_spec = (*self.memory.state_spec(), *difference_spec((watched,)))

    def make_encoder(self, info: EncoderInfo, options: EncoderOptions) -> tuple[nn.Module, tuple[int, ...]]:
        """The encoder, with a thumbnail behind its vector where motion is seen in frames."""
        assert isinstance(options, TwoStreamOptions)
        encoder, shape = super().make_encoder(info, options)
        if not self._by_frames:
            return encoder, shape
        rows, columns = options.thumbnail
        if rows > self.frame_shape[0] or columns > self.frame_shape[1]:
            height, width = self.frame_shape
            raise ConfigError(
                f"the family two_stream was given frames of {width}x{height} pixels, smaller than its thumbnail of "
                f"{columns}x{rows}: set `thumbnail: [HEIGHT, WIDTH]`"
            )
        return WithThumbnail(encoder, self.frame_shape, options.thumbnail), (shape[0] + rows * columns,)

    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream; see the contract."""
        picture, watched = self._split(features)
        change, before = difference(watched, state[2:], self.options.differences)
        out, remembered = self.memory.step(self._moved(change, dt), state[:2])
        return self._answer(picture, out), (*remembered, *before)

    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence of each stream; see the contract."""
        state = state or self.init_state(len(dt), features)
        picture, watched = self._split(features)
        change, before = differences(watched, state[2:], self.options.differences)
        out, remembered = self.memory(self._moved(change, dt), state[:2])
        return self._answer(picture, out), (*remembered, *before)

    def _split(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The vector, and what is watched for motion."""
        if not self._by_frames:
            return features, features
        vector, watched = features.split_with_sizes(self._parts, -1)
        return vector, watched

    def _moved(self, change: Tensor, dt: Tensor) -> Tensor:
        """What the LSTM reads, of steps or of sequences alike."""
        motion = self.motion(self.changes(change))
        return torch.cat([self.dropout(motion), self.pace(dt)[..., None]], -1)

    def _answer(self, vector: Tensor, out: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(torch.cat([self.picture(vector), self.remembered(out)], -1)))
        return logits


class MotionMap(nn.Module):
    """Changes of a thumbnail `[..., h * w]` through two convolutions of stride two to means and maxima `[..., 64]`."""

    features = 64

    def __init__(self, thumbnail: tuple[int, int]) -> None:
        super().__init__()
        self._thumbnail = thumbnail
        half = self.features // 2
        self.layers = nn.Sequential(
            nn.Conv2d(1, half // 2, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(half // 2, half, 3, stride=2, padding=1),
            nn.ReLU(),
        )

    def forward(self, changes: Tensor) -> Tensor:
        """See the class."""
        maps = self.layers(changes.reshape(-1, 1, *self._thumbnail))
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        return pooled.reshape(*changes.shape[:-1], self.features)


def _projection(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU())
