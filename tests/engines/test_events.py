"""Event detection: hysteresis, minimum duration, cool-down, one number from begin to end."""

from engines.events import EventChange, EventDetector
from engines.manifest import EventRule

LABELS = ("idle", "fall")


def run(rule: EventRule, scores: list[float]) -> list[EventChange]:
    detector = EventDetector({"fall": rule}, LABELS)
    changes = [c for k, score in enumerate(scores) for c in detector.add(float(k), (1 - score, score))]
    return changes + detector.close()


def phases(changes: list[EventChange]) -> list[tuple[int, str, float]]:
    return [(c.number, c.phase, c.end_s) for c in changes if c.phase != "update"]


def test_a_score_between_exit_and_enter_neither_starts_nor_ends():
    changes = run(EventRule(enter=0.6, exit=0.4), [0.5, 0.7, 0.5, 0.5, 0.3, 0.5])
    assert phases(changes) == [(1, "begin", 1.0), (1, "end", 4.0)]
    assert changes[-1].peak == 0.7
    assert changes[-1].start_s == 1.0


def test_a_short_burst_is_no_event():
    assert run(EventRule(min_duration_s=2.0), [0.9, 0.9, 0.1, 0.9, 0.1]) == []


def test_an_event_is_announced_after_its_minimum_duration_with_its_true_start():
    changes = run(EventRule(min_duration_s=2.0), [0.1, 0.9, 0.9, 0.9, 0.1])
    assert [(c.phase, c.start_s, c.end_s) for c in changes] == [("begin", 1.0, 3.0), ("end", 1.0, 4.0)]


def test_cool_down_holds_back_the_next_event():
    changes = run(EventRule(cool_down_s=3.0), [0.9, 0.1, 0.9, 0.9, 0.9, 0.9])
    assert phases(changes) == [(1, "begin", 0.0), (1, "end", 1.0), (2, "begin", 4.0), (2, "end", 5.0)]


def test_closing_ends_what_is_open_and_nothing_else():
    changes = run(EventRule(), [0.9])
    assert phases(changes) == [(1, "begin", 0.0), (1, "end", 0.0)]


def test_times_that_are_equal_but_for_rounding_count_as_equal():
    rule = EventRule(min_duration_s=0.3, cool_down_s=0.3)
    for origin in range(300):
        detector = EventDetector({"fall": rule}, LABELS)
        scores = [0.9, 0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
        changes = [detector.add(origin / 30 + 1.0 + k * 0.1, (0.0, score)) for k, score in enumerate(scores)]
        begins = [k for k, change in enumerate(changes) if change and change[0].phase == "begin"]
        assert begins == [3, 10], f"of the session that begins at {origin} / 30 s"


def test_a_burst_too_short_to_be_an_event_asks_for_no_quiet():
    changes = run(EventRule(min_duration_s=1.0, cool_down_s=5.0), [0.9, 0.1, 0.9, 0.9, 0.1])
    assert [(c.phase, c.start_s) for c in changes] == [("begin", 2.0), ("end", 2.0)]
