"""Options that several commands have, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_CONFIG = "Configuration file; else $VIDPIPE_CONFIG, vidpipe.yaml, configs/vidpipe.yaml, or the built-in one."

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help=_CONFIG)]
AddressOption = Annotated[
    str | None, typer.Option(help="The publisher's address; else the key file's or the configuration's publish.bind.")
]
KeysOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The key file that vidpipe keys new wrote for this client.")
]
