"""The log: JSON lines that a program can read, limited in number, without a secret."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import threading
import warnings
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.log import log_to_stderr, tell
from pipeline.cli.writer import LineWriter
from pipeline.config.load import load_config
from pipeline.operations.json_log import JsonFormatter
from pipeline.operations.rate_limit import RateLimit
from pipeline.redaction import Secrets, credentials_of, redact

SECRET = "Kanari+Vogel"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch) -> None:
    monkeypatch.delenv("VIDPIPE_LOG_LEVEL", raising=False)


def entries(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def record(**fields: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "a", "msg": "it failed", **fields})


@given(st.text(), st.text(), st.integers(0, 2**31))
def test_any_text_becomes_one_line_of_json(message, stream, created):
    line = JsonFormatter().format(record(msg=message, stream=stream, created=float(created), levelname="WARNING"))
    assert len(line.splitlines()) == 1 or "\n" not in line
    entry = json.loads(line)
    assert entry["message"] == message
    assert entry.get("stream", "") == stream
    assert entry["level"] == "warning"
    told = datetime.fromisoformat(entry["time"].replace("Z", "+00:00"))
    assert told == datetime.fromtimestamp(created, timezone.utc)


def test_what_is_logged_goes_out_as_json_with_its_fields_and_without_secrets(capsys):
    log_to_stderr("info", Secrets((SECRET,)), as_json=True)
    log = logging.getLogger("camera")
    reason = f"rtsp://u:{SECRET}@h"
    log.warning("lost %s", reason, extra={"stream": "front", "state": "backoff", "reason": SECRET, "epoch": 3})
    log.debug("not asked for")
    try:
        raise OSError(f"no route with {SECRET}")
    except OSError:
        log.exception("again")
    text = capsys.readouterr().err
    assert SECRET not in text
    first, second = entries(text)
    assert first.pop("time").endswith("Z")
    fields = {"stream": "front", "state": "backoff", "reason": "***", "epoch": 3}
    assert first == {"level": "warning", "logger": "camera", "message": "lost rtsp://***@h", **fields}
    assert second["traceback"].endswith("OSError: no route with ***")


def test_errors_of_a_user_are_told_in_the_format_of_the_log(capsys):
    log_to_stderr()
    tell("the file is missing")
    log_to_stderr(as_json=True)
    tell("the file is missing")
    plain, line = capsys.readouterr().err.splitlines()
    assert plain == "vidpipe: the file is missing"
    assert json.loads(line)["message"] == "the file is missing"


def test_a_crash_of_a_thread_is_logged_without_secrets(capsys):
    log_to_stderr(secrets=Secrets((SECRET,)), as_json=True)

    def fail() -> None:
        raise ValueError(f"cannot open {SECRET}")

    thread = threading.Thread(target=fail, name="journal")
    thread.start()
    thread.join()
    (entry,) = entries(capsys.readouterr().err)
    assert "journal" in entry["message"]
    assert entry["level"] == "critical"
    assert "ValueError: cannot open ***" in entry["traceback"]


def test_a_fault_while_something_is_freed_is_logged_without_secrets(capsys):
    log_to_stderr(secrets=Secrets((SECRET,)), as_json=True)

    class Source:
        def __del__(self) -> None:
            raise ValueError(f"cannot close {SECRET}")

    del (source := [Source()])[:]
    (entry,) = entries(capsys.readouterr().err)
    assert entry["level"] == "error"
    assert "ValueError: cannot close ***" in entry["traceback"]
    assert not source


def test_a_log_goes_to_what_is_stderr_at_the_time_and_a_closed_one_harms_nobody(monkeypatch, capsys):
    log_to_stderr()
    closed = io.StringIO()
    closed.close()
    with monkeypatch.context() as context:
        context.setattr("sys.stderr", closed)
        logging.getLogger("camera").warning("lost")
    logging.getLogger("camera").warning("found")
    assert capsys.readouterr().err == "vidpipe: found\n"


def test_a_warning_does_not_wait_for_a_stderr_that_nobody_reads(capfd):
    writer = LineWriter(2)
    log_to_stderr(writer=writer)
    warnings.showwarning("too hot", UserWarning, "engine.py", 3)
    writer.close()
    assert "engine.py:3: UserWarning: too hot" in capfd.readouterr().err


def test_plain_lines_leave_out_what_the_screen_shows(capsys):
    narration = logging.getLogger("pipeline.operations.narration")
    for as_json, narrate in ((False, False), (False, True), (True, False)):
        log_to_stderr(as_json=as_json, narrate=narrate)
        narration.warning("a: backoff")
    plain, line = capsys.readouterr().err.splitlines()
    assert plain == "vidpipe: a: backoff"
    assert json.loads(line)["message"] == "a: backoff"


def test_the_environment_is_stronger_than_the_file_unless_it_is_nonsense(monkeypatch):
    for said, level in (("debug", logging.DEBUG), ("nonsense", logging.INFO), ("", logging.INFO)):
        monkeypatch.setenv("VIDPIPE_LOG_LEVEL", said)
        log_to_stderr("info")
        assert logging.getLogger().level == level


def test_a_camera_that_fails_for_ever_does_not_fill_the_log():
    clock = Clock()
    limit = RateLimit(burst=3, window_s=60, clock=clock)
    passed = [limit.filter(record(stream="a", state="backoff", msg=f"attempt {k}")) for k in range(1000)]
    assert passed == [True] * 3 + [False] * 997
    assert limit.filter(record(stream="b", state="backoff")), "another stream"
    assert limit.filter(record(stream="a", state="running")), "another state"
    assert limit.filter(record(name="b", stream="a", state="backoff")), "another logger"
    clock.now_s += 60
    later = record(stream="a", state="backoff", msg="attempt %d", args=(1000,))
    assert limit.filter(later)
    assert later.getMessage() == "attempt 1000 (and 997 more like this, not shown)"
    again = record(stream="a", state="backoff", msg="attempt 1001")
    assert limit.filter(again)
    assert again.getMessage() == "attempt 1001"


def test_records_without_a_stream_are_limited_by_their_template():
    limit = RateLimit(burst=2, clock=Clock())
    assert [limit.filter(record(msg="sample %d dropped", args=(k,))) for k in range(4)] == [True, True, False, False]
    assert limit.filter(record(msg="other"))


def test_many_different_records_do_not_grow_the_memory():
    limit = RateLimit(clock=Clock())
    for number in range(20_000):
        assert limit.filter(record(msg=f"{number}"))
    assert len(limit._windows) <= 4096


@given(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=20))
def test_what_a_url_hides_is_known_by_all_its_spellings(password):
    secrets = credentials_of(f"rtsp://admin:Kanari{password}@host/x")
    for spelling in (f"Kanari{password}", *secrets.values):
        assert "Kanari" not in redact(f"said {spelling} to it", secrets)


def test_a_url_without_a_password_hides_nothing():
    assert [credentials_of(u).values for u in ("rtsp://h/x", "rtsp://u@h/x", "/a/file", "0")] == [()] * 4


def test_authorization_headers_are_blanked():
    assert redact("Authorization: Basic YTpi\r\n") == "Authorization: Basic ***\r\n"
    assert redact("authorization:bearer abc.def x") == "authorization:bearer *** x"


def test_a_configuration_knows_its_secrets_and_does_not_show_them(tmp_path):
    path = tmp_path / "vidpipe.yaml"
    path.write_text(
        "cameras:\n  a: {source: 'rtsp://u:${PASS}@h/x'}\n"
        "  b: {source: 'rtsp://u:written-down@h/y'}\n  c: {source: 0}\n"
    )
    config = load_config(path, {"PASS": SECRET})
    assert {SECRET, "written-down"} <= set(config.secrets.values)
    for shown in (repr(config), str(config), config.model_dump_json()):
        assert SECRET not in shown
        assert "written-down" not in shown
    assert load_config(path, {"PASS": SECRET}).cameras == config.cameras


def test_a_log_that_nobody_reads_holds_up_nobody_and_tells_later_what_it_lost():
    out, into = os.pipe()
    writer = LineWriter(into, 40_000, "stderr")
    log_to_stderr("info", writer=writer)
    logger = logging.getLogger("somebody")
    for number in range(300):
        logger.info(f"{number} " + "x" * 4000)  # far more than a pipe holds
    tell("so it ended")
    assert writer.lost > 200
    lines: list[str] = []
    with os.fdopen(out) as read:
        while not writer._lines.empty():
            lines.append(read.readline())
        reader = threading.Thread(target=lambda: lines.extend(read))
        reader.start()
        logger.warning("and on it goes")
        writer.close()
        os.close(into)
        reader.join()
    assert lines[-1] == "vidpipe: and on it goes\n"
    told = [int(line.split()[1]) for line in lines if "of the log were lost" in line]
    assert sum(told) == writer.lost


def test_a_reader_of_the_log_who_leaves_ends_nothing():
    out, into = os.pipe()
    os.close(out)
    writer = LineWriter(into, 40_000, "stderr")
    log_to_stderr("info", writer=writer)
    for _ in range(20):
        logging.getLogger("somebody").info("x")
        writer._thread.join(0.01)
    assert not writer._thread.is_alive()
    os.close(into)


def test_a_full_disk_loses_lines_and_not_those_after_it(monkeypatch):
    out, into = os.pipe()
    faults = iter([OSError(errno.ENOSPC, "No space left on device"), BlockingIOError()])
    write = os.write

    def refuse(fd: int, data: bytes) -> int:
        if fd == into and (fault := next(faults, None)) is not None:
            raise fault
        return write(fd, data)

    monkeypatch.setattr(os, "write", refuse)
    writer = LineWriter(into)
    for line in ("lost", "late", "last"):
        writer.write(line)
    writer.close()
    os.close(into)
    with os.fdopen(out) as read:
        assert read.read() == "late\nlast\n"
    assert writer.lost == 1


def test_passwords_before_a_reload_stay_secrets_after_it():
    both = Secrets(("old one",)).also(Secrets(("new one", "old one")))
    assert both.values == ("old one", "new one")
    assert redact("from old one to new one", both) == "from *** to ***"
