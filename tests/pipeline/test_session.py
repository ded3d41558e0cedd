"""Sessions: what interruptions do to memory, what a clip reports, how long a model is cold."""

import numpy as np
import pytest
from msgspec.structs import replace

from engines.further import FurtherInput
from engines.manifest import ClipRule, EventRule, FrameInput, Manifest
from pipeline.capture.ring import FrameFlag, FrameHeader
from pipeline.config.schema import Continuity
from pipeline.inference.continuity import Cause, interruptions, judge
from pipeline.inference.session import CameraMemory
from pipeline.stream.messages import Event, ModelInfo, Prediction

MANIFEST = Manifest(
    schema="vidpipe.bundle/1",
    name="m",
    version="1",
    family="f",
    labels=("idle", "fall"),
    input=FrameInput(8, 8, 5.0),
    features=(4,),
    state=(),
    files={},
    clip=ClipRule(),
    events={"fall": EventRule()},
    warm_up_s=3.0,
)
CALM = np.array([0.9, 0.1], np.float32)
FALL = np.array([0.1, 0.9], np.float32)


def memory(**policy) -> CameraMemory:
    model = ModelInfo("m", "1", "sha", "openvino", "f32")
    return CameraMemory("camera0", MANIFEST, model, 5.0, Continuity(**policy))


def header(media_s: float, flags: FrameFlag = FrameFlag(0), dropped: int = 0) -> FrameHeader:
    return FrameHeader(0, round(media_s * 1e9), 1_000, 0, 0, dropped, flags)


def feed(camera: CameraMemory, media_s: float, scores=CALM, flags=FrameFlag(0), dropped=0, finite=True):
    head = header(media_s, flags, dropped)
    step, ended = camera.advance(head)
    return step, ended + list(camera.observe(head, step, scores, finite=finite))


def run(camera: CameraMemory, start_s: float, seconds: float, scores=CALM) -> list:
    return [m for i in range(int(seconds * 5)) for m in feed(camera, start_s + i / 5, scores)[1]]


def test_the_first_frame_starts_afresh_and_the_next_ones_carry_on():
    camera = memory()
    first, _ = feed(camera, 7.0, flags=FrameFlag.CONNECTED)
    second, _ = feed(camera, 7.4)
    assert (first.keep, first.dt_s) == (False, pytest.approx(0.2))
    assert (second.keep, second.dt_s) == (True, pytest.approx(0.4))


def test_a_clip_tells_its_span_its_state_and_what_was_lost():
    camera = memory()
    messages = [m for i in range(10) for m in feed(camera, 100.0 + i / 5, dropped=1 if i in (3, 4) else 0)[1]]
    (clip,) = messages
    assert isinstance(clip, Prediction)
    assert (clip.clip.start, clip.clip.end, clip.clip.frames, clip.clip.dropped) == (100.0, 102.0, 10, 2)
    assert (clip.label, clip.scores) == ("idle", {"idle": 0.9, "fall": 0.1})
    assert (clip.state.age_steps, clip.state.age_s, clip.state.reset_reason) == (10, 1.8, "start")
    assert clip.media_time == 101.8


def test_a_cold_model_is_marked_until_its_warm_up_has_passed():
    warm = [m.state.warm for m in run(memory(), 0.0, 5.0)]
    assert warm == [False, True, True, True]


