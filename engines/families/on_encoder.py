"""What all families on an encoder share: their options, the encoder itself, and how they read the time."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec
import torch
from torch import Tensor, nn

from engines.encoders import EncoderInfo, build_encoder, check_frame_size, find_encoder
from engines.errors import ConfigError
from engines.families.contract import StreamModel

Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]

PACE_LIMIT = 32.0
"""How many times longer or shorter than nominal a step can look."""


class EncoderOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every family on an encoder can be told.

    `encoder` is a name in `engines.encoders`; height and width 0 mean its own size. `fps` is the rate that `dt` is
    measured against. `pretrained: false` starts the encoder from random weights, for networks whose weights are loaded
    afterwards.
    """

    encoder: str
    height: Annotated[int, msgspec.Meta(ge=0)] = 0
    width: Annotated[int, msgspec.Meta(ge=0)] = 0
    fps: Annotated[float, msgspec.Meta(gt=0)] = 8.0
    labels: Count = 2
    pretrained: bool = True


class OnEncoder(StreamModel):
    """A family whose features are those of an encoder chosen by name.

    A subclass names itself, its options and whether it wants the encoder's map; its constructor calls this one, then
    sets `state_spec` and makes its layers for `features`. The encoder's parameters do not ask for a gradient: a trainer
    that wants to tune them calls `model.encoder.requires_grad_()`. Pretrained batch statistics stay fixed even then.
    """

    family: ClassVar[str]
    """Its name in `FAMILIES`."""
    options_type: ClassVar[type[EncoderOptions]]
    spatial: ClassVar[bool] = False
    """False: features are the encoder's vector `[D]`; True: its map `[C, h, w]`."""

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__()
        info = find_encoder(options.encoder)
        height, width = options.height or info.size, options.width or info.size
        check_frame_size(info, height, width)
        self.frame_shape, self.fps, self.labels = (height, width), options.fps, options.labels
        self.encoder, self.features = self.make_encoder(info, options)
        self.encoder.requires_grad_(requires_grad=False)

    @classmethod
    def build(cls, options: Mapping[str, object]) -> OnEncoder:
        """Make the network from a recipe's options."""
        known = [field.name for field in msgspec.structs.fields(cls.options_type)]
        for name in options:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
                hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
                raise ConfigError(f"the family {cls.family} on an encoder has no option {name}; {hint}")
        try:
            chosen = msgspec.convert(dict(options), cls.options_type)
        except msgspec.ValidationError as error:
            raise ConfigError(f"the options of the family {cls.family} with an encoder are wrong: {error}") from error
        return cls(chosen)

    def make_encoder(self, info: EncoderInfo, options: EncoderOptions) -> tuple[nn.Module, tuple[int, ...]]:
        """The encoder and the shape of one frame's features; a family that needs more of a frame overrides this."""
        shape = info.map_shape if self.spatial else info.vector_shape
        encoder = build_encoder(info, pretrained=options.pretrained, spatial=self.spatial)
        return encoder, shape(*self.frame_shape)

    def pace(self, dt: Tensor) -> Tensor:
        """log(dt / nominal dt), within a factor of 32 either way, in the shape of `dt`; NaN passes through."""
        return torch.log((dt * self.fps).clamp(1 / PACE_LIMIT, PACE_LIMIT))
