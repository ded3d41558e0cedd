"""The bench: the search finds the edge, limits and efficiencies add up, and a small real run is measured whole."""

import json
import math
import sys
import tempfile
from types import SimpleNamespace

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import vidpipe

from pipeline.bench.capacity import at_capacity, capacity, search
from pipeline.bench.decoding import DecodeCost
from pipeline.bench.limits import EncoderCost, Limits, StepCost, mean_limits
from pipeline.bench.live import live_run
from pipeline.bench.load import Delays, Load, delays_of, drop_share, holds
from pipeline.bench.report import rate_report
from pipeline.bench.usage import Cores, CpuReading, Memory, Meter, cores_between
from pipeline.config.load import load_config
from pipeline.durability.folder import state_path
from pipeline.stream.messages import ClipSpan, Counts, ModelInfo, Prediction, StateInfo, Status

LIMITS = Limits(
    cores=2,
    backend="openvino",
    precision="f32",
    decode=DecodeCost(grab_ms=0.5, retrieve_ms=0.1, resize_ms=0.3),
    encoder=(EncoderCost(1, alone_ms=3.0, picture_ms=2.0), EncoderCost(8, alone_ms=16.0, picture_ms=1.0)),
    step=(StepCost(1, 0.4), StepCost(8, 0.1)),
)
STAGES = {"capture": 0.6, "queue": 0.2, "encode": 3.5, "step": 0.5, "total": 4.8}


def delays(p99_ms: float = 20.0) -> Delays:
    return Delays(30, publish_p50_ms=5.0, publish_p99_ms=19.0, p50_ms=5.5, p99_ms=p99_ms, stages_ms=STAGES)


def load(cameras: int, *, held: bool = True, **changes: object) -> Load:
    cores = Cores(capture=0.02 * cameras, inference=0.01 * cameras, fake_cameras=0.2, subscriber=0.1, others=0, idle=0)
    one = Load(
        cameras=cameras,
        rate_hz=8.0,
        seconds=10.0,
        came_up=cameras,
        calm=True,
        delays=delays(20.0 if held else 900.0),
        full_rate=1.0,
        due=80 * cameras,
        processed=80 * cameras,
        dropped=0,
        cores=cores,
        memory=Memory(inference_mib=200.0, per_capture_mib=40.0, total_mib=200.0 + 40.0 * cameras),
        held=held,
    )
    return msgspec.structs.replace(one, **changes)


@given(st.integers(0, 200), st.integers(1, 256), st.integers(0, 300))
def test_the_search_finds_the_most_that_holds(edge, most, guess):
    loads = list(search(lambda n: load(n, held=n <= edge), most, guess))
    assert capacity(loads) == min(edge, most)
    assert len(loads) <= 2 + 2 * math.ceil(math.log2(most + 1))
    assert len({one.cameras for one in loads}) == len(loads), "no trial that failed clearly is made twice"


def test_a_good_guess_spares_trials():
    tried = [one.cameras for one in search(lambda n: load(n, held=n <= 40), 256, 26)]
    assert tried == [26, 52, 39, 45, 42, 40, 41]


def test_a_trial_that_failed_only_just_is_tried_once_more_and_both_are_kept():
    failures = {6: 1}

    def trial(cameras: int) -> Load:
        hiccup = cameras in failures and failures.pop(cameras)
        return load(cameras, delays=delays(250.0), held=False) if hiccup else load(cameras, held=cameras <= 6)

    loads = list(search(trial, 8, 6))
    assert [(one.cameras, one.held) for one in loads] == [(6, False), (6, True), (8, False), (7, False)]
    assert capacity(loads) == 6
    assert at_capacity(loads) is loads[1]


def test_a_number_that_nearly_holds_twice_has_failed():
    loads = list(
        search(lambda n: load(n, held=n < 4, delays=delays(250.0 if n == 4 else 20.0 if n < 4 else 900.0)), 8, 4)
    )
    assert [one.cameras for one in loads] == [4, 4, 2, 3]
    assert capacity(loads) == 3


