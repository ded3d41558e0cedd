"""Reloads: how many are made of many orders, what becomes of one that fails, and of a file that changes at any time."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from engines.errors import ConfigError
from pipeline.config.file_watch import FileWatch
from pipeline.config.schema import Config
from pipeline.prepared import Changes
from pipeline.reload import Reloader


class Bench:
    """A reloader with stand-ins for all that it moves."""

    def __init__(self, watch: FileWatch | None = None) -> None:
        self.may_prepare, self.woken = threading.Event(), threading.Event()
        self.config = Config.model_validate({"cameras": {"a": {"source": "scene://"}}})
        self.loads: list[object] = []
        self.closed: list[object] = []
        self.verdicts: list[bool] = []
        self.fault: BaseException | None = None
        monitor = SimpleNamespace(
            reloading=lambda: None, reloaded=lambda *, ok: self.verdicts.append(ok), forget=lambda _: None
        )
        self.apply_fault: BaseException | None = None
        live = SimpleNamespace(prepare=self._prepare, apply=self._apply)
        self.reloader = Reloader(
            live, self.config, self._load, self.woken.set, watch or FileWatch(None), monitor=monitor
        )

    def _load(self):
        self.loads.append(object())
        if self.fault is not None:
            raise self.fault
        return self.config, self.config.cameras

    def _prepare(self, _cameras):
        assert self.may_prepare.wait(10.0)
        return SimpleNamespace(close=lambda: self.closed.append(object()))

    def _apply(self, _prepared) -> Changes:
        if self.apply_fault is not None:
            raise self.apply_fault
        return Changes((), (), ())

    def turn_when_woken(self) -> None:
        assert self.woken.wait(10.0)
        self.woken.clear()
        self.reloader.turn()


def test_many_orders_at_once_are_one_reload_and_all_are_answered():
    bench = Bench()
    first = bench.reloader.ask()
    bench.reloader.turn()
    later = [bench.reloader.ask() for _ in range(1000)]
    bench.may_prepare.set()
    while not all(each.done() for each in [first, *later]):
        bench.turn_when_woken()
    assert {each.result(0) for each in [first, *later]} == {"no camera changed"}
    assert len(bench.loads) == 2, "one for what was asked before the file was read, one for all asked since"
    assert bench.verdicts == [True, True]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_nobody_foresaw_refuses_one_reload_and_not_the_next():
    bench = Bench()
    bench.may_prepare.set()
    bench.fault = ZeroDivisionError("secret")
    refused = bench.reloader.ask()
    bench.reloader.turn()
    with pytest.raises(ConfigError, match=r"^ZeroDivisionError in vidpipe itself"):
        refused.result(10.0)
    for thread in threading.enumerate():
        if thread.name == "reload":
            thread.join(10.0)  # what it raises belongs to this test
    bench.fault = None
    taken = bench.reloader.ask()
    while not taken.done():
        bench.turn_when_woken()
    assert taken.result(0) == "no camera changed"
    assert bench.verdicts == [False, True]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (OSError(24, "Too many open files"), "Too many open files"),
        (MemoryError(), "MemoryError"),
        (RuntimeError("CUDA out of memory"), "CUDA out of memory"),
    ],
)
def test_what_cannot_be_taken_over_now_is_refused_and_the_loop_goes_on(fault, reason):
    bench = Bench()
    bench.may_prepare.set()
    bench.apply_fault = fault
    asked = bench.reloader.ask()
    while not asked.done():
        bench.reloader.turn()
        bench.turn_when_woken()
    with pytest.raises(ConfigError, match=f"^it cannot be taken over now: {reason}$"):
        asked.result(0)
    assert bench.verdicts == [False]
    bench.reloader.close()


def test_a_stop_waits_for_what_is_being_prepared_and_frees_it():
    bench = Bench()
    asked = bench.reloader.ask()
    bench.reloader.turn()
    with bench.reloader:
        waiting = bench.reloader.ask()
        threading.Timer(0.02, bench.may_prepare.set).start()
    assert len(bench.closed) == 1
    for each in (asked, waiting):
        with pytest.raises(ConfigError, match="is stopping"):
            each.result(0)


def test_a_file_that_changed_while_vidpipe_started_is_taken_over(tmp_path):
    file = tmp_path / "vidpipe.yaml"
    file.write_text("a")
    watch = FileWatch(file)
    file.write_text("ab")  # while the models are compiled
    bench = Bench(watch)
    looks = [watch.is_changed() for _ in range(4)]
    assert looks.count(True) == 1
    file.write_text("abc")
    watch.is_read()
    assert not any(watch.is_changed() for _ in range(3)), "a reload that was asked for has read it"
    file.unlink()
    assert not any(watch.is_changed() for _ in range(3))
    file.write_text("abcd")
    bench.may_prepare.set()
    for _ in range(3):
        bench.reloader.look()
        bench.reloader.turn()
    bench.reloader.close()
    assert len(bench.loads) == 1


def test_a_file_that_is_still_written_has_not_changed_yet(tmp_path):
    file = tmp_path / "vidpipe.yaml"
    file.write_text("a")
    watch = FileWatch(file)
    seen = []
    for text in ("ab", "abc", "abcd", "abcd", "abcd", "abcde"):
        file.write_text(text) if file.read_text() != text else None
        seen.append(watch.is_changed())
    file.unlink()
    seen.append(watch.is_changed())
    file.write_text("abcde!")
    seen += [watch.is_changed(), watch.is_changed(), watch.is_changed()]
    assert seen == [False, False, False, True, False, False, False, False, True, False]
