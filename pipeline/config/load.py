"""Finding and reading a configuration file."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from engines.errors import ConfigError
from engines.safe_yaml import read_yaml
from pipeline.config.environment import Expansion
from pipeline.config.explain import explain
from pipeline.config.schema import Camera, Config
from pipeline.redaction import redact

STARTER = Path(__file__).parent / "starter.yaml"
_CANDIDATES = ("vidpipe.yaml", "configs/vidpipe.yaml")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML that takes a key twice as an error: the standard keeps the last, though the two were meant to differ."""


def _mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key must be text", problem_mark=key_node.start_mark)
        if key_node.value in seen:
            raise yaml.MarkedYAMLError(
                problem=f"the key {key_node.value} comes twice", problem_mark=key_node.start_mark
            )
        seen.add(key_node.value)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def find_config(path: str | Path | None = None) -> Path:
    """The file to read: `path`, else `$VIDPIPE_CONFIG`, `vidpipe.yaml` here or in `configs`, or the built-in one.

    Raises:
        ConfigError: a file that was named does not exist.
    """
    named = path or os.environ.get("VIDPIPE_CONFIG")
    if named:
        if Path(named).is_dir():
            raise ConfigError(f"the configuration {named} is a folder: name the file in it")
        if not Path(named).is_file():
            raise ConfigError(f"the configuration {named} does not exist: vidpipe init {named} writes a first one")
        return Path(named)
    return next((Path(name) for name in _CANDIDATES if Path(name).is_file()), STARTER)


def load_config(
    path: str | Path | None = None, environment: Mapping[str, str] | None = None, *, opens_cameras: bool = True
) -> Config:
    """Read and check a configuration file; see `find_config` for where it is looked for.

    With `opens_cameras` false, variables of cameras need not be set: who asks a running vidpipe, or makes keys for it,
    has no business with the cameras' passwords.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or says something that is not allowed; all errors at once.
    """
    file = find_config(path)
    optional = "" if opens_cameras else "cameras"
    expansion = Expansion(os.environ if environment is None else environment, optional=optional)
    # a section whose lines are all commented out is a section left to its defaults
    values = {
        key: value for key, value in expansion.expand(_read(file)).items() if value is not None or key == "cameras"
    }
    problems = expansion.problems
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        problems = problems + explain(error, Config)
    else:
        config = config.knowing(expansion.secrets)
    if problems:
        text = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(f"{file} is not valid:\n{redact(text, expansion.secrets)}")
    return config


def _read(file: Path) -> Any:
    try:
        values = read_yaml(file.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except OSError as error:
        raise ConfigError(f"the configuration {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the configuration {file} is no text file") from error
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"the configuration {file} is no valid YAML{line}: {redact(str(error.problem))}") from None
    except yaml.YAMLError as error:
        raise ConfigError(
            f"the configuration {file} is no valid YAML: {redact(' '.join(str(error).split()))}"
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(f"the configuration {file} holds no settings: vidpipe init writes a first one to start from")
    return values


def select_cameras(config: Config, names: Sequence[str]) -> dict[str, Camera]:
    """The cameras called for by name, or all that are enabled.

    Raises:
        ConfigError: a name is not in the configuration, or nothing is enabled.
    """
    for name in names:
        if "://" in name:
            raise ConfigError(f"{redact(name)} is an address: cameras are named in the configuration (vidpipe init)")
        if name not in config.cameras:
            near = difflib.get_close_matches(name, config.cameras, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise ConfigError(f"there is no camera {name}{hint}; the configuration has {', '.join(config.cameras)}")
    if names:
        return {name: config.cameras[name] for name in dict.fromkeys(names)}
    enabled = {name: camera for name, camera in config.cameras.items() if camera.enabled}
    if not enabled:
        raise ConfigError("every camera in the configuration has enabled: false; name one to run it all the same")
    return enabled
