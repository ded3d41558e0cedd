"""The experiments are scripts that import each other by their plain names."""

from __future__ import annotations

import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).parents[2] / "tools" / "experiments"
sys.path.append(str(EXPERIMENTS))
