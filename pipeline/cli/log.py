"""Logging of the command line: to stderr, plain, with every secret blanked out."""

from __future__ import annotations

import logging
import os

from pipeline.redaction import RedactingFilter


def log_to_stderr() -> None:
    """Send warnings (or what $VIDPIPE_LOG_LEVEL says) to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("vidpipe: %(message)s"))
    handler.addFilter(RedactingFilter())
    level = os.environ.get("VIDPIPE_LOG_LEVEL", "WARNING").upper()
    known = level if level in ("DEBUG", "INFO", "WARNING", "ERROR") else "WARNING"
    logging.basicConfig(level=known, handlers=[handler], force=True)
