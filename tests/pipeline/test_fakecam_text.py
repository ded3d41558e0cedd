"""Faults as they are typed."""

from __future__ import annotations

from typing import get_args, get_type_hints

import msgspec
import pytest

from engines.errors import ConfigError
from pipeline.fakecam.console import CameraSite, Console, ProxySite
from pipeline.fakecam.fault_text import Order, meaning, parse_order, usage, values
from pipeline.fakecam.fault_values import unit_of
from pipeline.fakecam.faults import (
    FAULTS,
    Answer,
    Corrupt,
    Drip,
    Drop,
    Fault,
    Freeze,
    Hang,
    Jump,
    Reset,
    Resize,
    Stall,
)
from pipeline.fakecam.proxy_faults import LINK_FAULTS, Bandwidth, Cut, Latency


def parse(text: str) -> Order[Fault]:
    return parse_order(text, FAULTS, ("camera0", "hall/door"), scope=CameraSite.scope)


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("stall", Order(Stall())),
        ("stall 5", Order(Stall(), for_s=5.0)),
        ("stall@10+5", Order(Stall(), after_s=10.0, for_s=5.0)),
        ("STALL @ 10", None),
        ("stall @1.5", Order(Stall(), after_s=1.5)),
        ("stall reach=present 2", Order(Stall(), for_s=2.0, scope="present")),
        ("hall/door corrupt 0.3", Order(Corrupt(0.3), "hall/door")),
        ("corrupt 0.3 10 seed=7 flips=2", Order(Corrupt(0.3, seed=7, flips=2), for_s=10.0)),
        ("drop rate=1 unit=nal @3+1", Order(Drop(1.0, unit="nal"), after_s=3.0, for_s=1.0)),
        ("drip 0.5", Order(Drip(0.5))),
        ("drip 0.5 5", Order(Drip(0.5), for_s=5.0)),
        ("hang DESCRIBE 4", Order(Hang("DESCRIBE"), for_s=4.0)),
        ("answer 404 at=SETUP", Order(Answer(404, "SETUP"))),
        ("reset", Order(Reset())),
        ("reset 5", Order(Reset(), for_s=5.0)),
        ("reset PLAY", Order(Reset("PLAY"))),
        ("resize 320x240 5", Order(Resize(320, 240), for_s=5.0)),
        ("freeze 20", Order(Freeze(), for_s=20.0)),
        ("freeze noisy noise=4 20", Order(Freeze("noisy", noise=4.0), for_s=20.0)),
        ("camera0 jump -30@10", Order(Jump(-30.0), "camera0", after_s=10.0)),
        ("jump +3600", Order(Jump(3600.0))),
        ("drip 500ms 5s", Order(Drip(0.5), for_s=5.0)),
        ("corrupt 30%@10s+500ms", Order(Corrupt(0.3), after_s=10.0, for_s=0.5)),
        ("drop rate=5%", Order(Drop(0.05))),
        ("freeze 20s", Order(Freeze(), for_s=20.0)),
    ],
)
def test_faults_are_read(text: str, order: Order[Fault] | None) -> None:
    if order is None:
        with pytest.raises(ConfigError):
            parse(text)
    else:
        assert parse(text) == order


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no fault; write"),
        ("camera0", "names no fault"),
        ("camera7 stall", "names no camera that is here; there are camera0"),
        ("stal 5", "one of silent, hang"),
        ("stall 5 6", "'6' in 'stall 5 6' is one word too many; write stall"),
        ("stall 5@3+2", "one word too many"),
        ("stall soon", "'soon' in 'stall soon' is one word too many"),
        ("stall -5", "one word too many"),
        ("stall how=long", "stall has no value 'how'"),
        ("stall reach=some", "one of all, present, new"),
        ("corrupt", "write corrupt RATE"),
        ("corrupt 2", r"rate should be a number, 0 to 1 \(share\)"),
        ("drip -1", r"interval_s should be a number, 0 to 86400 \(seconds\)"),
        ("drip 4%", "'4%' has a wrong unit: interval_s is in seconds"),
        ("resize 1s 2", "'1s' has a wrong unit: width is in pixels"),
        ("stall 4%", "'4%' in 'stall 4%' is one word too many"),
        ("corrupt much", r"write corrupt RATE \[seed=0\] \[flips=20\] \[SECONDS\]"),
        ("hang SING", "SING"),
        ("resize 321x240", "write resize WxH"),
        ("stall@-5", "names no fault"),
    ],
)
def test_mistakes_are_told_with_the_form(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(text)


@pytest.mark.parametrize("kind", [*FAULTS.values(), *LINK_FAULTS.values()])
def test_every_fault_has_a_form_and_a_meaning(kind: type) -> None:
    assert usage(kind).startswith(kind.__name__.lower())
    assert 20 < len(meaning(kind)) < 250
    assert "\n" not in meaning(kind)


def test_faults_of_the_way_are_read() -> None:
    def parse_link(text: str) -> Order:
        return parse_order(text, LINK_FAULTS, scope=ProxySite.scope)

    assert parse_link("latency 0.2 jitter_s=0.1 5") == Order(Latency(0.2, jitter_s=0.1), for_s=5.0)
    assert parse_link("bandwidth 1000 direction=up") == Order(Bandwidth(1000.0), scope="up")
    assert parse_link("cut 500 how=close") == Order(Cut(500, "close"))


class RecordingSite:
    kinds = FAULTS
    cameras = ("camera0",)
    scope = CameraSite.scope

    def __init__(self) -> None:
        self.done: list[object] = []

    def inject(self, order: Order[Fault]) -> None:
        self.done.append(order)

    def clear(self, camera: str | None, kind: type | None) -> int:
        self.done.append((camera, kind))
        return 1

    def counters(self) -> dict[str, int]:
        return {"plays": 2}


def test_every_command_is_answered_in_one_line() -> None:
    site = RecordingSite()
    console = Console(site)
    lines = ["camera0 stall 5", "clear", "camera0 clear freeze", "status", "help", "help corrupt", "clear x", "dance"]
    replies = [console.answer(line) for line in lines]
    assert [reply.ok for reply in replies] == [True] * 6 + [False] * 2
    assert not any("\n" in reply.text for reply in replies)
    assert site.done == [Order(Stall(), "camera0", for_s=5.0), (None, None), ("camera0", Freeze)]
    assert replies[0].text == "stall on camera0 for 5 s"
    assert replies[0].order == {"fault": "stall", "camera": "camera0", "after_s": 0.0, "for_s": 5.0}
    assert replies[2].text == "1 fault of camera0 ended"
    assert replies[3].counters == {"plays": 2}
    assert replies[5].text == (
        "corrupt RATE [seed=0] [flips=20] [SECONDS]: Flips bits in a share of the slice NAL units. "
        "RATE: share, 0 to 1; flips: bits, 1 to 10000; SECONDS is how long it lasts, else until cleared"
    )
    assert msgspec.json.decode(msgspec.json.encode(replies[7]))["ok"] is False


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("camera0 drip 4", "drip interval=4 s on camera0 until cleared"),
        ("drip 0.5 4", "drip interval=0.5 s for 4 s"),
        ("corrupt 0.3 @3", "corrupt rate=0.3 seed=0 flips=20 bits in 3 s until cleared"),
        ("jump -3", "jump by=-3 s once"),
        ("answer 404", "answer status=404 at=DESCRIBE until cleared"),
        ("full 2 5", "full viewers=2 for 5 s"),
        ("reset", "reset once"),
        ("reset PLAY", "reset at=PLAY until cleared"),
        ("resize 320x240", "resize width=320 pixels height=240 pixels until cleared"),
    ],
)
def test_an_answer_says_in_which_unit_and_for_how_long(line: str, text: str) -> None:
    assert Console(RecordingSite()).answer(line).text == text


@pytest.mark.parametrize("kind", [*FAULTS.values(), *LINK_FAULTS.values()])
def test_every_number_has_a_unit(kind: type) -> None:
    for name, default in get_type_hints(kind).items():
        if default in (int, float) and name != "seed":
            assert unit_of(kind, name), name
            assert name.upper() in values(kind).upper()


def test_the_table_of_faults_is_whole() -> None:
    assert set(FAULTS.values()) == set(get_args(Fault))
