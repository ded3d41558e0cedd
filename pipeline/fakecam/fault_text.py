"""Faults as a user types them: `stall 5`, `camera1 corrupt 30%`, `freeze noisy noise=4 @30s+20s`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from engines.errors import ConfigError
from pipeline.fakecam.fault_values import NUMBER, complaint, explanation, plain, seconds

K = TypeVar("K")

GRAMMAR = "[CAMERA] FAULT [VALUE] [NAME=VALUE ...] [SECONDS] [@START[+SECONDS]]"

_WHEN = re.compile(r"(.*?)\s*@(\d+(?:\.\d+)?(?:s|ms)?)(?:\+(\d+(?:\.\d+)?(?:s|ms)?))?", re.DOTALL)
_SIZE = re.compile(r"(\d+)[xX](\d+)")


@dataclass(frozen=True)
class Order(Generic[K]):
    """A fault, where and when."""

    fault: K
    camera: str | None = None  # None for all
    after_s: float = 0.0
    for_s: float | None = None  # None until cleared
    scope: str | None = None  # the value of `reach=` or `direction=`


def parse_order(
    text: str, kinds: Mapping[str, type[K]], cameras: Collection[str] = (), *, scope: tuple[str, Collection[str]]
) -> Order[K]:
    """Read one fault.

    Args:
        text: in the form of `GRAMMAR`.
        kinds: fault types by name.
        cameras: what may stand in front.
        scope: an option that every fault takes, and its values: `("reach", ("all", "present", "new"))`.

    Raises:
        ConfigError: the text names no fault, or its values are wrong.
    """
    what, after_s, for_s = _when(text)
    words = what.split()
    camera = words.pop(0) if words and words[0] in cameras else None
    kind = _kind(words, kinds, text, cameras)
    named = _named(words, kind, scope[0])
    wanted = named.pop(scope[0], None)
    if wanted is not None and wanted not in scope[1]:
        raise ConfigError(f"{scope[0]}={wanted} in {text!r} should be one of {', '.join(scope[1])}")
    values, rest = _values([word for word in words[1:] if "=" not in word], kind, named)
    lasts_s = seconds(rest[0]) if rest else None
    if rest and (len(rest) > 1 or for_s is not None or lasts_s is None or lasts_s < 0):
        raise ConfigError(f"{rest[-1]!r} in {text!r} is one word too many; write {usage(kind)} [SECONDS]")
    given = {name: plain(kind, name, word) for name, word in {**values, **named}.items()}
    try:
        fault = msgspec.convert({**_tag(kind), **given}, kind, strict=False)
    except msgspec.ValidationError as error:
        why = complaint(kind, error)
        raise ConfigError(f"{text!r} is not understood: {why}; write {usage(kind)} [SECONDS]") from error
    return Order(fault, camera, after_s, lasts_s if rest else for_s, wanted)


def usage(kind: type[Any]) -> str:
    """How a fault is typed, such as `corrupt RATE [seed=0] [flips=20]`."""
    named = [f"[{name}={value}]" for name, value in _defaults(kind).items() if name not in _positional(kind)]
    places = [f"[{shown}]" if name in _defaults(kind) else shown for name, shown in _places(kind).items()]
    shown = "WxH" if places == ["WIDTH", "HEIGHT"] else " ".join(places)
    return " ".join(part for part in (_name(kind), shown, *named) if part)


def meaning(kind: type[Any]) -> str:
    """What a fault does, in one line."""
    return (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")


def values(kind: type[Any]) -> str:
    """The units and bounds of a fault's values, and how long it lasts, in one line."""
    told = explanation(kind, {name: name.upper() for name in _positional(kind)})
    return "; ".join(part for part in (told, "SECONDS is how long it lasts, else until cleared") if part)


def _when(text: str) -> tuple[str, float, float | None]:
    match = _WHEN.fullmatch(text.strip())
    if match is None:
        return text, 0.0, None
    return match[1], seconds(match[2]) or 0.0, None if match[3] is None else seconds(match[3])


def _kind(words: list[str], kinds: Mapping[str, type[K]], text: str, cameras: Collection[str]) -> type[K]:
    name = words[0].lower() if words else ""
    if name not in kinds and cameras and len(words) > 1 and words[1].lower() in kinds:
        raise ConfigError(f"{text.strip()!r} names no camera that is here; there are {', '.join(cameras)}")
    if name not in kinds:
        raise ConfigError(f"{text.strip()!r} names no fault; write {GRAMMAR} with one of {', '.join(kinds)}")
    return kinds[name]


def _named(words: list[str], kind: type[Any], scope: str) -> dict[str, str]:
    named = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    for name in named:
        if name not in (*kind.__struct_fields__, scope):
            raise ConfigError(f"{_name(kind)} has no value {name!r}; write {usage(kind)}")
    return named


def _values(words: list[str], kind: type[Any], named: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """The values that stand without a name, and the words that are left: a number that a word's place skips."""
    if words and (size := _SIZE.fullmatch(words[0])):
        words = [size[1], size[2], *words[1:]]
    found: dict[str, str] = {}
    for name in _positional(kind):
        wants_word = isinstance(_defaults(kind).get(name), str)
        if words and name not in named and not (wants_word and NUMBER.fullmatch(words[0])):
            found[name] = words.pop(0)
    return found, words


def _positional(kind: type[Any]) -> tuple[str, ...]:
    """The fields that stand without a name: those that must be given, or else the first."""
    fields = tuple(kind.__struct_fields__)
    required = tuple(name for name in fields if name not in _defaults(kind))
    return required or tuple(name for name in fields[:1] if name != "seed")


def _places(kind: type[Any]) -> dict[str, str]:
    """What stands for each value without a name: its name, or the words to choose from."""
    types = get_type_hints(kind)
    choices = {name: [word for word in _words(types[name]) if word] for name in _positional(kind)}
    return {name: "|".join(words[:4] + ["..."] * (len(words) > 4)) or name.upper() for name, words in choices.items()}


def _words(kind: Any) -> list[str]:
    """The words of a Literal, or of a choice of them; none for other types."""
    if get_origin(kind) is Literal:
        return [str(word) for word in get_args(kind)]
    return [word for part in get_args(kind) for word in _words(part)]


def _defaults(kind: type[Any]) -> dict[str, object]:
    values = kind.__struct_defaults__
    return dict(zip(kind.__struct_fields__[len(kind.__struct_fields__) - len(values) :], values, strict=True))


def _tag(kind: type[Any]) -> dict[str, str]:
    return {kind.__struct_config__.tag_field: kind.__struct_config__.tag}


def _name(kind: type[Any]) -> str:
    return str(kind.__struct_config__.tag)
