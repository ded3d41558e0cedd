"""Logging of the command line: to stderr, as plain lines or JSON, with every secret blanked out."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from enum import Enum
from types import TracebackType

from pipeline.cli.writer import Lines
from pipeline.operations.json_log import JsonFormatter
from pipeline.operations.rate_limit import RateLimit
from pipeline.redaction import NO_SECRETS, RedactingFilter, Secrets

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_NARRATION = "pipeline.operations.narration"
_RELOADS = "pipeline.reload"


class LogFormat(str, Enum):
    """How lines of the log look."""

    TEXT = "text"
    JSON = "json"


class StderrHandler(logging.Handler):
    """Writes to what is stderr now; a stream that is closed loses lines, and no more."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()


class LineHandler(logging.Handler):
    """Gives records to a writer, so that nobody waits for a log that is not read, as a stopped terminal's is not."""

    def __init__(self, writer: Lines) -> None:
        super().__init__()
        self._writer = writer
        self._told = writer.lost

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record over."""
        self.say(self.format(record))

    def say(self, line: str) -> None:
        """Hand a line over; where lines were lost before it, it says so."""
        lost = self._writer.lost
        with suppress(SystemExit):  # to lose the reader of the log is no reason to stop
            if lost > self._told:
                self._writer.write(f"vidpipe: {lost - self._told} lines of the log were lost: nobody read them")
                if self._writer.lost > lost:
                    return  # there is no room yet, and this line is the next that is lost
                self._told = lost
            self._writer.write(line)


def log_to_stderr(
    level: str = "warning",
    secrets: Secrets = NO_SECRETS,
    *,
    as_json: bool = False,
    narrate: bool = True,
    writer: Lines | None = None,
) -> None:
    """Send what is of this level, or of `$VIDPIPE_LOG_LEVEL` where that is set, to stderr, or to a writer to it.

    Without `narrate`, plain lines leave out what happens to cameras: a screen shows it already. What ends a thread or
    the process unexpectedly is logged as well, since a traceback may hold an address.
    """
    asked = os.environ.get("VIDPIPE_LOG_LEVEL", "").upper()
    handler = LineHandler(writer) if writer is not None else StderrHandler()
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter("vidpipe: %(message)s"))
    handler.addFilter(RateLimit())
    handler.addFilter(RedactingFilter(secrets))
    chosen = asked if asked in _LEVELS else level.upper()
    logging.basicConfig(level=chosen, handlers=[handler], force=True)
    # a camera that connects anew out of the blue has its reason here
    logging.getLogger(_RELOADS).setLevel(logging.INFO if chosen == "WARNING" else logging.NOTSET)
    logging.captureWarnings(as_json or writer is not None)  # they would wait for a stderr that nobody reads
    logging.getLogger(_NARRATION).setLevel(logging.NOTSET if narrate or as_json else logging.CRITICAL)
    sys.excepthook = _log_crash
    threading.excepthook = _log_thread_crash
    sys.unraisablehook = _log_unraisable


def tell(text: str) -> None:
    """One line on stderr about what went wrong, in the format of the log."""
    handlers = logging.getLogger().handlers
    if handlers and isinstance(handlers[0].formatter, JsonFormatter):
        logging.getLogger("vidpipe").error("%s", text)
    elif handlers and isinstance(handlers[0], LineHandler):
        handlers[0].say(f"vidpipe: {text}")
    else:
        sys.stderr.write(f"vidpipe: {text}\n")


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("vidpipe").critical("a fault in vidpipe ended it", exc_info=(kind, error, trace))


def _log_unraisable(fault: sys.UnraisableHookArgs) -> None:
    if fault.exc_value is not None:
        told = (fault.exc_type, fault.exc_value, fault.exc_traceback)
        logging.getLogger("vidpipe").error("a fault in vidpipe while it tidied up", exc_info=told)


def _log_thread_crash(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_value is not None and crash.exc_type is not SystemExit:
        told = (crash.exc_type, crash.exc_value, crash.exc_traceback)
        name = crash.thread.name if crash.thread else "gone"
        logging.getLogger("vidpipe").critical("a fault in vidpipe ended its thread %s", name, exc_info=told)
