"""The metrics page adds up, and says what the messages said."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations_messages import prediction, status
from prometheus_client.parser import text_string_to_metric_families

from pipeline.operations.metrics import Gauges, Metrics
from pipeline.stream.messages import Counts


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of the page by name and labels, read by the parser that is Prometheus' own."""
    families = text_string_to_metric_families(metrics.page().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, frozenset(labels.items())]


amounts = st.integers(0, 10**9)


@given(st.dictionaries(st.sampled_from("abc"), st.tuples(amounts, amounts, amounts, amounts), min_size=1))
def test_frames_add_up_on_the_page(cameras):
    metrics = Metrics()
    for name, (processed, thinned, overrun, in_flight) in cameras.items():
        due = processed + thinned + overrun + in_flight
        counts = Counts(due=due, processed=processed, thinned=thinned, overrun=overrun, in_flight=in_flight)
        metrics.observe(status(name, counts=counts))
    page = samples(metrics)
    for name in cameras:
        results = [v for (n, labels), v in page.items() if n == "vidpipe_frames_total" and ("stream", name) in labels]
        stream = frozenset({("stream", name)})
        assert len(results) == 3
        assert page["vidpipe_frames_due_total", stream] == sum(results) + page["vidpipe_frames_in_flight", stream]


def test_every_count_of_a_status_is_on_the_page():
    counts = Counts(*range(101, 101 + len(Counts.__struct_fields__)))
    metrics = Metrics()
    metrics.observe(status("a", counts=counts))
    shown = set(samples(metrics).values())
    missing = {name for name in Counts.__struct_fields__ if getattr(counts, name) not in shown}
    assert missing == {"resets"}, "resets are shown by reason"


def test_states_reasons_and_ages():
    clock = Clock()
    metrics = Metrics(clock)
    metrics.observe(
        status("a", state="backoff", resets={"gap": 2, "seek": 1}, reconnects={"stall": 3}, frame_age_s=4.0)
    )
    metrics.observe(status("b", state="running"))
    clock.now_s += 2.5
    assert value(metrics, "vidpipe_stream_state", stream="a", state="backoff") == 1
    assert value(metrics, "vidpipe_stream_state", stream="a", state="running") == 0
    assert value(metrics, "vidpipe_stream_state", stream="b", state="running") == 1
    assert value(metrics, "vidpipe_state_resets_total", stream="a", reason="gap") == 2
    assert value(metrics, "vidpipe_reconnects_total", stream="a", reason="stall") == 3
    assert value(metrics, "vidpipe_last_frame_age_seconds", stream="a") == 6.5, "it grows though no status comes"
    assert ("vidpipe_last_frame_age_seconds", frozenset({("stream", "b")})) not in samples(metrics), "no frame yet"


def test_latencies_are_counted_in_seconds_whatever_stages_are_told():
    metrics = Metrics()
    latency = {"capture": 150, "queue": 1_000, "encode": 4_000, "step": 850, "total": 6_000, "later": 7}
    metrics.observe(prediction("a", latency=latency))
    metrics.observe(prediction("b", latency=latency))
    assert value(metrics, "vidpipe_capture_to_publish_seconds_count") == 2
    assert math.isclose(value(metrics, "vidpipe_capture_to_publish_seconds_sum"), 0.012)
    assert value(metrics, "vidpipe_capture_to_publish_seconds_bucket", le="0.005") == 0
    assert value(metrics, "vidpipe_capture_to_publish_seconds_bucket", le="0.01") == 2
    assert math.isclose(value(metrics, "vidpipe_stage_duration_seconds_sum", stage="encode"), 0.008)
    assert "later" not in metrics.page().decode()


def test_gauges_of_the_process():
    metrics = Metrics()
    assert not [n for n, _ in samples(metrics) if n in ("vidpipe_subscribers", "vidpipe_auth_failures_total")]
    alarms = {"journal": "no room in /var/Kanari", "checkpoint": ""}
    metrics.beat(Gauges(subscribers=3, auth_failures=7, checkpoint_age_s=0.5, journal_backlog=11, alarms=alarms))
    assert value(metrics, "vidpipe_subscribers") == 3
    assert value(metrics, "vidpipe_auth_failures_total") == 7
    assert value(metrics, "vidpipe_checkpoint_age_seconds") == 0.5
    assert value(metrics, "vidpipe_journal_backlog") == 11
    assert value(metrics, "vidpipe_alarm", part="journal") == 1
    assert value(metrics, "vidpipe_alarm", part="checkpoint") == 0
    assert "Kanari" not in metrics.page().decode(), "a sentence is no label: it may hold a path"


def test_a_camera_that_is_no_longer_run_leaves_the_page():
    metrics = Metrics()
    metrics.observe(status("gone"))
    metrics.observe(prediction("gone"))
    assert "gone" in metrics.page().decode()
    metrics.forget("gone")
    assert "gone" not in metrics.page().decode()


@pytest.mark.parametrize("field", ["detail", "replay"])
def test_free_text_of_a_message_is_not_on_the_page(field):
    metrics = Metrics()
    metrics.observe(msgspec.structs.replace(status("a"), **{field: "rtsp://u:Kanari@host"}))
    assert "Kanari" not in metrics.page().decode()
