"""vidpipe: real-time video analytics with memory. The public face; what is not here is not promised."""

from engines.bundle import Bundle, load_bundle
from engines.errors import (
    BackendError,
    ConfigError,
    MissingExtraError,
    ModelError,
    SourceError,
    StreamError,
    TrainingError,
    VidpipeError,
)
from pipeline.config.load import load_config
from pipeline.config.schema import Config
from pipeline.inputs.sender import InputSender
from pipeline.stream.continuity import Gap
from pipeline.stream.messages import Event, Message, Prediction, Status
from pipeline.stream.subscriber import Subscriber

__all__ = [
    "BackendError",
    "Bundle",
    "Config",
    "ConfigError",
    "Event",
    "Gap",
    "InputSender",
    "Message",
    "MissingExtraError",
    "ModelError",
    "Prediction",
    "SourceError",
    "Status",
    "StreamError",
    "Subscriber",
    "TrainingError",
    "VidpipeError",
    "load_bundle",
    "load_config",
]
