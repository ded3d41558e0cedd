"""Network families: each one file behind one contract, found in a table of import strings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from engines.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engines.families.contract import StreamModel

FAMILIES: dict[str, str] = {
    "cnn_lstm": "engines.families.cnn_lstm:CnnLstm",
}

ON_ENCODERS: dict[str, str] = {
    "cnn_lstm": "engines.families.encoder_lstm:EncoderLstm",
}
"""What a family is made of where its options name a pretrained `encoder`; see `engines.encoders`."""


def build_family(name: str, options: Mapping[str, object]) -> StreamModel:
    """Make a network with random weights, but for a pretrained encoder where the options name one.

    Raises:
        ConfigError: an unknown family, or an option that it does not have or cannot take.
        MissingExtraError: torch, or the package with the encoder's weights, is not installed.
        ModelError: the encoder's weights are damaged.
    """
    if name not in FAMILIES:
        raise ConfigError(f"there is no model family {name!r}, known are {', '.join(sorted(FAMILIES))}")
    if "encoder" in options and name not in ON_ENCODERS:
        raise ConfigError(
            f"the family {name} does not run on a pretrained encoder, these do: {', '.join(sorted(ON_ENCODERS))}"
        )
    module, _, attribute = (ON_ENCODERS if "encoder" in options else FAMILIES)[name].partition(":")
    try:
        family: type[StreamModel] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(f"the model family {name}", "torch", "train") from error
    return family.build(options)
