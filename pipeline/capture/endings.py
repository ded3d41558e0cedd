"""How a connection ended: what was seen of it, as a reason and a sentence; where nobody knows why, a probe asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.errors import AuthenticationError, SilentSourceError, SourceError, UnsupportedSourceError
from pipeline.capture.protocol import Ended, EndReason

if TYPE_CHECKING:
    from pipeline.capture.protocol import Order

_MISSING_FRAMES = 0.98
# these containers hold an index of their frames; for others OpenCV only guesses from duration and rate
_COUNTED = (".mp4", ".mov", ".m4v")


@dataclass(frozen=True)
class Endings:
    """The ends of one connection; `live` is whether it leads to a camera and not to a file."""

    order: Order
    live: bool

    def not_opened(self, error: SourceError) -> Ended:
        """The source could not be opened."""
        if type(error) is SourceError or not self.live:
            return self._explained(str(error))
        return _as_told(error)  # known for sure; asking again could lock the account

    def broken_off(self, error: SourceError, grabbed: int) -> Ended:
        """The source gave up after so many frames."""
        if not self.live:
            return Ended(EndReason.FAILED, str(error))
        if isinstance(error, AuthenticationError | UnsupportedSourceError):
            return _as_told(error)
        stalled = isinstance(error, SilentSourceError)
        if grabbed:
            return Ended(EndReason.STALL if stalled else EndReason.EOF, str(error))
        return Ended(EndReason.NO_PICTURE, str(error)) if stalled else self._explained(str(error), EndReason.NO_PICTURE)

    def stalled(self, grabbed: int) -> Ended:
        """No frame came for too long."""
        reason = EndReason.STALL if grabbed else EndReason.NO_PICTURE
        return Ended(reason, f"no frame for {self.order.read_timeout_ms / 1e3:.1f} s")

    def lost(self, grabbed: int, *, damaged: bool) -> Ended:
        """A camera gives nothing more, or nothing but damage."""
        if not grabbed:
            return self._explained("it opened but sent no picture", EndReason.NO_PICTURE)
        if damaged:
            return Ended(EndReason.DAMAGED, "what the camera sends has given no picture for a while")
        return Ended(EndReason.EOF, "the stream ended")

    def end_of_file(self, grabbed: int, expected: int, complaints: int) -> Ended:
        """A file gives nothing more, after so many of the frames that it should have."""
        if not grabbed:
            return self._explained("it holds no picture that can be decoded")
        if self.order.address.lower().endswith(_COUNTED) and grabbed < _MISSING_FRAMES * expected:
            return Ended(
                EndReason.FAILED, f"the file is cut off or damaged: {grabbed} of {expected} frames could be read"
            )
        damage = f", with {complaints} complaints of the decoder" if complaints else ""
        return Ended(EndReason.FINISHED, f"all {grabbed} frames were read{damage}")

    def _explained(self, detail: str, otherwise: EndReason = EndReason.ERROR) -> Ended:
        """Ask the source itself why it gave nothing; OpenCV only says no."""
        from pipeline.capture.diagnosis import diagnose  # noqa: PLC0415 - wanted after a failure only

        return diagnose(self.order, detail, otherwise)


def _as_told(error: SourceError) -> Ended:
    from pipeline.capture.diagnosis import reason_of  # noqa: PLC0415 - wanted after a failure only

    return Ended(reason_of(error), str(error))
