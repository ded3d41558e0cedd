"""People and luggage as drawn figures; furniture that looks like luggage goes through the same function."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engines.scene.canvas import Canvas, Point
from engines.scene.looks import Colour, ObjectLook, PersonLook, shade
from engines.scene.visits import Visit, depth_scale

STRIDE = 0.42
"""Distance of one double step as a share of the body height."""

BEND_S = 0.45
"""Half-width in time of the bow with which something is put down or taken."""


def draw_object(canvas: Canvas, look: ObjectLook, x: float, foot_y: float, scale: float) -> None:
    """A piece of luggage whose foot's middle is at `(x, foot_y)`, in picture heights."""
    height = look.height * scale
    width = height * look.aspect
    left, right, top = x - width / 2, x + width / 2, foot_y - height
    rim = 0.10 * height
    dark = shade(look.body, 0.35)
    if look.kind == "box":
        canvas.rectangle(left, top, right, foot_y, dark)
        canvas.rectangle(left + rim / 2, top + rim / 2, right - rim / 2, foot_y - rim / 2, look.body)
        canvas.rectangle(x - 0.08 * width, top + rim / 2, x + 0.08 * width, foot_y - rim / 2, look.trim)
        return
    lid = top + (0.18 if look.kind != "handbag" else 0.34) * height
    grip = 0.22 * width
    for outer, inner in ((x - grip, x - grip + rim * 0.6), (x + grip - rim * 0.6, x + grip)):
        canvas.rectangle(outer, top, inner, lid, dark)
    canvas.rectangle(x - grip, top, x + grip, top + 0.6 * rim, dark)
    taper = {"suitcase": 0.0, "backpack": 0.14, "handbag": 0.12}[look.kind] * width
    canvas.polygon([(left + taper, lid), (right - taper, lid), (right, foot_y), (left, foot_y)], dark)
    inset = 0.6 * rim
    canvas.polygon(
        [
            (left + taper + inset, lid + inset),
            (right - taper - inset, lid + inset),
            (right - inset, foot_y - inset),
            (left + inset, foot_y - inset),
        ],
        look.body,
    )
    if look.kind == "suitcase":
        for share in (0.33, 0.67):
            canvas.rectangle(
                left + share * width - 0.03 * width,
                lid + inset,
                left + share * width + 0.03 * width,
                foot_y - inset,
                look.trim,
            )
    elif look.kind == "backpack":
        canvas.rectangle(x - 0.28 * width, foot_y - 0.42 * height, x + 0.28 * width, foot_y - 0.12 * height, look.trim)
    else:
        canvas.rectangle(
            left + inset, lid + 0.3 * (foot_y - lid), right - inset, lid + 0.42 * (foot_y - lid), look.trim
        )


def draw_object_shadow(
    canvas: Canvas, look: ObjectLook, x: float, foot_y: float, *, scale: float, slant: float
) -> None:
    """The soft shadow of a piece of luggage."""
    width = look.height * look.aspect * scale
    canvas.shadow((x + 0.25 * slant * width, foot_y), 0.75 * width, 0.28 * width, 0.5)


def draw_person_shadow(canvas: Canvas, visit: Visit, time_s: float, slant: float) -> None:
    """The soft shadow at a person's feet."""
    x, y, _, _ = visit.path.at(time_s)
    height = visit.look.height * depth_scale(y)
    canvas.shadow((x * canvas.width + 0.12 * slant * height, y), 0.26 * height, 0.075 * height, 0.55)


@dataclass(frozen=True)
class _Pose:
    """Where a body's joints are, in picture heights."""

    look: PersonLook
    height: float
    hip: Point
    neck: Point
    swing: float
    bend: float
    lean: float


