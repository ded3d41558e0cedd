"""JSON Schema files of the messages and of the configuration, generated from their definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
NAMES = ("clip", "event", "status", "input", "config")


def read_schema(name: str) -> str:
    """The shipped schema file of `clip`, `event`, `status`, `input` or `config`."""
    return (_FOLDER / f"{name}.schema.json").read_text(encoding="utf-8")


def make_schema(name: str) -> str:
    """The schema as the code defines it now; the shipped file must be equal."""
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **_define(name)}, indent=2) + "\n"


def _define(name: str) -> dict[str, Any]:
    if name == "config":
        from pipeline.config.schema import Config  # noqa: PLC0415

        return {"title": "vidpipe configuration", **Config.model_json_schema()}
    import msgspec  # noqa: PLC0415

    from pipeline.inputs.sample import InputSample  # noqa: PLC0415
    from pipeline.stream.messages import TYPES  # noqa: PLC0415

    return msgspec.json.schema(InputSample if name == "input" else TYPES[name])


def write_schemas() -> None:
    """Write all schema files anew."""
    for name in NAMES:
        (_FOLDER / f"{name}.schema.json").write_text(make_schema(name), encoding="utf-8")
