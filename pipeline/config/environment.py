"""`${NAME}` and `${NAME:-default}` in a configuration's values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pipeline.redaction import Secrets

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_UNSET = "unset"


class Expansion:
    """Replaces variables, and remembers what was missing and which values came in."""

    def __init__(self, environment: Mapping[str, str], *, optional: str = "") -> None:
        """Of what lies below the path `optional` nothing need be set."""
        self._environment = environment
        self._optional = f"{optional}." if optional else ""
        self._values: set[str] = set()
        self.problems: list[str] = []

    @property
    def secrets(self) -> Secrets:
        """The values that came from the environment: they are shown nowhere."""
        return Secrets(tuple(self._values))

    def expand(self, value: Any, path: str = "") -> Any:
        """`value` with every variable in its texts replaced; unset ones go to `problems` with their path."""
        if isinstance(value, dict):
            return {k: self.expand(v, f"{path}.{k}" if path else str(k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self.expand(v, f"{path}.{i}") for i, v in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) else value

    def _text(self, text: str, path: str) -> str:
        start, end = _userinfo(text)

        def replace(match: re.Match[str]) -> str:
            name, default = match.groups()
            if name not in self._environment and default is None:
                if self._optional and path.startswith(self._optional):
                    return _UNSET
                self.problems.append(f"{path}: the environment variable {name} is not set: export {name}=...")
            value = self._environment.get(name, default or "")
            self._values.update({value} if name in self._environment else ())
            # a password may hold what means something in a URL
            return quote(value, safe="") if start <= match.start() < end else value

        return _VARIABLE.sub(replace, text)


def _userinfo(text: str) -> tuple[int, int]:
    """Where `user:password` stands in a URL with variables in it: before the last @ of what ends at the first slash."""
    plain = _VARIABLE.sub(lambda match: "x" * len(match[0]), text)
    scheme = plain.find("://")
    if scheme < 0:
        return (0, 0)
    start = scheme + 3
    end = plain.rfind("@", start, start + len(re.split("[/?#]", plain[start:], maxsplit=1)[0]))
    return (start, end) if end > 0 else (0, 0)