@pytest.mark.parametrize(
    ("gap_s", "flags", "policy", "kept", "reason"),
    [
        (1.9, FrameFlag(0), {}, True, "start"),
        (2.5, FrameFlag(0), {}, False, "gap"),
        (2.5, FrameFlag(0), {"gap": "keep"}, True, "start"),
        (2.5, FrameFlag(0), {"max_gap_s": 3.0}, True, "start"),
        (1.0, FrameFlag.CONNECTED, {}, True, "start"),
        (1.0, FrameFlag.CONNECTED, {"reconnect": "reset"}, False, "reconnect"),
        (9.0, FrameFlag.CONNECTED, {}, False, "gap"),
        (0.2, FrameFlag.JUMPED, {}, False, "seek"),
        (0.2, FrameFlag.JUMPED, {"seek": "keep"}, True, "start"),
        (0.2, FrameFlag.RESIZED, {}, False, "resolution_change"),
        (0.2, FrameFlag.RESIZED, {"resolution_change": "keep"}, True, "start"),
        (0.2, FrameFlag.DAMAGED, {}, True, "start"),
    ],
)
def test_each_interruption_does_what_the_policy_says(gap_s, flags, policy, kept, reason):
    camera = memory(**policy)
    run(camera, 0.0, 3.0)
    before = camera.session
    step, _ = feed(camera, 2.8 + gap_s, flags=flags)
    assert step.keep is kept
    assert step.dt_s == pytest.approx(gap_s if kept else 0.2)
    assert (camera.session == before) is kept
    assert camera.resets == (0 if kept else 1)
    clips = [m for m in run(camera, 3.0 + gap_s, 4.0) if isinstance(m, Prediction)]
    assert clips[-1].state.reset_reason == reason


SIGNS = {
    Cause.GAP: FrameFlag(0),
    Cause.RECONNECT: FrameFlag.CONNECTED,
    Cause.SEEK: FrameFlag.JUMPED,
    Cause.RESOLUTION_CHANGE: FrameFlag.RESIZED,
    Cause.FROZEN: FrameFlag.FROZEN,
    Cause.SCENE_CUT: FrameFlag.CUT,
    Cause.OPERATOR: FrameFlag(0),
}


@pytest.mark.parametrize("action", ["keep", "reset", "hold"])
@pytest.mark.parametrize("cause", SIGNS)
def test_each_cause_with_each_action(cause, action):
    camera = memory(**{each.value: "keep" for each in SIGNS} | {cause.value: action})
    run(camera, 0.0, 3.0, FALL)
    before, flags, gap_s = camera.session, SIGNS[cause], 10.0 if cause is Cause.GAP else 0.2
    if cause is Cause.FROZEN and action == "hold":
        flags, gap_s = FrameFlag.HELD, 10.0  # capture keeps frozen pictures back; this one moves again
    if cause is Cause.OPERATOR:
        camera.interrupt(cause)
    step, said = feed(camera, 2.8 + gap_s, FALL, flags)
    assert step.keep is (action != "reset")
    assert step.dt_s == pytest.approx(gap_s if action == "keep" else 0.2)
    assert (camera.session == before) is (action != "reset")
    assert dict(camera.interruptions) == {cause.value: 1}
    assert dict(camera.reset_causes) == ({cause.value: 1} if action == "reset" else {})
    ended = [m.reason for m in said if isinstance(m, Event) and m.type == "end"]
    assert ended == ([cause.value] if action == "reset" else [])
    clips = [m for m in run(camera, 3.0 + gap_s, 4.0) if isinstance(m, Prediction)]
    assert clips[-1].state.reset_reason == (cause.value if action == "reset" else "start")
    assert camera.resets == (action == "reset")


def test_a_frozen_picture_is_one_interruption_however_long_and_marks_its_clips():
    camera = memory(frozen="reset")
    flags = [FrameFlag.FROZEN if 10 <= k < 18 else FrameFlag(0) for k in range(25)]
    said = [m for k, each in enumerate(flags) for m in feed(camera, k / 5, flags=each)[1]]
    marks = [(m.clip.start, m.frozen) for m in said if isinstance(m, Prediction)]
    assert marks == [(0.0, False), (2.0, True), (3.0, True)]
    assert (camera.resets, dict(camera.interruptions)) == (1, {"frozen": 1})
    after = [m.frozen for m in run(camera, 5.0, 4.0) if isinstance(m, Prediction)]
    assert after[-1] is False


def test_what_is_asked_for_from_outside_comes_with_the_next_frame():
    camera = memory()
    run(camera, 0.0, 3.0)
    camera.interrupt(Cause.OPERATOR)
    assert camera.resets == 0
    step, _ = feed(camera, 3.0)
    assert (step.keep, camera.resets, dict(camera.reset_causes)) == (False, 1, {"operator": 1})


