"""Answers to those who missed messages: what they may see, as much as is fair, and what is beyond repair."""

from __future__ import annotations

import logging
from collections.abc import Callable

from engines.errors import StreamError
from pipeline.stream.archive import Archive
from pipeline.stream.journal_search import Question, Size
from pipeline.stream.rate_limit import RateLimit
from pipeline.stream.replay_protocol import (
    Answer,
    LastAnswer,
    LastRequest,
    LostSpan,
    RangeAnswer,
    RangeRequest,
    Refusal,
    Request,
    decode_request,
    encode,
    is_json,
)

_log = logging.getLogger(__name__)

_RATE_HZ, _BURST = 400.0, 2000.0  # of a key, or of an address without keys; a connection has a quarter at most
_TOKEN_BYTES = 1 << 16  # what one token pays for beside the question itself
_RETRY_S = 0.5

Allowed = Callable[[str | None, str], bool]
"""Whether a client (its key's name for ZeroMQ, None where there are no keys) may see a camera."""


def everything(_user_id: str | None, _camera: str) -> bool:
    """Where there are no keys, everybody may see every camera."""
    return True


class ReplayDesk:
    """Turns a request into an answer's frames. It never raises over what a client sends."""

    def __init__(self, archive: Archive, allowed: Allowed = everything, size: Size | None = None) -> None:
        self._archive = archive
        self._allowed = allowed
        self._limit = RateLimit(_RATE_HZ, _BURST)
        self._size = size or Size()
        self.early = 0
        """Questions that came before their time, so far."""

    def answer(
        self, body: bytes, client: str | bytes, user_id: str | None, now_s: float, origin: str = ""
    ) -> list[bytes]:
        """The answer to one connection, `client`, of those that use one key, or without keys come from one `origin`."""
        group = user_id or origin
        wait_s = self._limit.wait_s(group, client, now_s)
        try:
            request = decode_request(body)
            if wait_s > 0:
                self.early += 1
                refusal = Refusal(id=request.id, reason="too many requests", retry_after_s=wait_s, busy=True)
                return [encode(refusal, as_json=is_json(body))]
            answer, bodies = self._look_up(request, user_id)
        except StreamError as error:
            self._limit.charge(group, client, 1.0, now_s)
            return [encode(Refusal(id=0, reason=str(error)), as_json=is_json(body))]
        self._limit.charge(group, client, 1.0 + sum(map(len, bodies)) / _TOKEN_BYTES, now_s)
        return [encode(answer, as_json=is_json(body)), *bodies]

    def _look_up(self, request: Request, user_id: str | None) -> tuple[Answer, list[bytes]]:
        if isinstance(request, LastRequest):
            return self._last(request, user_id)
        if not self._allowed(user_id, request.camera):
            return Refusal(id=request.id, reason=f"this key may not see {request.camera}"), []
        if request.kind == "status":
            return Refusal(id=request.id, reason="of status messages only the last is kept"), []
        if request.through is not None and request.through[0] > self._archive.epoch:
            reason = f"epoch {request.through[0]} is not known here yet"
            return Refusal(id=request.id, reason=reason, retry_after_s=_RETRY_S), []
        return self._range(request)

    def _range(self, request: RangeRequest) -> tuple[Answer, list[bytes]]:
        if request.through is not None and request.through <= request.after:
            return RangeAnswer(id=request.id, through=request.after), []
        question = Question(request.camera, request.kind, request.after, request.through)
        try:
            found = self._archive.find(question, self._size)
        except StreamError:
            reason = "the journal cannot be read at the moment"
            return Refusal(id=request.id, reason=reason, retry_after_s=_RETRY_S), []
        lost = [
            LostSpan(
                epoch=span.epoch,
                first_seq=span.first_seq,
                last_seq=span.last_seq,
                reason=span.reason,
                open_end=span.open_end,
            )
            for span in found.lost
        ]
        answer = RangeAnswer(id=request.id, through=found.through, more=found.more, lost=lost)
        return answer, [row.body for row in found.rows]

    def _last(self, request: LastRequest, user_id: str | None) -> tuple[Answer, list[bytes]]:
        wanted = None if request.cameras is None else set(request.cameras)
        bodies: list[bytes] = []
        size = 0
        last = ""
        for (camera, kind), row in sorted(self._archive.newest().items()):
            lane = f"{camera}/{kind}"
            if kind not in request.kinds or (wanted is not None and camera not in wanted) or lane <= request.after:
                continue
            if not self._allowed(user_id, camera):
                continue
            if bodies and (len(bodies) >= self._size.messages or size + len(row.body) > self._size.bytes):
                return LastAnswer(id=request.id, next=last), bodies
            bodies.append(row.body)
            size += len(row.body)
            last = lane
        return LastAnswer(id=request.id), bodies