@pytest.mark.parametrize(
    ("changes", "nearly"),
    [
        ({"delays": delays(399.0)}, True),
        ({"delays": delays(401.0)}, False),
        ({"delays": delays(20.0), "dropped": 3}, True),
        ({"delays": delays(20.0), "dropped": 30}, False),
        ({"delays": delays(20.0), "full_rate": 0.96}, True),
        ({"delays": delays(20.0), "full_rate": 0.9}, False),
        ({"delays": None}, False),
        ({"delays": delays(250.0), "came_up": 3}, False),
        ({"delays": delays(20.0), "held": True}, False),
    ],
)
def test_only_a_hairs_breadth_earns_a_second_try(changes, nearly):
    assert load(4, **{"held": False, **changes}).nearly is nearly


@pytest.mark.parametrize(
    ("late", "facts", "held"),
    [
        (delays(), {}, True),
        (delays(250.0), {}, False),
        (None, {}, False),
        (delays(), {"dropped": 1}, False),
        (delays(), {"full_rate": 0.9}, False),
    ],
)
def test_holding_means_in_time_without_a_drop_and_at_the_sources_rate(late, facts, held):
    assert holds(late, **{"dropped": 0, "full_rate": 1.0, **facts}) is held


def test_the_bare_limit_is_the_sum_of_the_stages_at_their_best_batches():
    camera_ms = 25 * 0.5 + 8 * (0.1 + 0.3 + 2 * 1.0 + 0.1)
    assert LIMITS.cameras(25, 8) == pytest.approx(2000 / camera_ms)
    assert LIMITS.cameras(25, 8, cores=1.5) == pytest.approx(1500 / camera_ms)
    assert LIMITS.bare_ms == pytest.approx(0.1 + 0.3 + 3.0 + 0.4)


def test_the_mean_of_two_measurements_lies_between_them():
    slower = msgspec.structs.replace(
        LIMITS,
        decode=DecodeCost(0.7, 0.3, 0.5),
        encoder=(EncoderCost(1, 5.0, 4.0), EncoderCost(8, 20.0, 3.0)),
        step=(StepCost(1, 0.6), StepCost(8, 0.3)),
    )
    mean = mean_limits(LIMITS, slower)
    assert msgspec.structs.astuple(mean.decode) == pytest.approx((0.6, 0.2, 0.4))
    assert [(c.batch, c.alone_ms, c.picture_ms) for c in mean.encoder] == [(1, 4.0, 3.0), (8, 18.0, 2.0)]
    assert [c.camera_ms for c in mean.step] == pytest.approx([0.5, 0.2])
    assert slower.cameras(25, 8) < mean.cameras(25, 8) < LIMITS.cameras(25, 8)


def test_a_rate_says_both_efficiencies_the_overhead_and_what_a_further_camera_costs():
    rate = rate_report(8.0, 25.0, load(1), (load(32), load(64, held=False), load(40)), (LIMITS, LIMITS))
    assert rate.capacity == 40
    assert rate.efficiency == pytest.approx(40 / LIMITS.cameras(25, 8))
    assert rate.cores_left == pytest.approx(2 - 0.3)
    assert rate.efficiency_of_cores_left == pytest.approx(40 / LIMITS.cameras(25, 8, cores=1.7))
    assert rate.mib_per_further_camera == pytest.approx(40.0)
    assert rate.camera_ms_alone == pytest.approx(rate.camera_ms_at_capacity) == pytest.approx(30.0)
    assert rate.one_camera.overhead_ms == pytest.approx(5.5 - LIMITS.bare_ms)
    by_stage = {"capture": 0.2, "queue": 0.2, "encode": 0.5, "step": 0.1, "publish": 0.7}
    assert rate.one_camera.overhead_by_stage_ms == pytest.approx(by_stage)
    assert sum(by_stage.values()) == pytest.approx(rate.one_camera.overhead_ms)
    assert [one.cameras for one in rate.every_trial] == [1, 32, 40, 64]


def test_a_machine_that_carries_nothing_gives_a_report_all_the_same():
    rate = rate_report(8.0, 25.0, load(1, held=False, delays=None), (), (LIMITS, LIMITS))
    assert (rate.capacity, rate.efficiency, rate.one_camera, rate.mib_per_further_camera) == (0, 0, None, None)


