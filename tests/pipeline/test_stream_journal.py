"""The journal on its own: found again after restarts, bounded, and never in the way when its disk is."""

import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from engines.errors import StreamError
from pipeline.stream.archive import Archive, Limits
from pipeline.stream.journal import Journal
from pipeline.stream.journal_file import JournalFile, Row
from pipeline.stream.journal_search import OLDEST, Lost, Question, Size
from pipeline.stream.rate_limit import RateLimit
from pipeline.stream.replay import ReplayDesk
from pipeline.stream.replay_protocol import (
    LastRequest,
    RangeAnswer,
    RangeRequest,
    Refusal,
    decode_answer,
    decode_request,
    encode,
)

NOW_NS = 10**18
ALL = Size(1000, 1 << 20)


def row(seq: int, epoch: int = 1, camera: str = "a", kind: str = "clip", at_s: float = 0.0, size: int = 100) -> Row:
    return Row(camera, kind, epoch, seq, NOW_NS + round(at_s * 1e9), bytes([seq % 256]) * size)


OPENED: list[Archive] = []


def archive(folder: Path, epoch: int = 1, now_s: float = 0.0, **limits: float) -> Archive:
    OPENED.append(Archive(folder / "journal.sqlite", epoch, Limits(**limits), lambda: NOW_NS + round(now_s * 1e9)))
    return OPENED[-1]


@pytest.fixture(autouse=True)
def all_files_closed():
    yield
    while OPENED:
        OPENED.pop()._drop_file()


def seqs(found) -> list[tuple[int, int]]:
    return [row.position for row in found.rows]


def test_what_was_kept_is_found_again_by_the_next_publisher_and_the_one_after(tmp_path):
    first = archive(tmp_path)
    for seq in (1, 2, 4):
        first.take(row(seq))
    first.close()
    second = archive(tmp_path, epoch=2)
    second.take(row(1, epoch=2))
    second.flush(1.0)
    second._drop_file()  # killed
    third = archive(tmp_path, epoch=3)
    found = third.find(Question("a", "clip", (1, 1), (3, 0)), ALL)
    assert seqs(found) == [(1, 2), (1, 4), (2, 1)]
    assert found.lost == [Lost(1, 3, 3, "missing"), Lost(2, 2, 1, "unknown", open_end=True)]
    assert seqs(third.find(Question("a", "clip", OLDEST), ALL)) == [(1, 1), (1, 2), (1, 4), (2, 1)]
    third.close()
    assert (tmp_path / "journal.sqlite").stat().st_mode & 0o077 == 0


def test_what_is_too_old_is_forgotten_and_said_to_be_expired(tmp_path):
    first = archive(tmp_path, max_age_s=60)
    for seq in range(1, 11):
        first.take(row(seq, at_s=10 * seq))
    first.flush(0.0)
    first.close()
    later = archive(tmp_path, epoch=2, now_s=120.0, max_age_s=60)
    later.flush(0.0)
    found = later.find(Question("a", "clip", (1, 2), (1, 8)), ALL)
    assert seqs(found) == [(1, 6), (1, 7), (1, 8)]
    assert found.lost == [Lost(1, 3, 5, "expired")]
    later.close()


def test_the_file_stays_as_large_as_it_may_be_and_keeps_as_much_as_it_may(tmp_path):
    kept = archive(tmp_path, max_mb=1, memory_bytes=10_000_000, written_bytes=10_000)
    for seq in range(1, 20_001):
        kept.take(row(seq, size=500))
        if seq % 200 == 0 and not 6000 < seq < 12_000:  # the disk was away, and much comes at once
            kept.flush(0.0)
    found = kept.find(Question("a", "clip", (1, 0), (1, 20_000)), Size(1, 1))
    assert found.lost[0].reason == "expired"
    assert kept.find(Question("a", "clip", (1, 19_000), (1, 20_000)), ALL).lost == []
    kept.close()
    assert 700_000 < (tmp_path / "journal.sqlite").stat().st_size < 1_300_000


def test_what_the_file_has_does_not_fill_the_memory(tmp_path):
    kept = archive(tmp_path, memory_bytes=100_000, written_bytes=10_000)
    for seq in range(1, 201):
        kept.take(row(seq, size=300))
    assert len(kept._memory.between("a", "clip", OLDEST, (2, 0))) == 200
    kept.flush(0.0)
    left = kept._memory.between("a", "clip", OLDEST, (2, 0))
    assert 15 <= len(left) <= 20
    assert (left[-1].seq, kept.unwritten, kept.lost) == (200, 0, 0)
    assert seqs(kept.find(Question("a", "clip", OLDEST), ALL)) == [(1, seq) for seq in range(1, 201)]
    kept.close()


