"""Why a source gave no picture: the probe's finding as the end of a capture."""

from __future__ import annotations

from engines.errors import AuthenticationError, SourceError
from pipeline.capture.probe import probe
from pipeline.capture.protocol import Ended


def diagnose(kind: str, address: str, detail: str) -> Ended:
    """Probe the source once more by hand and say what is wrong; `detail` is what the decoder said."""
    if kind == "scene":
        return Ended("failed", detail)
    hopeless = kind == "file"
    try:
        probe(address)
    except AuthenticationError as error:
        return Ended("refused", str(error))
    except SourceError as error:
        return Ended("failed" if hopeless else "lost", str(error))
    return Ended("failed" if hopeless else "lost", f"it answers, but {detail}")
