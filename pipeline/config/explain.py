"""A broken configuration in plain words: every error at once, with its path, what was found and what is allowed."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.redaction import redact

_MOST_SHOWN = 60


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line per error of `error`, in the order of the file."""
    return [_line(item, model) for item in error.errors(include_url=False)]


def _line(item: Any, model: type[BaseModel]) -> str:
    location = [part for part in item["loc"] if part != "[key]"]
    path = ".".join(redact(str(part)) for part in location) or "the file"
    return f"{path}: {_finding(item, model, location)}"


def _finding(item: Any, model: type[BaseModel], location: list[Any]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = _fields(model, location[:-1])
        return f"unknown key{_did_you_mean(str(location[-1]), allowed)}; allowed are {', '.join(allowed)}"
    if kind == "literal_error":
        allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        near = _did_you_mean(str(item["input"]), allowed)
        return f"is {_show(item['input'])}{near}; allowed are {', '.join(allowed)}"
    if item["loc"] and item["loc"][-1] == "[key]":
        whose = "an input's" if "inputs" in location[2:-1] else "a camera's"
        return f"{whose} name may hold letters, digits, - and _, at most 64; a number needs quotes"
    sentences = {
        "missing": "is missing",
        "value_error": str(context.get("error")),
        "too_short": "names no camera",
        "model_type": f"is {_show(item['input'])}; it must be a section of keys and values",
        "dict_type": f"is {_show(item['input'])}; it must be a section of keys and values",
    }
    return sentences.get(kind) or f"is {_show(item['input'])}; {_lower(item['msg'])}"


def _did_you_mean(found: str, allowed: Iterable[str]) -> str:
    near = difflib.get_close_matches(found, list(allowed), n=1)
    return f", did you mean {near[0]}?" if near else ""


def _fields(model: type[BaseModel], path: list[Any]) -> list[str]:
    """The keys that the section at `path` may have."""
    section: Any = model
    for part in path:
        is_mapping = typing.get_origin(section) is dict
        section = typing.get_args(section)[1] if is_mapping else _inner(section.model_fields[part].annotation)
    return list(section.model_fields)


def _inner(annotation: Any) -> Any:
    """`X` out of `X | None`."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(option for option in typing.get_args(annotation) if option is not type(None))
    return annotation


def _show(value: Any) -> str:
    text = redact(repr(value))
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
