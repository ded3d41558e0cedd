"""A subscriber over stops and kills of the whole vidpipe: nothing twice, nothing out of order, every loss told."""

import os
import signal
import time
from itertools import pairwise

import pytest
from processes import running, write_config

from pipeline.stream.subscriber import Subscriber


@pytest.mark.slow
def test_a_subscriber_goes_on_over_a_stop_and_a_kill(tmp_path):
    config, address = write_config(
        tmp_path,
        {"camera0": "scene://?seed=1&fps=15", "camera1": "scene://?seed=2&fps=15"},
        state={"folder": str(tmp_path / "state")},
        metrics={"bind": "off"},
    )
    gaps, seen, epochs = [], {"camera0": [], "camera1": []}, []
    with Subscriber(address, on_gap=gaps.append) as subscriber:
        for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            with running("run", "--config", config, folder=tmp_path) as child:
                new = dict.fromkeys(seen, 0)
                until_s = time.monotonic() + 60
                while min(new.values()) < 3 and time.monotonic() < until_s:
                    message = subscriber.receive(1.0)
                    if message is not None:
                        epochs += [message.epoch] if message.epoch not in epochs else []
                        seen[message.camera].append((message.epoch, message.seq))
                        new[message.camera] += message.epoch == epochs[-1]
                os.kill(child.pid, end)
                child.wait(20)
    assert len(epochs) == 3
    assert epochs == sorted(epochs)
    for places in seen.values():
        assert places == sorted(set(places))
        for (epoch, seq), then in pairwise(places):
            assert then == (epoch, seq + 1) or then[1] == 1, "nothing is missing"
    # of what it said to its end nobody knows but for the one that was killed
    assert {(gap.epoch, gap.count) for gap in gaps} <= {(epochs[1], 0)}
    assert subscriber.missed == 0
