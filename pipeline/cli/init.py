"""`vidpipe init`: a commented configuration to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("vidpipe.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented starter configuration, and its JSON Schema for editors beside it.

    Example: vidpipe init vidpipe.yaml
    """
    from engines.errors import ConfigError
    from pipeline.config.load import STARTER
    from pipeline.schemas import read_schema

    if str(path) == "-":
        raise ConfigError("- is no file name here: vidpipe init vidpipe.yaml")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: name a file, such as {path / 'vidpipe.yaml'}")
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already: choose another name, or --force to overwrite it")
    schema = path.with_suffix(".schema.json")
    try:
        schema.write_text(read_schema("config"), encoding="utf-8")
        hint = f"# yaml-language-server: $schema={schema.name}\n"
        path.write_text(hint + STARTER.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {path} and {schema}; next: vidpipe check --config {path}")
