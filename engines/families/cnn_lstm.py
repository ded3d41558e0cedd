"""CNN and LSTM: a small CNN finds people and luggage, one LSTM remembers each place, a second one the whole scene.

The encoder turns a frame into four maps on a grid of one cell per 8x8 pixels: person, standing luggage, carried
luggage, and somebody who bends down. The first LSTM runs at every cell with the same weights and reads the eight
neighbours' memory too (its gates are 3x3 convolutions: the ConvLSTM of Shi et al. 2015, arXiv 1506.04214, without
peepholes), so what it learns of one place holds everywhere. The second is an ordinary LSTM over what all cells say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.errors import ConfigError
from engines.families.cells import lstm_cell
from engines.families.contract import State, StateSpec, StreamModel

CELL = 8
"""Pixels of the frame per grid cell, on each axis."""

MAPS = ("person", "standing", "carried", "bending")
"""What the encoder's maps show, each a probability per cell."""

EVIDENCE = ("brought", "left", "staying")
"""What every cell is taught to know from memory: brought luggage, left luggage, a person in view for long."""


class CnnLstmOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of the network; `height` and `width` are multiples of 8, `memory_s` is how long cells hold at the start."""

    height: int = 72
    width: int = 128
    fps: float = 5.0
    labels: int = 4
    channels: tuple[int, int, int] = (12, 24, 48)
    places: int = 16
    hidden: int = 64
    memory_s: float = 60.0


class CnnLstm(StreamModel):
    """The family `cnn_lstm`; features are the encoder's maps, float32 `[4 * rows * columns]` between 0 and 1."""

    def __init__(self, options: CnnLstmOptions) -> None:
        super().__init__()
        self.options = options
        self.frame_shape, self.fps, self.labels = (options.height, options.width), options.fps, options.labels
        self.grid = (options.height // CELL, options.width // CELL)
        self.features = (len(MAPS) * self.grid[0] * self.grid[1],)
        places, hidden = options.places, options.hidden
        self.state_spec = (
            StateSpec("place_h", (places, *self.grid)),
            StateSpec("place_c", (places, *self.grid)),
            StateSpec("scene_h", (hidden,)),
            StateSpec("scene_c", (hidden,)),
        )
        self.encoder = MapEncoder(options.channels)
        self.place_in = nn.Conv2d(len(MAPS) + 3, 4 * places, 3, padding=1)
        self.place_memory = nn.Conv2d(places, 4 * places, 3, padding=1, bias=False)
        self.evidence = nn.Conv2d(places, len(EVIDENCE), 1)
        self.scene = nn.LSTM(2 * places + len(EVIDENCE) + 2 * len(MAPS) + 1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, options.labels)
        self._spread_memories()

    @classmethod
    def build(cls, options: Mapping[str, object]) -> CnnLstm:
        """Make the network from a recipe's options."""
        try:
            chosen = msgspec.convert(dict(options), CnnLstmOptions)
        except msgspec.ValidationError as error:
            raise ConfigError(f"the options of the family cnn_lstm are wrong: {error}") from error
        if chosen.height % CELL or chosen.width % CELL or min(chosen.height, chosen.width) < CELL:
            size = f"{chosen.height}x{chosen.width}"
            raise ConfigError(
                f"the family cnn_lstm takes heights and widths that are multiples of {CELL}, found {size}"
            )
        return cls(chosen)

    def step(self, features: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream; see the contract."""
        place_h, place_c, scene_h, scene_c = state
        maps, pace = self._maps(features), self._pace(dt)
        gates = self.place_in(self._with_context(maps, pace)) + self.place_memory(place_h)
        place_h, place_c = lstm_cell(gates, place_c)
        seen = self._seen(maps, place_h, pace)
        from_input, from_memory, bias, more_bias = self.scene.all_weights[0]
        gates = functional.linear(seen, from_input, bias) + functional.linear(scene_h, from_memory, more_bias)
        scene_h, scene_c = lstm_cell(gates, scene_c)
        return self.head(scene_h), (place_h, place_c, scene_h, scene_c)

    def forward(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """A sequence of each stream; see the contract."""
        logits, _, following = self.explain(features, dt, state)
        return logits, following

    def explain(self, features: Tensor, dt: Tensor, state: State | None = None) -> tuple[Tensor, Tensor, State]:
        """Like `forward`, with the evidence's logits `[N, T, 3, rows, columns]` between logits and state."""
        batch, steps = dt.shape
        place_h, place_c, scene_h, scene_c = state or self.init_state(batch, features)
        maps, pace = self._maps(features.flatten(0, 1)), self._pace(dt.flatten())
        gates = torch.unflatten(self.place_in(self._with_context(maps, pace)), 0, (batch, steps))
        remembered = []
        for gate in gates.unbind(1):
            place_h, place_c = lstm_cell(gate + self.place_memory(place_h), place_c)
            remembered.append(place_h)
        places = torch.stack(remembered, 1).flatten(0, 1)
        seen = torch.unflatten(self._seen(maps, places, pace), 0, (batch, steps))
        out, (last_h, last_c) = self.scene(seen, (scene_h[None].contiguous(), scene_c[None].contiguous()))
        evidence = torch.unflatten(self.evidence(places), 0, (batch, steps))
        return self.head(out), evidence, (place_h, place_c, last_h[0], last_c[0])

    def maps(self, frames: Tensor) -> Tensor:
        """Logits of the encoder's maps, `[N, 4, rows, columns]`, which training compares with the truth."""
        assert isinstance(self.encoder, MapEncoder)
        return self.encoder.logits(frames)

    def _maps(self, features: Tensor) -> Tensor:
        return torch.unflatten(features, 1, (len(MAPS), *self.grid))

    def _pace(self, dt: Tensor) -> Tensor:
        """log(dt / nominal dt) as `[N, 1]`, within a factor of 32 either way; NaN passes through."""
        return torch.log((dt * self.fps).clamp(1 / 32, 32.0))[:, None]

    def _with_context(self, maps: Tensor, pace: Tensor) -> Tensor:
        """Maps and, the same in every cell, the pace and how sure a person and a carried thing are anywhere."""
        anywhere = torch.cat([pace, maps[:, 0].amax((1, 2))[:, None], maps[:, 2].amax((1, 2))[:, None]], 1)
        return torch.cat([maps, anywhere[:, :, None, None].expand(-1, -1, *self.grid)], 1)

    def _seen(self, maps: Tensor, places: Tensor, pace: Tensor) -> Tensor:
        """What the scene's LSTM reads: the cells' maximum and mean, and the maps' maximum and sum."""
        evidence = self.evidence(places).amax((2, 3))
        maps = torch.cat([maps.amax((2, 3)), 0.25 * maps.sum((2, 3))], 1)
        return torch.cat([places.amax((2, 3)), places.mean((2, 3)), 0.25 * evidence, maps, pace], 1)

    def _spread_memories(self) -> None:
        """Start with cells that forget at different rates, from two steps to `memory_s`.

        Tallec & Ollivier 2018 (arXiv 1804.11188): a forget bias of log T holds for about T steps. Evidence starts rare.
        """
        longest = math.log(self.options.memory_s * self.fps)
        with torch.no_grad():
            for bias, size in (
                (self.place_in.bias, self.options.places),
                (self.scene.all_weights[0][2], self.options.hidden),
            ):
                assert bias is not None
                bias[size : 2 * size] = torch.linspace(math.log(2.0), longest, size)
                bias[:size] = -0.3 * bias[size : 2 * size]
            assert self.evidence.bias is not None
            self.evidence.bias.fill_(-4.0)


class MapEncoder(nn.Module):
    """Frames uint8 `[N, H, W, 3]` BGR to four maps of probabilities, flattened to `[N, 4 * H/8 * W/8]`."""

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        first, second, third = channels
        self.layers = nn.Sequential(
            _block(3, first, stride=2),
            _block(first, second, stride=2),
            _block(second, third, stride=2),
            _block(third, third),
            _block(third, third, dilation=2),
            _block(third, third, dilation=2),
            nn.Conv2d(third, len(MAPS), 1),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Features of frames; the cast comes first, since not every engine can transpose uint8."""
        return torch.sigmoid(self.logits(frames)).flatten(1)

    def logits(self, frames: Tensor) -> Tensor:
        """The maps before the sigmoid, `[N, 4, H/8, W/8]`."""
        pictures = frames.to(self.layers[-1].weight.dtype).permute(0, 3, 1, 2) / 127.5 - 1.0  # type: ignore[arg-type]
        maps: Tensor = self.layers(pictures)
        return maps


def _block(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())
