"""The soak program: its plan and its verdicts by default, and a run of two minutes among the slow tests."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.append(str(TOOLS))

from faults.sampling import Sample  # noqa: E402
from faults.schedule import LASTING, plan  # noqa: E402
from faults.slopes import judge, theil_sen  # noqa: E402
from faults.soak_report import Ledger, Setting, judge_again, judge_all, windows_of  # noqa: E402

AT_S = np.arange(0, 3000, 5.0)


def memory(mib_per_hour: float, seed: int = 0) -> np.ndarray:
    """A process of 150 MiB with noise, a burst that goes away again, and a leak."""
    noise = np.random.default_rng(seed).normal(0, 0.2, AT_S.size)
    burst = np.where((AT_S > 1200) & (AT_S < 1320), 30.0, 0.0)
    return 150 + noise + burst + mib_per_hour * AT_S / 3600


@pytest.mark.parametrize(("leak", "verdict"), [(0.0, "pass"), (3.0, "fail"), (-5.0, "pass")])
def test_a_leak_is_found_and_a_burst_is_none(leak, verdict):
    slope = theil_sen(AT_S, memory(leak))
    assert slope.low <= leak <= slope.high
    assert judge(slope, 1.0) == verdict


def test_what_lies_within_the_noise_is_unclear():
    few = AT_S < 300
    assert judge(theil_sen(AT_S[few], memory(1.0)[few]), 1.0) == "unclear"


def test_the_plan_hurts_every_camera_equally_and_undoes_what_lasts():
    acts = plan(seed=3, cameras=6, reconnects=300, begin_s=5, end_s=3585, mild=("freeze",))
    ending = [act for act in acts if act.begins and act.act != "inject"]
    assert Counter(act.camera for act in ending) == dict.fromkeys(range(6), 50)
    assert sum(act.act == "inject" for act in acts) == 60
    assert acts == plan(seed=3, cameras=6, reconnects=300, begin_s=5, end_s=3585, mild=("freeze",))
    for camera in range(6):
        own = [act for act in acts if act.camera == camera]
        for first, second in itertools.pairwise(own):
            lasts = first.begins and (first.fault in LASTING or first.act == "inject")
            assert (second.fault, second.begins) == (first.fault, False) if lasts else second.begins


def test_latency_by_window():
    windows = windows_of([(1.0, 5.0), (2.0, 7.0), (11.0, 9.0)], 10.0)
    assert [(window.at_s, window.clips, window.p50_ms) for window in windows] == [(5.0, 2, 6.0), (15.0, 1, 9.0)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_minutes(tmp_path):
    out, plot = tmp_path / "soak.json", tmp_path / "soak.png"
    command = [sys.executable, str(TOOLS / "soak.py"), "--minutes", "2", "--cameras", "3", "--reconnects", "12"]
    command += ["--json", str(out), "--plot", str(plot)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    report = json.loads(out.read_text())
    assert report["missed"] == 0
    assert report["reconnects"] >= 12
    assert report["exit_code"] == 0
    assert len(report["samples"]) >= 20
    assert not [each for each in report["verdicts"] if each["verdict"] == "fail"]
    assert plot.read_bytes()[:4] == b"\x89PNG"


def test_an_earlier_run_is_judged_again_from_its_samples():
    sample = Sample(**dict.fromkeys(Sample.__struct_fields__, 1))
    ledger = Ledger(samples=[msgspec.structs.replace(sample, at_s=at_s) for at_s in AT_S])
    setting = Setting(
        seconds=3600.0, cameras=1, reconnects=0, seed=1, every_s=5.0, warm_up_s=600.0, model="scene", mild=()
    )
    flat = judge_all(setting, ledger)
    grown = [msgspec.structs.replace(each, main_rss_mib=1 + each.at_s / 1800) for each in flat.samples]
    again = judge_again(msgspec.structs.replace(flat, samples=grown))
    assert (again.verdicts[0].verdict, again.verdicts[1:]) == ("fail", flat.verdicts[1:])
    assert again.slopes["main RSS, MiB"].per_hour == pytest.approx(2.0)
    assert flat.verdicts[0].verdict == "pass"