def test_of_statuses_only_the_last_is_kept(tmp_path):
    kept = archive(tmp_path)
    for seq in range(1, 50):
        kept.take(row(seq, kind="status"))
        kept.flush(0.0)
    assert kept.newest()["a", "status"].seq == 49
    kept.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        assert database.execute("SELECT count(*), max(seq) FROM message").fetchone() == (1, 49)
    database.close()
    again = archive(tmp_path, epoch=2)
    again.flush(0.0)
    assert again.newest()["a", "status"].seq == 49
    again.close()


def test_a_message_whose_bytes_changed_on_disk_is_lost_and_not_given_out(tmp_path):
    first = archive(tmp_path)
    for seq in (1, 2, 3):
        first.take(row(seq))
    first.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        database.execute("UPDATE message SET body = ? WHERE seq = 2", (b"x" * 100,))
    database.close()
    found = archive(tmp_path, epoch=2).find(Question("a", "clip", (1, 0), (1, 3)), ALL)
    assert seqs(found) == [(1, 1), (1, 3)]
    assert found.lost == [Lost(1, 2, 2, "missing")]


@pytest.mark.parametrize("at", [0, 20, 60, 4096, 4200])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path, caplog, at):
    path = tmp_path / "journal.sqlite"
    first = archive(tmp_path)
    for seq in range(1, 100):
        first.take(row(seq))
    first.close()
    content = bytearray(path.read_bytes())
    content[at : at + 200] = b"\xff" * 200
    path.write_bytes(content)
    second = archive(tmp_path, epoch=2)
    for now_s in (0.0, 2.0, 4.0):
        second.take(row(1 + int(now_s), epoch=2))
        second.flush(now_s)
        try:
            second.find(Question("a", "clip", (1, 0), (2, 1)), ALL)
        except StreamError:
            continue
    assert second.alarm == ""
    assert second.unwritten == 0
    assert (2, 1) in seqs(second.find(Question("a", "clip", (1, 0), (2, 1)), ALL))
    second.close()


def test_junk_instead_of_a_file_costs_the_old_messages_and_no_new_one(tmp_path, caplog):
    (tmp_path / "journal.sqlite").write_bytes(b"no database at all" * 1000)
    kept = archive(tmp_path)
    kept.take(row(1))
    kept.flush(0.0)
    assert "damaged and was set aside" in kept.alarm
    assert seqs(kept.find(Question("a", "clip", (1, 0), (1, 1)), ALL)) == [(1, 1)]
    kept.flush(5.0)
    assert (kept.alarm, kept.unwritten) == ("", 0)
    kept.close()
    assert (tmp_path / "damaged-journal.sqlite").read_bytes().startswith(b"no database")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte, whose `ro` can be switched."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_full_disk_is_an_alarm_messages_are_replayed_all_the_same_and_it_heals(small_disk, caplog):
    ballast = small_disk / "ballast"
    kept = archive(small_disk)
    kept.flush(0.0)
    ballast.write_bytes(b"x" * 700_000)
    for seq in range(1, 1001):
        kept.take(row(seq, size=1000))
        kept.flush(2.0 * seq)
    assert "full" in kept.alarm
    assert len(kept.find(Question("a", "clip", (1, 0), (1, 1000)), Size(1000, 2 << 20)).rows) == 1000
    with pytest.raises(OSError, match="No space"):
        (small_disk / "more").write_bytes(b"x" * 1_000_000)
    ballast.unlink()
    (small_disk / "more").unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    kept.flush(10_000.0)
    assert (kept.alarm, kept.unwritten, kept.lost) == ("", 0, 0)
    kept.close()
    with JournalFile(small_disk / "journal.sqlite", 2)._db as database:
        assert database.execute("SELECT count(*) FROM message").fetchone() == (1000,)
    database.close()


def test_a_disk_that_became_read_only_is_an_alarm_and_heals(small_disk, caplog):
    kept = archive(small_disk)
    kept.take(row(1))
    kept.flush(0.0)
    kept._drop_file()  # a remount needs that nobody writes
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for seq in range(2, 8):
        kept.take(row(seq))
        kept.flush(2.0 * seq)
    assert "cannot be used" in kept.alarm
    assert len(kept.find(Question("a", "clip", (1, 0), (1, 7)), ALL).rows) == 7
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    kept.flush(100.0)
    assert (kept.alarm, kept.unwritten) == ("", 0)
    kept.close()


