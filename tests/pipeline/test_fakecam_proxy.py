"""The TCP fault proxy between a client and an echoing server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from numbered import numbered_media, numbers
from rtsp_client import RtspClient
from scripted_server import ScriptedServer

from engines.errors import ConfigError, SourceError
from pipeline.fakecam import FakeCamera
from pipeline.fakecam.proxy import FaultProxy
from pipeline.fakecam.proxy_faults import Bandwidth, Blackhole, Cut, Garble, Latency, LinkFault, Refuse, Slice

QUIET_S = 0.1


def echo(connection: socket.socket, ended: threading.Event) -> None:
    connection.settimeout(10)
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.sendall(b"bye")


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    before = set(threading.enumerate())
    with ScriptedServer(echo) as server, FaultProxy("127.0.0.1", server.port) as proxy:
        yield proxy
        proxy.stop()
    assert [thread.name for thread in threading.enumerate() if thread not in before] == []


def connected(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 10)


def received(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = client.recv(65536)
        assert piece, f"hung up after {len(data)} bytes"
        data += piece
    return data


def quiet(client: socket.socket) -> bool:
    client.settimeout(QUIET_S)
    try:
        client.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        client.settimeout(10)
    return False


def test_passes_everything_and_the_end_of_each_side(proxy: FaultProxy) -> None:
    data = bytes(range(256)) * 4000
    with connected(proxy) as client:
        sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert received(client, len(data) + 3) == data + b"bye"
        assert client.recv(1) == b""
        sender.join()
    assert proxy.wait_for(lambda seen: seen.open == 0)
    seen = proxy.counters
    assert (seen.connections, seen.up_bytes, seen.down_bytes, seen.cut) == (1, len(data), len(data) + 3, 0)


def test_latency_delays_and_keeps_the_order(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        proxy.inject(Latency(0.1, jitter_s=0.05), "up")
        began = time.monotonic()
        for number in range(20):
            client.sendall(bytes([number]))
        assert received(client, 20) == bytes(range(20))
        assert time.monotonic() - began >= 0.1


def test_bandwidth_is_bounded(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        proxy.inject(Bandwidth(100_000), "down")
        began = time.monotonic()
        client.sendall(b"x" * 20_000)
        received(client, 20_000)
        assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_half_open_link_holds_back_and_delivers_later(proxy: FaultProxy, direction: str) -> None:
    with connected(proxy) as client:
        client.sendall(b"a")
        assert received(client, 1) == b"a"
        proxy.inject(Blackhole(), direction)
        client.sendall(b"b")
        client.shutdown(socket.SHUT_WR)
        assert quiet(client)
        assert proxy.counters.up_bytes == (2 if direction == "down" else 1)
        assert proxy.clear(Blackhole) == 1
        assert received(client, 4) == b"bbye"


def test_new_connections_are_refused_at_the_same_port(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        client.sendall(b"a")
        received(client, 1)
        proxy.inject(Refuse())
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)
        client.sendall(b"b")
        assert received(client, 1) == b"b"
        proxy.clear()
        with connected(proxy) as again:
            again.sendall(b"c")
            assert received(again, 1) == b"c"


@pytest.mark.parametrize("how", ["reset", "close"])
def test_connections_are_cut_at_once(proxy: FaultProxy, how: str) -> None:
    with connected(proxy) as client:
        client.sendall(b"a")
        received(client, 1)
        proxy.inject(Cut(how=how))
        if how == "reset":
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        else:
            assert client.recv(1) == b""
    assert proxy.wait_for(lambda seen: (seen.cut, seen.open) == (1, 0))
    with connected(proxy) as again:
        again.sendall(b"c")
        assert received(again, 1) == b"c"


def test_connection_is_cut_after_so_many_bytes(proxy: FaultProxy) -> None:
    with connected(proxy) as early:
        early.sendall(b"12345")
        received(early, 5)
        proxy.inject(Cut(7, "close"), "down")
        with connected(proxy) as late:
            for client in (early, late):
                client.sendall(b"x" * 10)
                assert received(client, 7) == b"x" * 7
                assert client.recv(1) == b""


def test_writes_are_sliced(proxy: FaultProxy) -> None:
    proxy.inject(Slice(3, pause_s=60.0))
    with connected(proxy) as client:
        client.sendall(bytes(range(30)))
        assert client.recv(65536) == bytes(range(3))
        proxy.clear()
    proxy.inject(Slice(1000, pause_s=0))
    with connected(proxy) as client:
        client.sendall(bytes(10_000))
        assert received(client, 10_000) == bytes(10_000)


def test_bytes_are_changed_by_seed(proxy: FaultProxy) -> None:
    def sent(fault: LinkFault) -> bytes:
        proxy.inject(fault, "up")
        with connected(proxy) as client:
            client.sendall(bytes(4000))
            return received(client, 4000)

    one, again, other, all_of_them = (sent(Garble(*values)) for values in ((0.01, 1), (0.01, 1), (0.01, 2), (1.0,)))
    assert one == again != other
    assert 10 <= sum(map(bool, one)) <= 90
    assert all(all_of_them)


def test_fault_ends_by_itself(proxy: FaultProxy) -> None:
    proxy.inject(Blackhole(), for_s=0.1)
    began = time.monotonic()
    with connected(proxy) as client:
        client.sendall(b"a")
        assert received(client, 1) == b"a"
    assert time.monotonic() - began >= 0.1
    proxy.inject(Cut(), for_s=60)
    with pytest.raises(ConnectionResetError), connected(proxy) as client:
        client.recv(1)


def test_server_that_is_away_ends_the_client() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with FaultProxy("127.0.0.1", port) as proxy, connected(proxy) as client:
            assert client.recv(1) == b""
            assert proxy.counters.unreachable == 1


def test_stops_in_any_state_and_starts_on_its_port(proxy: FaultProxy) -> None:
    clients = [connected(proxy) for _ in range(3)]
    proxy.inject(Blackhole())
    clients[0].sendall(b"a")
    port = proxy.port
    proxy.stop()
    proxy.start()
    assert proxy.port == port
    with connected(proxy) as client:
        client.sendall(b"a")
        assert received(client, 1) == b"a"
    for client in clients:
        client.close()


def test_camera_behind_a_proxy() -> None:
    with (
        FakeCamera(numbered_media(rate=200.0), start="on_connect") as camera,
        FaultProxy("127.0.0.1", camera.port) as proxy,
        RtspClient(f"rtsp://{proxy.address}/camera0") as client,
    ):
        client.play()
        seen = client.pictures(5)
        proxy.inject(Blackhole(), "down", for_s=0.2)
        seen += client.pictures(60)
    assert numbers(seen) == list(range(65))


def test_mistakes_are_told(proxy: FaultProxy) -> None:
    with pytest.raises(ConfigError, match="the fault bandwidth cannot be had so"):
        proxy.inject(Bandwidth(0))
    with pytest.raises(SourceError, match="choose another port"):
        FaultProxy("127.0.0.1", 1, port=proxy.port).start()
    proxy.stop()
    with pytest.raises(SourceError, match="not running"):
        proxy.inject(Blackhole())
