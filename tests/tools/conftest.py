"""The tools are scripts that import each other by their plain names."""

from __future__ import annotations

import sys
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"
sys.path += [str(TOOLS), str(TOOLS / "experiments")]
