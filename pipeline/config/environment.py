"""`${NAME}` and `${NAME:-default}` in a configuration's values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def expand(value: Any, environment: Mapping[str, str], problems: list[str], path: str = "") -> Any:
    """`value` with every variable in its texts replaced; unset ones are added to `problems` with their path."""
    if isinstance(value, dict):
        return {k: expand(v, environment, problems, f"{path}.{k}" if path else str(k)) for k, v in value.items()}
    if isinstance(value, list):
        return [expand(v, environment, problems, f"{path}.{i}") for i, v in enumerate(value)]
    return _expand_text(value, environment, problems, path) if isinstance(value, str) else value


def _expand_text(text: str, environment: Mapping[str, str], problems: list[str], path: str) -> str:
    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        if name not in environment and default is None:
            problems.append(f"{path}: the environment variable {name} is not set: export {name}=...")
        return environment.get(name, default or "")

    return _VARIABLE.sub(replace, text)