def test_cores_are_counted_by_kind_of_process():
    first = CpuReading(100.0, 10.0, 5.0, 1.0, 2.0, busy_s=30.0, idle_s=50.0)
    last = CpuReading(110.0, 18.0, 9.0, 2.0, 2.5, busy_s=44.0, idle_s=56.0)
    cores = cores_between(first, last)
    assert msgspec.structs.astuple(cores) == pytest.approx((0.8, 0.4, 0.1, 0.05, 0.05, 0.6))
    assert (cores.pipeline, cores.test) == (pytest.approx(1.2), pytest.approx(0.15))


def test_a_capture_process_that_ends_while_memory_is_read_is_left_out():
    def child(mib: float):
        def read():
            if not mib:
                raise psutil.NoSuchProcess(1)
            return SimpleNamespace(pss=mib * 2**20)

        return SimpleNamespace(memory_full_info=read)

    pipeline = SimpleNamespace(children=lambda: [child(20), child(0), child(30)], **vars(child(100)))
    assert Meter(pipeline, None).memory() == Memory(100.0, 25.0, 150.0)


def test_delays_are_told_from_grab_to_publisher_and_to_subscriber():
    span, info = ClipSpan(0, 0.0, 2.0, 16), ModelInfo("m", "1", "0", "openvino", "f32")
    state = StateInfo(1, 1.0, warm=True, reset_reason="start")
    heard = [
        (
            (9 + k) * 1_000_000,
            Prediction(
                camera="cam0",
                epoch=1,
                seq=k,
                captured_at=0,
                published_at=(6 + k) * 1_000_000,
                latency={"capture": 1000, "total": 5000 + 1000 * k},
                clip=span,
                model=info,
                state=state,
                label="a",
                scores={"a": 1.0},
            ),
        )
        for k in range(3)
    ]
    found = delays_of([*heard, (0, Status(camera="cam0", epoch=1, seq=0, state="running"))])
    assert (found.clips, found.publish_p50_ms, found.p50_ms) == (3, 7.0, 10.0)
    assert found.p99_ms == pytest.approx(10.98)
    assert found.stages_ms == {"capture": 1.0, "total": 6.0}
    assert delays_of([]) is None


def test_the_share_of_drops_counts_only_what_is_new():
    def status(camera: str, **counts: int) -> Status:
        return Status(camera=camera, epoch=1, seq=0, state="running", counts=Counts(**counts))

    before = {"a": status("a", due=100, thinned=50), "b": status("b", due=100)}
    last = {
        "a": status("a", due=110, thinned=51, overrun=1),
        "b": status("b", due=110),
        "c": status("c", due=9, thinned=9),
    }
    assert drop_share(before, last) == pytest.approx(2 / 20)
    assert drop_share(before, before) == 0
    assert drop_share({}, last) == 0


def test_a_video_that_the_fake_cameras_cannot_send_is_refused(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "other.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode())
    result = vidpipe("bench", "--video", path, folder=tmp_path)
    assert result.returncode != 0
    assert "mpeg4" in result.stderr
    assert "ffmpeg -i IN" in " ".join(result.stderr.split())


def test_a_trial_leaves_nothing_in_the_users_folder_of_states(tmp_path):
    seen = tmp_path / "seen"
    show = f"import shutil, sys; shutil.copy(sys.argv[-1], {str(seen)!r})"
    with live_run(["scene://"], model="scene", program=(sys.executable, "-c", show)) as run:
        run.process.wait(20)
    config = load_config(seen, {})
    path = state_path(config)
    assert path is not None
    assert path.is_relative_to(tempfile.gettempdir())
    assert not path.parent.exists()
    assert config.publish.bind == run.address


@pytest.mark.slow
def test_a_short_bench_measures_everything(tmp_path):
    chart = tmp_path / "bench.png"
    options = ("--seconds", 4, "--most", 2, "--json", "--chart", chart)
    result = vidpipe("bench", *options, folder=tmp_path, timeout_s=240)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["live_grab_ms"] > 0
    rate = report["rates"][0]
    assert rate["limits"]["decode"]["grab_ms"] > 0
    assert rate["alone"]["cameras"] == 1
    assert rate["trials"][0]["cameras"] == 2
    assert rate["alone"]["cores"]["capture"] > 0
    assert rate["alone"]["memory"]["per_capture_mib"] > 0
    assert chart.stat().st_size > 10_000
