"""A whole pipeline before a camera that freezes, breaks off and jumps: what subscribers hear of it."""

from __future__ import annotations

import numpy as np
import pytest
from processes import write_config

from pipeline import app
from pipeline.config.load import load_config, select_cameras
from pipeline.fakecam import Encoding, FakeCameraServer
from pipeline.fakecam.faults import Fault, Freeze, Jump, Reset
from pipeline.fakecam.pictures import PictureMedia
from pipeline.stream.messages import Message, Prediction, Status

FAULTS: dict[str, tuple[Fault, float | None]] = {
    "kept": (Freeze("encoded"), 5.0),
    "held": (Freeze("encoded"), 5.0),
    "broken": (Reset(), None),
    "jumped": (Jump(3600.0), None),
}


def walker(number: int) -> np.ndarray:
    """A light patch that walks through a dark room, uint8 [120, 160, 3]."""
    picture = np.full((120, 160, 3), 60, np.uint8)
    picture[:40, 80:] = 130
    left = number % 120
    picture[60:90, left : left + 20] = 200
    return picture


@pytest.fixture(scope="module")
def heard(tmp_path_factory) -> dict[str, list[Message]]:
    """All that was published of four cameras with a fault each, from the moment on when all of them ran."""
    folder = tmp_path_factory.mktemp("run")
    media = {name: PictureMedia(lambda: walker, Encoding(160, 120, 15, gop_s=1.0)) for name in FAULTS}
    messages: dict[str, list[Message]] = {name: [] for name in FAULTS}
    ready: set[str] = set()
    with pytest.MonkeyPatch.context() as patched, FakeCameraServer(media) as server:
        for variable in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            patched.setenv(variable, str(folder))
        cameras = {name: {"source": url, "continuity": {"frozen_after_s": 2}} for name, url in server.urls.items()}
        cameras["held"]["continuity"]["frozen"] = "hold"
        path, _ = write_config(folder, cameras, metrics={"bind": "off"})
        config = load_config(path)

        def listen(message: Message) -> None:
            messages[message.camera].append(message)
            if isinstance(message, Prediction) and message.camera not in ready:
                ready.add(message.camera)
                fault, for_s = FAULTS[message.camera]
                server.inject(fault, message.camera, for_s=for_s)

        app.run(config, select_cameras(config, []), app.RunOptions(duration_s=20), listen)
    return messages


def predictions(messages: list[Message]) -> list[Prediction]:
    return [message for message in messages if isinstance(message, Prediction)]


def statuses(messages: list[Message]) -> list[Status]:
    return [message for message in messages if isinstance(message, Status)]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_every_status_adds_up(heard, name):
    for status in statuses(heard[name]):
        counts = status.counts
        assert counts.due == counts.processed + counts.thinned + counts.overrun + counts.in_flight


@pytest.mark.slow
def test_a_frozen_picture_shows_in_state_counter_and_clips(heard):
    told, clips = statuses(heard["kept"]), predictions(heard["kept"])
    assert "frozen" in [status.state for status in told]
    assert told[-1].interruptions == {"frozen": 1}
    assert (told[-1].resets, told[-1].reconnects, told[-1].counts.connections) == ({}, {}, 1)
    flags = [clip.frozen for clip in clips]
    assert flags[0] is False
    assert True in flags
    assert flags[-1] is False
    assert len({clip.session for clip in clips}) == 1


@pytest.mark.slow
def test_with_hold_nothing_is_published_while_the_picture_stands_still(heard):
    messages = heard["held"]
    states = [message.state for message in statuses(messages)]
    frozen = messages.index(next(m for m in statuses(messages) if m.state == "frozen"))
    moving = messages.index(next(m for m in statuses(messages[frozen:]) if m.state == "running"))
    assert predictions(messages[frozen + 1 : moving]) == []
    clips = predictions(messages)
    assert len({clip.session for clip in clips}) == 1, "the memory is the one of before"
    assert not any(clip.frozen for clip in clips)
    indices = [clip.clip.index for clip in clips]
    assert indices == list(range(len(indices)))
    assert statuses(messages)[-1].interruptions == {"frozen": 1}
    assert "backoff" not in states


@pytest.mark.slow
def test_a_connection_that_breaks_is_counted_by_its_reason(heard):
    last = statuses(heard["broken"])[-1]
    assert last.reconnects == {"eof": 1}
    assert last.interruptions["reconnect"] == 1
    assert last.counts.connections == 2
    assert 0 <= last.frame_age_s < 5


@pytest.mark.slow
def test_a_clock_that_jumps_begins_a_new_session(heard):
    clips, last = predictions(heard["jumped"]), statuses(heard["jumped"])[-1]
    assert last.resets == {"seek": 1}
    assert clips[-1].state.reset_reason == "seek"
    assert len({clip.session for clip in clips}) == 2
    assert clips[-1].media_time < 3600
