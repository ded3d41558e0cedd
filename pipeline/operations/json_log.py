"""Log records as JSON, one object a line, for programs that collect logs."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

import msgspec

FIELDS = ("stream", "state", "reason", "epoch", "seq")


class JsonFormatter(logging.Formatter):
    """`time` (RFC 3339, UTC), `level`, `logger`, `message`; `stream`, `state`, `reason`, `epoch`, `seq` where given.

    A traceback comes as `traceback`, a text with line ends in it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line without an end."""
        entry = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name in FIELDS if (value := getattr(record, name, None)) not in (None, "")},
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            entry["traceback"] = record.exc_text
        return msgspec.json.encode(entry, enc_hook=str).decode()


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
