"""The one error tree: what a user can cause or mend ends in a message with the thing, the finding and the fix.

VidpipeError
├── ConfigError          a configuration or recipe file is missing, broken or contradicts itself
├── SourceError          a camera, file or stream cannot be read
│   ├── AuthenticationError     a camera refuses the user name or password: trying again soon may lock the account
│   ├── UnsupportedSourceError  a source answers, but it is no video that can be decoded here
│   ├── ProtocolError           a peer sends bytes that are no RTSP, HTTP, SDP or H.264
│   ├── UnreachableError        no way leads to a source, or nothing listens there
│   ├── SilentSourceError       a source does not answer in time
│   └── UnreadableVideoError    a video file of a dataset is missing, empty, cut off or no video
├── ModelError           a bundle or model file is missing, damaged or contradicts its manifest
│   └── BackendError     an inference engine cannot load or run a model
├── DataError            labelled data is missing, broken or contradicts itself
├── TrainingError        training data or a checkpoint cannot be used
├── StreamError          the prediction stream cannot be published or received
│   └── KeysError               a key or key file is missing, broken, or readable by others
└── MissingExtraError    an optional package is not installed
"""

from __future__ import annotations


class VidpipeError(Exception):
    """Root of all errors that vidpipe raises on purpose; `str(error)` is one sentence fit for a user."""


class ConfigError(VidpipeError):
    """A configuration or recipe file is missing, broken or contradicts itself."""


class SourceError(VidpipeError):
    """A camera, file or stream cannot be read."""


class AuthenticationError(SourceError):
    """A camera refuses the user name or password: trying again soon may lock the account."""


class UnsupportedSourceError(SourceError):
    """A source answers, but it is no video that can be decoded here."""


class ProtocolError(SourceError):
    """A peer sends bytes that are no RTSP, HTTP, SDP or H.264."""


class UnreachableError(SourceError):
    """No way leads to a source, or nothing listens there."""


class SilentSourceError(SourceError):
    """A source does not answer in time."""


class UnreadableVideoError(SourceError):
    """A video file of a dataset is missing, empty, cut off or no video."""


class ModelError(VidpipeError):
    """A bundle or model file is missing, damaged or contradicts its manifest."""


class BackendError(ModelError):
    """An inference engine cannot load or run a model."""


class DataError(VidpipeError):
    """Labelled data is missing, broken or contradicts itself."""


class TrainingError(VidpipeError):
    """Training data or a checkpoint cannot be used."""


class StreamError(VidpipeError):
    """The prediction stream cannot be published or received."""


class KeysError(StreamError):
    """A key or key file is missing, broken, or readable by others."""


class MissingExtraError(VidpipeError):
    """An optional package is not installed."""

    def __init__(self, what: str, package: str, extra: str = "", *, install: str = "") -> None:
        command = install or f"pip install 'vidpipe[{extra}]'"
        super().__init__(f"{what} needs the package {package}, which is not installed: {command}")