def draw_person(canvas: Canvas, visit: Visit, time_s: float) -> None:
    """A person on their way: legs and arms swing with the distance walked, luggage hangs in the near hand."""
    x, foot_y, walked, facing = visit.path.at(time_s)
    look, x = visit.look, x * canvas.width
    height = look.height * depth_scale(foot_y)
    phase = 2.0 * math.pi * walked * canvas.width / (STRIDE * height)
    swing = math.sin(phase) if facing else 0.0
    bend = max((math.exp(-(((time_s - at) / BEND_S) ** 2)) for at in visit.bends), default=0.0)
    middle = x + 0.006 * math.sin(1.7 * time_s + visit.person) * height
    lean = facing or (1.0 if visit.person % 2 else -1.0)
    hip = (middle, foot_y - height * (0.47 - 0.10 * bend))
    neck = (middle + lean * 0.22 * bend * height, foot_y - height * (0.82 - 0.28 * bend + 0.008 * abs(swing)))
    pose = _Pose(look, height, hip, neck, swing, bend, lean)
    _leg(canvas, pose, (x - swing * 0.13 * height, foot_y), shade(look.trousers, 0.75))
    far_hand = _arm(canvas, pose, swing, shade(look.top, 0.7))
    _leg(canvas, pose, (x + swing * 0.13 * height, foot_y), look.trousers)
    _torso(canvas, pose)
    _head(canvas, pose)
    hand = _arm(canvas, pose, -swing, shade(look.top, 0.85))
    held = visit.held(time_s)
    if held is not None:
        scale = depth_scale(foot_y)
        draw_object(canvas, held, hand[0], min(hand[1] + 0.93 * held.height * scale, foot_y), scale)
    canvas.ellipse(hand, 0.022 * height, 0.022 * height, look.skin)
    canvas.ellipse(far_hand, 0.018 * height, 0.018 * height, shade(look.skin, 0.8))


def _leg(canvas: Canvas, pose: _Pose, foot: Point, colour: Colour) -> None:
    hip, height = pose.hip, pose.height
    knee = (0.4 * hip[0] + 0.6 * foot[0], 0.5 * (hip[1] + foot[1]))
    canvas.limb(hip, knee, 0.085 * pose.look.build * height, colour)
    canvas.limb(knee, foot, 0.065 * pose.look.build * height, colour)
    canvas.ellipse((foot[0], foot[1] - 0.012 * height), 0.045 * height, 0.02 * height, pose.look.shoes)


def _arm(canvas: Canvas, pose: _Pose, swing: float, colour: Colour) -> Point:
    """Draw an arm and return where its hand is."""
    shoulder = (pose.neck[0], pose.neck[1] + 0.035 * pose.height)
    reach = (0.16 * swing + 0.10 * pose.bend * pose.lean) * pose.height
    hand = (shoulder[0] + reach, shoulder[1] + (0.34 + 0.04 * pose.bend) * pose.height)
    canvas.limb(shoulder, hand, 0.055 * pose.look.build * pose.height, colour)
    return hand


def _torso(canvas: Canvas, pose: _Pose) -> None:
    height, (x, y), body = pose.height, pose.neck, 0.115 * pose.look.build * pose.height
    hem = pose.hip[1] + (0.16 if pose.look.coat else 0.02) * height
    shoulders = [(x - body, y + 0.02 * height), (x, y - 0.01 * height), (x + body, y + 0.02 * height)]
    canvas.polygon([*shoulders, (pose.hip[0] + 0.85 * body, hem), (pose.hip[0] - 0.85 * body, hem)], pose.look.top)


def _head(canvas: Canvas, pose: _Pose) -> None:
    look, height, lean = pose.look, pose.height, pose.lean
    x, y = pose.neck[0] + 0.012 * lean * height, pose.neck[1] - 0.085 * height
    canvas.ellipse((x - 0.008 * lean * height, y - 0.012 * height), 0.062 * height, 0.075 * height, look.hair)
    canvas.ellipse((x + 0.012 * lean * height, y + 0.012 * height), 0.050 * height, 0.060 * height, look.skin)
    if look.hat:
        brim, crown = 0.08 * height, 0.05 * height
        canvas.rectangle(x - brim, y - 0.055 * height, x + brim, y - 0.035 * height, look.shoes)
        canvas.rectangle(x - crown, y - 0.1 * height, x + crown, y - 0.04 * height, look.shoes)
