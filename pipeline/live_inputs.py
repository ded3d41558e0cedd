"""The further inputs of the cameras that run: their sockets stay as they are until the configuration has others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from engines.errors import StreamError
from pipeline.inputs.packing import InputPacker
from pipeline.inputs.receiver import InputReceiver

if TYPE_CHECKING:
    from pipeline.inference.models import OpenModel
    from pipeline.inputs.receiver import InputPlan
    from pipeline.keys.server import ServerKeys

_log = logging.getLogger(__name__)


class LiveInputs:
    """`plans` is what is open."""

    def __init__(self, *, insecure: bool, keys: ServerKeys | None) -> None:
        self.plans: list[InputPlan] = []
        self._insecure, self._keys = insecure, keys
        self._receiver = self._opened([])

    def reopen(self, plans: list[InputPlan]) -> None:
        """Open these instead of those that are open, where they differ.

        Raises:
            StreamError: an address cannot be bound; what was open is open again then.
        """
        if plans == self.plans:
            return
        self._receiver.close()  # the same address may be bound again
        try:
            self._receiver = self._opened(plans)
        except StreamError:
            self.restore(self.plans)
            raise
        self.plans = plans

    def restore(self, plans: list[InputPlan]) -> None:
        """Go back to what was open a moment ago; to none where somebody has taken an address, or a key is gone."""
        self._receiver.close()
        try:
            self._receiver, self.plans = self._opened(plans), plans
        except StreamError as error:
            _log.error("cameras run without their further inputs until the next reload: %s", error)
            self._receiver, self.plans = self._opened([]), []

    def packer(self, model: OpenModel) -> InputPacker | None:
        """What brings a model its inputs, as they are open now; None for one that has none."""
        further = model.bundle.manifest.further
        return InputPacker(further, self._receiver) if further else None

    def close(self) -> None:
        """Close all sockets."""
        self._receiver.close()

    def _opened(self, plans: list[InputPlan]) -> InputReceiver:
        return InputReceiver(plans, insecure=self._insecure, keys=self._keys)
