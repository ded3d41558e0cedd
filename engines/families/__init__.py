"""Network families: each one file behind one contract, found in a table of import strings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from engines.encoders import ENCODERS
from engines.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engines.families.contract import StreamModel

FAMILIES: dict[str, str] = {
    "attention_lstm": "engines.families.attention_lstm:AttentionLstm",
    "cnn_lstm": "engines.families.encoder_lstm:EncoderLstm",
    "convlstm": "engines.families.convlstm:ConvLstm",
    "graph": "engines.families.graph:Graph",
    "gru": "engines.families.gru:Gru",
    "motion_average": "engines.families.motion_average:MotionAverage",
    "multimodal": "engines.families.multimodal:Multimodal",
    "tcn": "engines.families.tcn:Tcn",
    "transformer": "engines.families.transformer:Transformer",
    "two_stream": "engines.families.two_stream:TwoStream",
}
"""Every family by its name, as it is on an encoder that the options name; see `engines.encoders`."""

WITHOUT_ENCODER: dict[str, str] = {
    "cnn_lstm": "engines.families.cnn_lstm:CnnLstm",
}
"""What a family is made of where its options name no encoder: a network with a CNN of its own."""


def build_family(name: str, options: Mapping[str, object]) -> StreamModel:
    """Make a network with random weights, but for a pretrained encoder where the options name one.

    Raises:
        ConfigError: an unknown family, or an option that it needs, does not have or cannot take.
        MissingExtraError: torch, or the package with the encoder's weights, is not installed.
        ModelError: the encoder's weights are damaged.
    """
    if name not in FAMILIES:
        raise ConfigError(f"there is no model family {name!r}, known are {', '.join(sorted(FAMILIES))}")
    table = FAMILIES if "encoder" in options else WITHOUT_ENCODER
    if name not in table:
        raise ConfigError(
            f"the family {name} runs on an encoder: name one in its options, such as "
            f"`options: {{encoder: {next(iter(ENCODERS))}}}`; known are {', '.join(sorted(ENCODERS))}"
        )
    module, _, attribute = table[name].partition(":")
    try:
        family: type[StreamModel] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(f"the model family {name}", "torch", "train") from error
    return family.build(options)