def test_hold_stops_the_models_time_and_keeps_its_memory():
    camera = memory(gap="hold")
    run(camera, 0.0, 3.0)
    before = camera.session
    step, _ = feed(camera, 60.0)
    assert (step.keep, step.dt_s) == (True, pytest.approx(0.2))
    assert camera.session == before
    clips = [m for m in run(camera, 60.2, 3.0) if isinstance(m, Prediction)]
    assert clips[0].clip.start == 60.0, "no clip spans the interruption"
    assert clips[0].state.age_steps > 15


def test_a_reset_ends_the_session_and_its_events():
    camera = memory()
    begun = [m for m in run(camera, 0.0, 3.0, FALL) if isinstance(m, Event)]
    _, said = feed(camera, 30.0)
    ended = [m for m in said if isinstance(m, Event)]
    assert [m.type for m in begun] == ["begin", "update"]
    assert [(m.type, m.id, m.reason) for m in ended] == [("end", begun[0].id, "gap")]


def test_a_row_that_went_non_finite_is_reset_and_says_nothing():
    camera = memory()
    run(camera, 0.0, 1.8)
    nothing = np.full(2, np.nan, np.float32)
    _, said = feed(camera, 1.8, nothing, finite=False)
    assert said == []
    step, _ = feed(camera, 2.0)
    assert (step.keep, camera.resets) == (False, 1)
    clips = [m for m in run(camera, 2.2, 4.0) if isinstance(m, Prediction)]
    assert {m.state.reset_reason for m in clips} == {"non_finite"}
    assert all(np.isfinite(list(m.scores.values())).all() for m in clips)


def test_reset_is_stronger_than_hold_and_hold_than_keep():
    causes = interruptions(FrameFlag.CONNECTED | FrameFlag.JUMPED | FrameFlag.RESIZED, 10.0, 2.0)
    assert causes == [Cause.RESOLUTION_CHANGE, Cause.SEEK, Cause.GAP, Cause.RECONNECT]
    assert judge(causes, Continuity(resolution_change="keep", seek="hold")) == ("reset", Cause.GAP)
    assert judge(causes, Continuity(resolution_change="keep", seek="hold", gap="keep")) == ("hold", Cause.SEEK)
    everything = Continuity(resolution_change="keep", seek="keep", gap="keep")
    assert judge(causes, everything) == ("keep", None)


def test_drops_are_counted_in_the_clip_in_which_they_lay():
    camera = memory()
    frames = [(0.0, 0), (0.2, 0), (0.8, 2), (1.0, 0), (1.2, 0), (1.4, 0), (1.6, 0), (2.2, 2), (2.4, 0)]
    frames += [(2.6, 0), (2.8, 0), (3.0, 0)]
    clips = [m for media_s, dropped in frames for m in feed(camera, media_s, dropped=dropped)[1]]
    assert [(c.clip.start, c.clip.frames, c.clip.dropped) for c in clips] == [(0.0, 7, 3), (1.0, 8, 2)]
    assert all(c.clip.frames + c.clip.dropped == 10 for c in clips)


def test_after_a_hold_counting_goes_on():
    camera = memory(gap="hold")
    before = [m.clip.index for m in run(camera, 0.0, 4.0) if isinstance(m, Prediction)]
    after = [m.clip.index for m in run(camera, 60.0, 4.0) if isinstance(m, Prediction)]
    assert before == [0, 1, 2]
    assert after == [3, 4, 5]


def test_time_that_runs_back_is_a_seek():
    camera = memory()
    run(camera, 100.0, 3.0)
    step, _ = feed(camera, 0.0)
    assert (step.keep, step.dt_s) == (False, pytest.approx(0.2))
    assert camera.resets == 1


