"""The control socket: whoever connects, and whatever becomes of an order, the next one is answered."""

from __future__ import annotations

import errno
import socket
import time
from concurrent.futures import Future

import pytest

from pipeline.control import server as server_module
from pipeline.control.protocol import Answer, Request, decode_answer, encode, read_line, socket_path
from pipeline.control.server import ControlServer


def done(text: str | Exception) -> Future[str]:
    result: Future[str] = Future()
    result.set_exception(text) if isinstance(text, Exception) else result.set_result(text)
    return result


@pytest.fixture
def folder(tmp_path):
    handlers = {"reset": lambda _: done("it is reset"), "reload": lambda _: done(ZeroDivisionError("nobody foresaw"))}
    with ControlServer(tmp_path, handlers):
        yield tmp_path


def connected(folder) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10.0)
    with socket_path(folder) as name:
        client.connect(name)
    return client


def ask(folder, order: str) -> Answer:
    with connected(folder) as client:
        client.sendall(encode(Request(order)))
        return decode_answer(read_line(client, 10.0))


def test_an_order_that_fails_in_a_way_nobody_foresaw_does_not_end_the_next(folder):
    assert ask(folder, "reload") == Answer(ok=False, text="nobody foresaw")
    assert ask(folder, "reset") == Answer(ok=True, text="it is reset")


def test_whoever_drips_holds_up_nobody_for_longer_than_one_patience(folder, monkeypatch):
    monkeypatch.setattr(server_module, "_PATIENCE_S", 0.2)
    with connected(folder) as dripping:
        dripping.sendall(b"{")
        begun_s = time.monotonic()
        assert ask(folder, "reset").ok
        assert time.monotonic() - begun_s < 5.0
        assert decode_answer(read_line(dripping, 10.0)) == Answer(ok=False, text="no whole line came within 0 s")


def test_a_want_of_descriptors_passes(tmp_path, monkeypatch):
    refusals = iter([OSError(errno.EMFILE, "Too many open files")] * 2)
    accept = socket.socket.accept

    def refuse(each: socket.socket):
        if (error := next(refusals, None)) is not None:
            raise error
        return accept(each)

    monkeypatch.setattr(server_module, "_BREATH_S", 0.01)
    monkeypatch.setattr(socket.socket, "accept", refuse)
    with ControlServer(tmp_path, {"reset": lambda _: done("it is reset")}):
        assert ask(tmp_path, "reset").ok
