"""What the values of a fault are: in which unit, within which bounds, and how people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from engines.errors import ConfigError

NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?)(ms|s|%)?")
_SHORT = {"seconds": "s", "share": "", "viewers": "", "RTSP status": "", "bytes a second": "a second"}
_SUFFIXES = ("_per_s", "_bytes", "_s")
_SCALES = {"seconds": {"": 1.0, "s": 1.0, "ms": 1e-3}, "share": {"": 1.0, "%": 1e-2}}


def seconds(word: str) -> float | None:
    """A number of seconds as people write it: `5`, `5s`, `200ms`; None where it is none."""
    match = NUMBER.fullmatch(word)
    scale = _SCALES["seconds"].get(match[2] or "") if match else None
    return None if match is None or scale is None else round(float(match[1]) * scale, 9)


def plain(kind: type[Any], name: str, word: str) -> str:
    """A value as written, such as `200ms` or `30%`, as a number in the field's own unit.

    Raises:
        ConfigError: the unit is not one of this value.
    """
    match = NUMBER.fullmatch(word)
    if match is None or not match[2]:
        return word.removeprefix("+")
    unit = unit_of(kind, name)
    scale = _SCALES.get(unit.partition(" ")[0], {}).get(match[2])
    if scale is None:
        raise ConfigError(f"{word!r} has a wrong unit: {name} is in {unit or 'no unit'}")
    return f"{round(float(match[1]) * scale, 9):.9g}"


def unit_of(kind: type[Any], name: str) -> str:
    """In which unit a value is, such as `seconds`; empty for words and seeds."""
    meta = _meta(kind, name)
    return meta.description or "" if meta is not None else ""


def explanation(kind: type[Any], places: Mapping[str, str]) -> str:
    """Each value with unit and bounds in one line, such as `INTERVAL_S: seconds, 0 to 86400`."""
    told = [f"{places.get(name, name)}: {unit_of(kind, name)}, {_bounds(kind, name)}" for name in _measured(kind)]
    return "; ".join(told)


def shown(fault: Any) -> str:
    """The values of a fault, with their units, such as `interval=4 s`."""
    values = {name: getattr(fault, name) for name in fault.__struct_fields__}
    return " ".join(_shown(type(fault), name, value) for name, value in values.items() if value != "")


def complaint(kind: type[Any], error: msgspec.ValidationError) -> str:
    """What is wrong with a value, with its name, unit and bounds."""
    found = re.fullmatch(r"(.*) - at `\$\.(\w+)`", str(error))
    if found is None or not unit_of(kind, found[2]):
        return str(error)
    return f"{found[2]} should be a number, {_bounds(kind, found[2])} ({unit_of(kind, found[2])})"


def _measured(kind: type[Any]) -> list[str]:
    return [name for name in kind.__struct_fields__ if unit_of(kind, name)]


def _shown(kind: type[Any], name: str, value: object) -> str:
    number = f"{value:g}" if isinstance(value, float) else str(value)
    unit = unit_of(kind, name)
    unit = _SHORT.get(unit, unit)
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return f"{name}={number} {unit}".rstrip()


def _bounds(kind: type[Any], name: str) -> str:
    meta = _meta(kind, name)
    assert meta is not None
    least = meta.ge if meta.ge is not None else meta.gt
    even = ", even" if meta.multiple_of == 2 else ""
    if meta.le is None:
        return f"above {least:g}" if meta.ge is None else f"{least:g} or more"
    return f"{least:g} to {meta.le:g}{even}"


def _meta(kind: type[Any], name: str) -> msgspec.Meta | None:
    hint = get_type_hints(kind, include_extras=True)[name]
    if get_origin(hint) is Annotated:
        return next((each for each in get_args(hint)[1:] if isinstance(each, msgspec.Meta)), None)
    return None
