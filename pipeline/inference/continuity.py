"""The continuity policy: what interrupts a camera's stream, and what that does to its memory."""

from __future__ import annotations

from enum import Enum

from pipeline.capture.ring import FrameFlag
from pipeline.config.schema import Action, Continuity


class Cause(str, Enum):
    """What can interrupt a session; each is a field of the configuration's `continuity` but start and non_finite."""

    START = "start"
    GAP = "gap"
    RECONNECT = "reconnect"
    SEEK = "seek"
    RESOLUTION_CHANGE = "resolution_change"
    FROZEN = "frozen"
    SCENE_CUT = "scene_cut"
    MODEL_CHANGE = "model_change"
    OPERATOR = "operator"
    NON_FINITE = "non_finite"


_STRENGTH: tuple[Action, ...] = ("keep", "hold", "reset")


def interruptions(flags: FrameFlag, gap_s: float, max_gap_s: float, *, froze: bool = False) -> list[Cause]:
    """What happened between two frames `gap_s` of media time apart, by the flags that capture set on the second.

    `froze`: with the second the picture was found to be frozen. Where frames of a frozen picture were kept back, the
    pause that this made is no gap beside it.
    """
    held = FrameFlag.HELD in flags
    found = (
        (Cause.RESOLUTION_CHANGE, FrameFlag.RESIZED in flags),
        (Cause.SEEK, FrameFlag.JUMPED in flags),
        (Cause.SCENE_CUT, FrameFlag.CUT in flags),
        (Cause.FROZEN, froze or held),
        (Cause.GAP, gap_s > max_gap_s and not held),
        (Cause.RECONNECT, FrameFlag.CONNECTED in flags),
    )
    return [cause for cause, happened in found if happened]


def judge(causes: list[Cause], policy: Continuity) -> tuple[Action, Cause | None]:
    """The strongest action that the causes call for, and the first cause that calls for it: reset, hold, then keep."""
    action: Action = "keep"
    chosen: Cause | None = None
    for cause in causes:
        wanted = policy.action(cause.value)
        if _STRENGTH.index(wanted) > _STRENGTH.index(action):
            action, chosen = wanted, cause
    return action, chosen
