"""YAML whose every fault is a `yaml.YAMLError`: PyYAML has others for dates, numbers and depths that cannot be."""

from __future__ import annotations

from typing import Any

import yaml

_Loader = type[yaml.SafeLoader]


def read_yaml(text: str, loader: _Loader = yaml.SafeLoader) -> Any:
    """The value of a document; `loader` is a kind of safe loader.

    Raises:
        yaml.YAMLError: the text is no YAML, or holds a value that none can be made of, such as 2026-13-45.
    """
    try:
        return yaml.load(text, loader)  # noqa: S506 - a SafeLoader
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except (ValueError, TypeError, AttributeError, OverflowError, KeyError) as error:
        raise yaml.YAMLError(f"it holds a value that cannot be read ({error})") from error
