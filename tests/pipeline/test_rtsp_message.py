"""RTSP messages survive any cut of the stream, and no bytes break the parser."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import ProtocolError
from pipeline.rtsp.message import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    Headers,
    Interleaved,
    Message,
    MessageParser,
    Request,
    Response,
    format_interleaved,
    format_request,
    format_response,
    parse_head,
)

tokens = st.text("abcdefghijklmnopqrstuvwxyzABC-", min_size=1, max_size=12)
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
bodies = st.binary(max_size=200)
lines = st.lists(st.tuples(tokens.filter(lambda name: name.lower() != "content-length"), values), max_size=4).map(tuple)
requests = st.builds(
    Request, st.sampled_from(["OPTIONS", "SETUP"]), st.just("rtsp://h/p"), st.builds(Headers, lines), bodies
)
responses = st.builds(Response, st.integers(100, 599), st.just("Fine"), st.builds(Headers, lines), bodies)
packets = st.builds(Interleaved, st.integers(0, 255), bodies)


def formatted(message: Message) -> bytes:
    if isinstance(message, Request):
        return format_request(message)
    if isinstance(message, Response):
        return format_response(message)
    return format_interleaved(message.data, message.channel)


def without_length(message: Message) -> Message:
    if isinstance(message, Interleaved):
        return message
    kept = Headers(tuple(line for line in message.headers.lines if line[0] != "Content-Length"))
    if isinstance(message, Request):
        return Request(message.method, message.uri, kept, message.body, message.protocol)
    return Response(message.status, message.reason, kept, message.body, message.protocol)


@given(st.lists(st.one_of(requests, responses, packets), max_size=5), st.lists(st.integers(1, 60), min_size=1))
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(sent: list[Message], cuts: list[int]) -> None:
    stream, parser, found, at = b"".join(formatted(message) for message in sent), MessageParser(), [], 0
    for turn in range(len(stream) + 1):
        size = cuts[turn % len(cuts)]
        found += parser.feed(stream[at : at + size])
        at += size
        if at >= len(stream):
            break
    assert [without_length(message) for message in found] == sent


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_any_bytes_give_messages_or_a_protocol_error(pieces: list[bytes]) -> None:
    parser = MessageParser()
    with contextlib.suppress(ProtocolError):
        for piece in pieces:
            assert all(isinstance(message, Request | Response | Interleaved) for message in parser.feed(piece))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n", "neither an RTSP request"),
        (b"x" * (MAX_HEAD_BYTES + 1), "longer than"),
        (b"RTSP/1.0 200 OK\r\n" + b"A: b\r\n" * 4000 + b"\r\n", "longer than"),
        (b"RTSP/1.0 200 OK\r\nno colon\r\n\r\n", "header line"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", "whole number"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), "more than"),
        (b"RTSP/1.0 20 OK\r\n\r\n", "neither"),
    ],
)
def test_what_is_no_message_is_refused_at_once(data: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        list(MessageParser().feed(data))


def test_headers_compare_without_case_and_repeat() -> None:
    head = parse_head(b"RTSP/1.0 401 Unauthorized\r\nwww-authenticate: a\r\nWWW-Authenticate:  b \r\nCSeq: 3")
    assert isinstance(head, Response)
    assert (head.status, head.reason) == (401, "Unauthorized")
    assert head.headers.all("Www-Authenticate") == ("a", "b")
    assert head.headers.number("cseq") == 3
    assert head.headers.get("Session", "none") == "none"


def test_blank_lines_between_messages_are_passed_over() -> None:
    (message,) = MessageParser().feed(b"\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    assert message == Request("OPTIONS", "*", Headers((("CSeq", "1"),)))
