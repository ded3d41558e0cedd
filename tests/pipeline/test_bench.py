"""The bench: the search finds the edge, the limits add up, and a small real run is measured whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import vidpipe

from pipeline.bench.capacity import capacity, search
from pipeline.bench.limits import EncoderCost, Limits
from pipeline.bench.load import Load


def load(cameras: int, *, held: bool) -> Load:
    return Load(cameras, 5.0, 10.0, 5.0, 20.0 if held else 900.0, 25.0 * cameras, 50, 50, 0, 0.1, 100.0)


@given(st.integers(0, 70), st.integers(1, 64))
def test_the_search_finds_the_most_that_holds(edge, most):
    loads = list(search(lambda n: load(n, held=n <= edge), most))
    assert capacity(loads) == min(edge, most)
    assert len(loads) <= 14
    assert len({one.cameras for one in loads}) == len(loads), "no trial is made twice"


@pytest.mark.parametrize(
    ("changes", "held"),
    [({}, True), ({"p99_ms": 250.0}, False), ({"dropped": 1}, False), ({"grabbed_per_s": 40.0}, False)],
)
def test_holding_means_in_time_without_a_drop_and_at_the_sources_rate(changes, held):
    facts = {"p99_ms": 20.0, "dropped": 0, "grabbed_per_s": 50.0, **changes}
    one = Load(2, 5.0, 10.0, 5.0, facts["p99_ms"], facts["grabbed_per_s"], 50, 50, facts["dropped"], 0.1, 100.0)
    assert one.held is held


def test_the_bare_limit_is_the_sum_of_the_stages():
    costs = (EncoderCost(1, 3.0, 500.0), EncoderCost(8, 16.0, 1000.0))
    limits = Limits(2, "openvino", "f32", grab_ms=0.5, convert_ms=0.4, step_ms=0.1, encoder=costs)
    per_camera_ms = 25 * 0.5 + 8 * (0.4 + 2.0 + 0.1)
    assert limits.cameras(25, 8) == pytest.approx(2000 / per_camera_ms)


@pytest.mark.slow
def test_a_short_bench_measures_everything(tmp_path):
    chart = tmp_path / "bench.png"
    result = vidpipe("bench", "--seconds", 4, "--most", 2, "--json", "--chart", chart, folder=tmp_path, timeout_s=180)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["limits"]["grab_ms"] > 0
    assert [trial["cameras"] for trial in report["rates"][0]["trials"]] == [1, 2]
    assert chart.stat().st_size > 10_000