@pytest.mark.parametrize(
    ("policy", "flags", "kept", "reasons"),
    [
        ({}, FrameFlag(0), False, {"gap": 1}),
        ({"gap": "keep"}, FrameFlag(0), False, {"gap": 1}),  # no step of time can carry a memory on over a day
        ({"gap": "keep", "seek": "keep"}, FrameFlag.CONNECTED, False, {"gap": 1, "reconnect": 1}),
        ({"gap": "hold"}, FrameFlag(0), True, {"gap": 1}),
        ({"frozen": "hold"}, FrameFlag.HELD, True, {"frozen": 1}),
    ],
)
def test_a_pause_of_more_than_a_day_is_a_gap_and_no_seek(policy, flags, kept, reasons):
    camera = memory(**policy)
    run(camera, 0.0, 3.0)
    step, _ = feed(camera, 100_000.0, flags=flags)
    assert (step.keep, step.dt_s) == (kept, pytest.approx(0.2))
    assert dict(camera.interruptions) == reasons
    assert dict(camera.reset_causes) == ({} if kept else {"gap": 1})


def test_an_event_that_a_reset_ends_bears_the_time_of_its_own_last_frame():
    camera = memory()
    run(camera, 10.0, 3.0, FALL)
    (end,) = feed(camera, 2.0)[1]
    assert (end.type, end.reason) == ("end", "seek")
    assert (end.media_time, end.captured_at) == (12.8, 1_000)


def test_a_memory_of_another_model_goes_on_counting():
    first, second, third = memory(seek="hold"), memory(), memory()
    run(first, 0.0, 1.0)
    feed(first, 5.0)
    feed(first, 5.2, flags=FrameFlag.JUMPED)
    second.succeed(first, Cause.MODEL_CHANGE)
    third.succeed(second, Cause.OPERATOR)  # before the second had a frame: there was nothing to reset
    assert third.resets == 2
    assert dict(third.reset_causes) == {"gap": 1, "model_change": 1}
    assert dict(third.interruptions) == {"gap": 1, "seek": 1, "model_change": 1}
    run(third, 5.4, 1.0)
    assert third.resets == 2


@pytest.mark.parametrize("place", [0, 4, 9])
def test_damage_anywhere_in_a_clip_marks_it_and_no_other(place):
    camera = memory()
    flags = [FrameFlag.DAMAGED if k == place else FrameFlag(0) for k in range(30)]
    clips = [m for k, each in enumerate(flags) for m in feed(camera, k / 5, flags=each)[1] if isinstance(m, Prediction)]
    marked = [clip.clip.index for clip in clips if clip.damaged]
    assert marked == ([0] if place < 5 else [0, 1])


def test_what_was_seen_before_a_reset_is_no_part_of_a_clip_after_it():
    camera = memory()
    for k in range(12):
        feed(camera, k / 5, flags=FrameFlag.DAMAGED, dropped=1 if k else 0)
    clips = [m for m in run(camera, 0.0, 2.0) if isinstance(m, Prediction)]  # time that ran back
    assert [(clip.damaged, clip.clip.dropped, clip.state.reset_reason) for clip in clips] == [(False, 0, "seek")]


def test_each_further_input_has_its_own_share_of_a_clip():
    further = (FurtherInput("audio", 2), FurtherInput("door", 1))
    manifest = replace(MANIFEST, further=further)
    camera = CameraMemory("camera0", manifest, ModelInfo("m", "1", "sha", "openvino", "f32"), 5.0, Continuity())
    said = []
    for k in range(10):
        head = header(k / 5)
        step, _ = camera.advance(head)
        said += camera.observe(head, step, CALM, finite=True, present=(k < 3, k % 2 == 0))
    (clip,) = said
    assert {name: share.present for name, share in clip.inputs.items()} == {"audio": 0.3, "door": 0.5}


def test_what_is_asked_for_many_times_before_a_frame_comes_is_one_interruption():
    camera = memory()
    run(camera, 0.0, 3.0)
    for _ in range(1000):
        camera.interrupt(Cause.OPERATOR)
    assert camera.remember().asked == (Cause.OPERATOR,)
    feed(camera, 3.0)
    assert dict(camera.interruptions) == dict(camera.reset_causes) == {"operator": 1}
