"""Logging of the command line: to stderr, as plain lines or JSON, with every secret blanked out."""

from __future__ import annotations

import logging
import os
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from pipeline.operations.json_log import JsonFormatter
from pipeline.operations.rate_limit import RateLimit
from pipeline.redaction import NO_SECRETS, RedactingFilter, Secrets

if TYPE_CHECKING:
    from pipeline.config.schema import Log

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_NARRATION = "pipeline.operations.narration"


def log_to_stderr(settings: Log | None = None, secrets: Secrets = NO_SECRETS, *, narrate: bool = True) -> None:
    """Send what `settings` says, or `$VIDPIPE_LOG_LEVEL` where it is set, to stderr.

    Without `narrate`, plain lines leave out what happens to cameras: a screen shows it already. What ends a thread or
    the process unexpectedly is logged as well, since a traceback may hold an address.
    """
    configured = settings.level.upper() if settings else "WARNING"
    level = os.environ.get("VIDPIPE_LOG_LEVEL", configured).upper()
    as_json = settings is not None and settings.format == "json"
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter("vidpipe: %(message)s"))
    handler.addFilter(RateLimit())
    handler.addFilter(RedactingFilter(secrets))
    logging.basicConfig(level=level if level in _LEVELS else configured, handlers=[handler], force=True)
    logging.captureWarnings(as_json)
    logging.getLogger(_NARRATION).setLevel(logging.NOTSET if narrate or as_json else logging.CRITICAL)
    sys.excepthook = _log_crash
    threading.excepthook = _log_thread_crash


def tell(text: str) -> None:
    """One line on stderr about what went wrong, in the format of the log."""
    handlers = logging.getLogger().handlers
    if handlers and isinstance(handlers[0].formatter, JsonFormatter):
        logging.getLogger("vidpipe").error("%s", text)
    else:
        sys.stderr.write(f"vidpipe: {text}\n")


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("vidpipe").critical("a fault in vidpipe ended it", exc_info=(kind, error, trace))


def _log_thread_crash(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_value is not None and crash.exc_type is not SystemExit:
        told = (crash.exc_type, crash.exc_value, crash.exc_traceback)
        name = crash.thread.name if crash.thread else "gone"
        logging.getLogger("vidpipe").critical("a fault in vidpipe ended its thread %s", name, exc_info=told)
