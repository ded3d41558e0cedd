"""Recipe files: YAML read and checked against a structure, with one clear sentence for what is wrong."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal, TypeVar, get_args, get_origin

import msgspec
import yaml

from engines.errors import ConfigError
from engines.safe_yaml import read_yaml

Kind = TypeVar("Kind", bound=msgspec.Struct)
Content = dict[object, object]


def read_recipe(path: Path) -> Content:
    """The mapping in a recipe file.

    Raises:
        ConfigError: the file is missing, unreadable, no YAML, or holds no mapping.
    """
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no recipe {path}: give the path of a YAML file, such as configs/scene.yaml"
        ) from error
    except OSError as error:
        raise ConfigError(f"the recipe {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the recipe {path} is not a text file in UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"the recipe {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"the recipe {path} holds no settings: it must be a YAML mapping, as configs/scene.yaml is")
    return content


def convert_recipe(content: Content, kind: type[Kind], path: Path) -> Kind:
    """The mapping as a structure of that kind; `path` is what errors call it.

    Raises:
        ConfigError: a key or a word is unknown (with the one that was probably meant), or a value is not allowed.
    """
    _check_keys(content, kind, path, "")
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the recipe {path} is wrong: {error}") from error


def _check_keys(content: Content, kind: type[msgspec.Struct], path: Path, where: str) -> None:
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in content.items():
        if key not in types:
            close = difflib.get_close_matches(str(key), types, n=1)
            hint = f"did you mean {close[0]}?" if close else f"allowed are {', '.join(types)}"
            raise ConfigError(f"the recipe {path} has an unknown key {where}{key}; {hint}")
        words = get_args(types[str(key)]) if get_origin(types[str(key)]) is Literal else ()
        if words and value not in words:
            close = difflib.get_close_matches(str(value), words, n=1)
            hint = f"did you mean {close[0]}?" if close else f"allowed are {', '.join(words)}"
            raise ConfigError(f"the recipe {path} has {where}{key}: {value}, which is not known; {hint}")
        inner = _structure(types[str(key)])
        if isinstance(value, dict) and inner is not None:
            _check_keys(value, inner, path, f"{where}{key}.")


def _structure(kind: object) -> type[msgspec.Struct] | None:
    """The structure that a field holds, also one that may be null."""
    for each in (kind, *getattr(kind, "__args__", ())):
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            return each
    return None
