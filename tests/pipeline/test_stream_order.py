"""The order of a stream where answers are late, broken or refused; and the journal's last word on an epoch."""

import sqlite3
from contextlib import closing
from pathlib import Path

from stream_world import FailingArchive, clip_of, event_of

from pipeline.stream.archive import Limits
from pipeline.stream.continuity import Gap, StreamOrder
from pipeline.stream.journal_file import Row
from pipeline.stream.journal_search import Lost, Question, Size
from pipeline.stream.replay_protocol import LostSpan, RangeAnswer, Refusal


def order_with_hole(until: int) -> StreamOrder:
    """Message 1 and message `until` were heard, and none between them."""
    order = StreamOrder(["event"], timeout_s=2.0)
    for seq in (1, until):
        order.hear(event_of("a", 1, seq), 0.0)
    return order


def gap(first: int, last: int, reason: str) -> Gap:
    return Gap("a", "event", 1, first, last, reason)


def taken(order: StreamOrder) -> list[int | Gap]:
    """What came out: the numbers of messages, and gaps."""
    items = [item if isinstance(item, Gap) else item.seq for item in order.out]
    order.out.clear()
    return items


def test_a_message_that_came_broken_in_an_answer_is_told():
    order = order_with_hole(6)
    (request,) = order.requests(0.0)
    order.answer(RangeAnswer(id=request.id, through=(1, 5)), [event_of("a", 1, seq) for seq in (2, 4)], 0.1)
    assert taken(order) == [1, 2, gap(3, 3, "missing"), 4, gap(5, 5, "missing"), 6]


def test_what_was_heard_meanwhile_is_given_though_an_answer_calls_it_lost():
    order = order_with_hole(6)
    (request,) = order.requests(0.0)
    order.hear(event_of("a", 1, 3), 0.1)
    lost = LostSpan(epoch=1, first_seq=2, last_seq=5, reason="missing")
    order.answer(RangeAnswer(id=request.id, through=(1, 5), lost=[lost]), [], 0.2)
    assert taken(order) == [1, gap(2, 2, "missing"), 3]
    (again,) = order.requests(0.2)
    assert (again.after, again.through) == ((1, 3), (1, 5))


def test_a_publisher_that_is_busy_is_waited_for_and_one_that_is_silent_is_not():
    order = order_with_hole(3)
    for now_s in range(10):
        (request,) = order.requests(now_s)
        order.answer(Refusal(id=request.id, reason="too many requests", retry_after_s=1.0, busy=True), [], now_s)
        order.expire(now_s + 0.9)
    assert taken(order) == [1]
    order.expire(11.9)
    assert taken(order) == []
    order.expire(12.0)
    assert taken(order) == [gap(2, 2, "no answer"), 3]


def test_an_old_publisher_is_not_believed_even_of_a_kind_that_was_not_heard_yet():
    order = StreamOrder(["clip", "event"])
    order.hear(clip_of("a", 2, 7), 0.0)
    order.hear(event_of("a", 1, 9), 0.0)
    order.hear(event_of("a", 2, 4), 0.0)
    assert [(item.epoch, item.seq) for item in order.out] == [(2, 7), (2, 4)]
    assert order.stale == 1


def test_the_next_subscriber_wants_all_of_a_new_publisher_also_of_a_kind_that_the_last_one_never_heard():
    order = StreamOrder(["clip", "event"], after={("a", "clip"): (1, 3)})
    order.hear(event_of("a", 2, 3), 0.0)
    (request,) = order.requests(0.0)
    assert (request.kind, request.after, request.through) == ("event", (2, 0), (2, 2))


def archive_of(folder: Path, epoch: int) -> FailingArchive:
    """With room for few messages in memory."""
    return FailingArchive(folder / "journal.sqlite", epoch, Limits(memory_bytes=10_000), lambda: 1.0)


def test_an_epoch_whose_last_messages_went_out_of_memory_has_no_known_end(tmp_path):
    archive = archive_of(tmp_path, 1)
    archive.full = True
    archive.take(Row("rare", "event", 1, 1, 10**9, b"x"))
    for seq in range(1, 101):
        archive.take(Row("busy", "event", 1, seq, 10**9, b"x"))
    archive.flush(1.0)
    archive.full = False
    archive.close()
    following = archive_of(tmp_path, 2)
    found = following.find(Question("rare", "event", (1, 0), (2, 0)), Size())
    following.close()
    assert archive.lost > 0
    assert found.lost == [Lost(1, 1, 0, "unknown", open_end=True)]


def test_a_last_message_that_rotted_in_the_file_is_told_and_not_passed_over(tmp_path):
    for epoch in (1, 2):
        archive = archive_of(tmp_path, epoch)
        for seq in (1, 2):
            archive.take(Row("a", "event", epoch, seq, 10**9, b"x"))
        archive.close()
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as file, file:
        file.execute("UPDATE message SET body = x'00' WHERE epoch = 2 AND seq = 2")
    following = archive_of(tmp_path, 3)
    following.take(Row("a", "event", 3, 1, 10**9, b"x"))
    found = following.find(Question("a", "event", (1, 2), (3, 1)), Size())
    following.close()
    assert [row.position for row in found.rows] == [(2, 1), (3, 1)]
    assert found.lost == [Lost(2, 2, 2, "missing")]
