"""What a capture process reads frames from, whatever lies behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pipeline.capture.limits import is_encrypted

if TYPE_CHECKING:
    from pipeline.capture.decoder_log import DecoderNews
    from pipeline.capture.protocol import Order
    from pipeline.capture.ring import Picture


class FrameSource(Protocol):
    """Something that yields pictures: `grab` moves to the next one, `retrieve` turns it into BGR."""

    width: int
    height: int
    fps: float
    frame_count: int
    read_ahead: int
    """How many frames were read before it was open; they come at once, and are older than they seem."""

    def grab(self) -> bool:
        """Move to the next frame; False where there is none (now).

        Raises:
            SourceError: none will ever come, and the source knows why.
        """
        ...

    def position_ms(self) -> float:
        """The grabbed frame's stamp on the source's own clock, in milliseconds."""
        ...

    def is_intra(self) -> bool:
        """Whether the grabbed frame was coded without reference to others, so that their damage is none of its own."""
        ...

    def retrieve(self) -> Picture:
        """The grabbed frame, uint8 `[height, width, 3]` BGR; valid until the next call."""
        ...

    def news(self) -> DecoderNews:
        """What the decoder complained about since the last call; asked after a `grab`, it is about that very frame.

        Raises:
            UnsupportedSourceError: the pictures have become too large.
        """
        ...

    def release(self) -> None:
        """Let go of the source."""
        ...


def open_source(order: Order) -> FrameSource:
    """Open what the order names.

    Raises:
        SourceError: it does not open; the message may be general, `pipeline.capture.probe` knows more. A kind of it,
            such as AuthenticationError, says what is known for sure.
    """
    if order.kind == "scene":
        from pipeline.capture.scene_source import SceneSource  # noqa: PLC0415 - each process needs one kind of source

        return SceneSource(order.address)
    if is_encrypted(order):
        from pipeline.capture.handshake import check_certificate  # noqa: PLC0415

        check_certificate(order)
    if order.capture == "pyav":
        from pipeline.capture.pyav_source import PyAvSource  # noqa: PLC0415

        return PyAvSource(order)
    from pipeline.capture.opencv_source import OpenCvSource  # noqa: PLC0415

    return OpenCvSource(order)
