"""Small networks of every family, and of the options that change what they compute: name -> family and options."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

VECTOR: dict[str, object] = {"encoder": "pixels", "height": 5, "width": 6, "labels": 4}
CELLS_4X5: dict[str, object] = {"encoder": "conv", "height": 32, "width": 40, "labels": 4}
MAP: dict[str, object] = {"encoder": "conv", "height": 24, "width": 40, "labels": 4}
LITE0: dict[str, object] = {
    "encoder": "efficientnet_lite0", "pretrained": False, "height": 64, "width": 64, "labels": 4,
}  # fmt: skip

SMALL: Mapping[str, tuple[str, dict[str, object]]] = MappingProxyType({
    "cnn_lstm without encoder": ("cnn_lstm", {"height": 24, "width": 40, "places": 6, "hidden": 10}),
    "cnn_lstm": ("cnn_lstm", {**VECTOR, "reduced": 12, "hidden": 20}),
    "cnn_lstm, differences": (
        "cnn_lstm", {**VECTOR, "reduced": 12, "hidden": 10, "layers": 2, "inputs": "both", "differences": "absolute"},
    ),
    "cnn_lstm on efficientnet_lite0": ("cnn_lstm", {**LITE0, "hidden": 20}),
    "gru": ("gru", {**VECTOR, "reduced": 12, "hidden": 20}),
    "gru, differences": ("gru", {**VECTOR, "reduced": 12, "hidden": 10, "layers": 3, "inputs": "differences"}),
    "two_stream": ("two_stream", {**VECTOR, "projected": 12, "hidden": 10}),
    "two_stream, frames": (
        "two_stream", {**VECTOR, "projected": 12, "hidden": 10, "motion": "frames", "thumbnail": [4, 5]},
    ),
    "convlstm": ("convlstm", {**MAP, "channels": 6}),
    "convlstm, peepholes": ("convlstm", {**MAP, "channels": 5, "kernel": 1, "peepholes": True}),
    "tcn": ("tcn", {**VECTOR, "channels": 12, "levels": 3}),
    "attention_lstm": ("attention_lstm", {**MAP, "reduced": 12, "hidden": 16, "attention": 8, "memory": 6}),
    "graph": ("graph", {**MAP, "hidden": 12, "heads": 3, "grid": 2}),
    "graph of every cell": ("graph", {**MAP, "hidden": 8, "heads": 2, "grid": 0}),
    "motion_average": ("motion_average", {**MAP, "grid": [2, 3], "thumbnail": [6, 10]}),
    "multimodal": (
        "multimodal", {**VECTOR, "reduced": 12, "hidden": 10, "further": [
            {"name": "audio", "size": 7, "reduced": 9, "hidden": 8},
            {"name": "door", "size": 1, "reduced": 5, "hidden": 8},
        ]},
    ),
    "transformer": ("transformer", {**VECTOR, "hidden": 16, "heads": 2, "window": 9}),
})  # fmt: skip

OWN_SIZES: Mapping[str, tuple[str, dict[str, object]]] = MappingProxyType({
    **{family: (family, CELLS_4X5) for family, _ in SMALL.values() if family != "multimodal"},
    "multimodal": ("multimodal", {**CELLS_4X5, "further": [{"name": "audio", "size": 20}]}),
})  # fmt: skip
"""Every family as it is where the options say nothing, on an encoder that is quick."""

VARIANTS: Mapping[str, tuple[str, dict[str, object]]] = MappingProxyType({
    f"small {name}": network for name, network in SMALL.items() if ", " in name or " of " in name
})  # fmt: skip
"""Small networks of the options that change a graph."""