def test_the_thread_writes_what_is_recorded_and_stops_when_told(tmp_path):
    with Journal(tmp_path / "journal.sqlite", 1) as journal:
        for seq in range(1, 301):
            journal.record("a", "clip", 1, seq, time.time_ns(), b"x" * 500)
        assert journal.alarm == ""
    journal.close()
    assert (journal.backlog, journal.lost) == (0, 0)
    assert "journal" not in [thread.name for thread in threading.enumerate()]
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        assert database.execute("SELECT count(*) FROM message").fetchone() == (300,)
        assert database.execute("SELECT ended FROM epoch").fetchone() == (1,)
    database.close()


def test_a_journal_that_cannot_keep_up_drops_and_counts_and_never_makes_the_publisher_wait(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite", 1)
    journal._take = lambda: None  # the thread takes nothing any more
    try:
        for seq in range(1, 60):
            journal.record(*row(seq, size=1 << 20))
        assert journal.lost == 59 - 33
        assert "26 messages were not kept" in journal.alarm
    finally:
        del journal._take
        journal.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        assert database.execute("SELECT ended FROM epoch").fetchone() == (0,), "its end is not known"
    database.close()


def test_a_journal_that_was_killed_left_no_descriptor_behind(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for epoch in range(1, 6):
        with Journal(tmp_path / "journal.sqlite", epoch) as journal:
            journal.record(*row(1, epoch=epoch))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# --- who may ask, and how much


def desk(folder: Path, allowed=lambda user, camera: True, **size: int) -> ReplayDesk:
    kept = archive(folder)
    for camera in ("a", "b"):
        for seq in range(1, 11):
            kept.take(row(seq, camera=camera))
    return ReplayDesk(kept, allowed, Size(**size) if size else None)


def ask(desk: ReplayDesk, request, user: str | None = None, now_s: float = 0.0, as_json: bool = False):
    frames = desk.answer(encode(request, as_json=as_json), "client", user, now_s)
    assert (frames[0][:1] == b"{") == as_json
    return decode_answer(frames[0]), frames[1:]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_long_answer_comes_in_parts(tmp_path, as_json):
    clerk = desk(tmp_path, messages=4)
    place, bodies = (1, 2), []
    for _ in range(3):
        request = RangeRequest(id=5, camera="a", kind="clip", after=place, through=(1, 9))
        answer, part = ask(clerk, request, as_json=as_json)
        assert isinstance(answer, RangeAnswer)
        bodies += part
        place = answer.through
        if not answer.more:
            break
    assert place == (1, 9)
    assert bodies == [row(seq).body for seq in range(3, 10)]


def test_the_last_values_come_in_parts_of_the_allowed_cameras(tmp_path):
    clerk = desk(tmp_path, lambda user, camera: (user, camera) != ("eve", "b"), messages=1)
    answer, bodies = ask(clerk, LastRequest(id=1))
    assert (bodies, answer.next) == ([row(10).body], "a/clip")
    answer, bodies = ask(clerk, LastRequest(id=2, after=answer.next))
    assert (bodies, answer.next) == ([row(10, camera="b").body], "")
    answer, bodies = ask(clerk, LastRequest(id=3), user="eve")
    assert (len(bodies), answer.next) == (1, "")
    assert ask(clerk, LastRequest(id=4, kinds=("event",)))[1] == []
    assert ask(clerk, LastRequest(id=5, cameras=["b"]))[1] == [row(10, camera="b").body]


def test_who_may_not_see_a_camera_gets_nothing_of_it(tmp_path):
    clerk = desk(tmp_path, lambda user, camera: (user, camera) == ("alice", "a"))
    assert len(ask(clerk, RangeRequest(id=1, camera="a", kind="clip", after=(1, 0)), user="alice")[1]) == 10
    for user, camera in (("alice", "b"), ("eve", "a"), (None, "a")):
        answer, bodies = ask(clerk, RangeRequest(id=1, camera=camera, kind="clip", after=(1, 0)), user=user)
        assert isinstance(answer, Refusal)
        assert bodies == []
        assert answer.retry_after_s == 0


def test_who_asks_too_often_is_told_to_wait_and_then_served(tmp_path):
    clerk = desk(tmp_path)
    request = RangeRequest(id=7, camera="a", kind="clip", after=(1, 0))
    kinds = [type(ask(clerk, request)[0]) for _ in range(600)]
    assert 400 < kinds.count(RangeAnswer) <= 500
    refusal = ask(clerk, request)[0]
    assert refusal.busy
    assert 0 < refusal.retry_after_s < 1
    assert isinstance(ask(clerk, request, now_s=refusal.retry_after_s + 0.01)[0], RangeAnswer)
    other = clerk.answer(encode(request), "another", None, 0.0)
    assert isinstance(decode_answer(other[0]), RangeAnswer)
    assert clerk.early >= 100


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xc1",
        b'{"request":"range"}',
        b'{"request":"drop"}',
        b'{"request":"range","id":1,"camera":"../x","kind":"clip","after":[1,2]}',
        b'{"request":"range","id":1,"camera":"a","kind":"clip","after":[1,9223372036854775808]}',
        b'{"request":"range","id":-1,"camera":"a","kind":"clip","after":[1,2]}',
        b'{"request":"last","id":1,"kinds":[]}',
        b'{"request":"last","id":1,"cameras":["\xff"]}',
        b"[" * 100_000,
        b"{" * 200_000,
    ],
)
def test_a_broken_request_is_refused_in_one_sentence(tmp_path, body):
    with pytest.raises(StreamError, match="request"):
        decode_request(body)
    answer = decode_answer(desk(tmp_path).answer(body, "client", None, 0.0)[0])
    assert isinstance(answer, Refusal)
    assert "request" in answer.reason


