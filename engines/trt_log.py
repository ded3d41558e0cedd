"""TensorRT's own log: its errors are kept for the sentence that we raise, its warnings go to ours."""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger("vidpipe.tensorrt")
_CONSEQUENCES = ("CUDA driver version is insufficient", "CUDA initialization failure")  # follow the real reason


def new_logger(trt: Any) -> Any:
    """An instance of `trt.ILogger` with `first_error(default)`, which says in one line what went wrong first."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            line = " ".join(message.split())
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(line)
                _log.debug("%s", line)
            elif severity == trt.ILogger.WARNING:
                _log.debug("warning: %s", line)

        def first_error(self, default: str) -> str:
            causes = [line for line in self.errors if not any(noise in line for noise in _CONSEQUENCES)]
            return (causes or self.errors or [default])[0]

    return Log()