def test_what_lies_ahead_of_the_publisher_is_worth_asking_again(tmp_path):
    answer, _ = ask(desk(tmp_path), RangeRequest(id=1, camera="a", kind="clip", after=(1, 3), through=(2, 0)))
    assert isinstance(answer, Refusal)
    assert answer.retry_after_s > 0
    answer, _ = ask(desk(tmp_path), RangeRequest(id=1, camera="a", kind="status", after=(1, 3)))
    assert "only the last" in answer.reason


def test_a_limit_is_dealt_out_among_those_who_ask():
    limit = RateLimit(100.0, 1000.0)
    spent = {}
    for name in map(str, range(50)):
        spent[name] = 0
        while limit.wait_s("key", name, 0.0) == 0:
            limit.charge("key", name, 1.0, 0.0)
            spent[name] += 1
    assert max(spent.values()) == 250, "a quarter of it at most"
    assert min(spent.values()) == 20, "and with fifty of them a fiftieth, although all others asked before"
    assert limit.wait_s("key", "49", 0.0) == pytest.approx(0.5)
    assert limit.wait_s("other", "49", 0.0) == 0, "another key has a limit of its own"
    assert limit.wait_s("key", "49", 20.0) == 0
    assert limit.wait_s("key", "new", 20.0) == 0
    for _ in range(250):
        limit.charge("key", "new", 1.0, 20.0)
    assert limit.wait_s("key", "new", 20.0) == pytest.approx(0.04), "who is quiet leaves its part to the others"


def test_of_many_clients_the_oldest_are_forgotten():
    limit = RateLimit(1.0, 10.0)
    for number in range(3000):
        limit.charge("key", str(number), 1.0, 0.0)
        limit.charge(str(number), "one", 1.0, 0.0)
    assert len(limit._groups) == 1024
    assert len(limit._groups["key"]) == 1024
    limit.charge("key", "2999", 1.0, 11.0)
    assert len(limit._groups["key"]) == 1, "and all that are quiet"


def test_a_question_about_a_few_messages_does_not_look_at_all_that_are_kept(tmp_path):
    kept = archive(tmp_path, epoch=3)
    for epoch, last in ((1, 50), (2, 4000), (3, 4000)):
        for seq in range(1, last + 1):
            kept.take(row(seq, epoch, size=1))
    kept.flush(time.monotonic())
    file = kept._opened()
    steps: list[None] = []
    file._db.set_progress_handler(lambda: steps.append(None), 100)
    assert file.last_of_epochs("a", "clip", 1, 9) == {1: 50, 2: 4000, 3: 4000}
    assert file.last_of_epochs("a", "clip", 2, 2) == {2: 4000}
    assert file.last_of_epochs("a", "clip", 4, 9) == file.last_of_epochs("b", "clip", 0, 9) == {}
    assert len(steps) < 50, "thousands of instructions are a look at each message"
