"""Flow control, and bounds on what a server makes us do and keep."""

from __future__ import annotations

import time

import pytest

from httpx2_trio_ws._http2 import ErrorCode, Failed

from .wire import (
    CONTINUATION,
    DATA,
    HEADERS,
    PING,
    RST,
    WINDOW,
    Client,
    Data,
    answer,
    data,
    frame,
    goaway,
    rst,
    settings,
    window,
)


def test_a_stream_alone_uses_the_whole_window() -> None:
    client = Client(1)
    [stream] = client.streams
    assert client.connection.send(stream, bytes(100_000)) == 65535
    assert [len(payload) for _, _, _, payload in client.written()] == [16384, 16384, 16384, 16383]
    assert client.connection.send(stream, b"x") == 0
    client.receive(window(1, 10))
    assert client.connection.send(stream, b"x") == 0
    client.receive(window(0, 5))
    assert client.connection.send(stream, b"x" * 20) == 0, "not in bits"
    client.receive(window(0, 5))
    assert client.connection.send(stream, b"x" * 10) == 10


def test_a_window_may_become_negative() -> None:
    client = Client(1)
    [stream] = client.streams
    client.connection.send(stream, bytes(1000))
    client.receive(settings((4, 500)))
    assert client.connection.room(stream) == -500
    assert client.connection.send(stream, b"x") == 0
    client.receive(window(1, 501))
    assert client.connection.send(stream, b"xy") == 1


def test_larger_frames_if_the_server_takes_them() -> None:
    client = Client(1)
    client.receive(settings((5, 30_000)))
    client.written()
    client.connection.send(client.streams[0], bytes(50_000))
    assert [len(payload) for _, _, _, payload in client.written()] == [30_000, 20_000]


def test_a_turn_is_64_kib() -> None:
    client = Client(1)
    client.receive(settings((4, 2**20)), window(0, 2**20))
    client.connection.take_output()
    stream = client.streams[0]
    assert client.connection.send(stream, bytes(2**20)) == 65536
    assert client.connection.is_backed_up
    assert client.connection.send(stream, b"x") == 0
    client.connection.take_output()
    assert client.connection.send(stream, b"x") == 1


def test_a_stream_that_is_not_read_leaves_half_of_the_connection() -> None:
    client = Client(3)
    one, two, three = client.streams
    sent = 0
    while count := client.connection.send(one, bytes(65536)):
        sent += count
        client.connection.take_output()
    assert 32768 <= sent <= 65535 // 2 + 1024 + 2048
    sent = 0
    while count := client.connection.send(two, bytes(65536)):
        sent += count
        client.connection.take_output()
    assert 10_000 < sent < 20_000
    assert client.connection.room(three) > 5_000


def test_what_one_has_half_used_is_handed_back() -> None:
    """A server that waits until half of its window is used sees that, though others keep some of it."""
    client = Client(2)
    one, _ = client.streams
    for _ in range(20):
        sent = 0
        while count := client.connection.send(one, bytes(65536)):
            sent += count
            client.connection.take_output()
        assert sent >= 65536 // 2
        client.receive(window(0, sent), window(1, sent))


def test_the_window_is_handed_back_as_data_is_taken() -> None:
    client = Client(2, answered=True)
    stream, _ = client.streams
    client.receive(*[data(1, bytes(10_000))] * 6)
    assert client.written() == [], "the connection's is large"
    client.connection.credit(stream, 30_000)
    assert client.written() == []
    client.connection.credit(stream, 10_000)
    assert client.written() == [(WINDOW, 0, 1, (40_000).to_bytes(4, "big"))]
    client.receive(*[data(1, bytes(10_000))] * 4)
    assert 1 in client.connection.streams


def test_a_stream_that_is_alone_and_takes_what_it_is_sent_has_a_larger_window() -> None:
    client = Client(1, answered=True)
    [stream] = client.streams
    client.receive(*[data(1, bytes(16_000))] * 4)
    client.connection.credit(stream, 32_767)
    assert client.written() == [], "not yet"
    client.connection.credit(stream, 64_000 - 32_767)
    assert client.written() == [(WINDOW, 0, 1, (2**20 - 65_536 + 64_000).to_bytes(4, "big"))]
    assert stream.receivable == 2**20


def test_it_is_smaller_again_with_others_beside_it() -> None:
    client = Client(1, answered=True)
    [stream] = client.streams
    client.receive(*[data(1, bytes(16_000))] * 4)
    client.connection.credit(stream, 64_000)
    client.written()
    client.connection.open_stream([(b":path", b"/")], None)
    client.written()
    taken = 0
    while not client.written():
        assert taken < 2**20, "the server has never to wait for ever"
        client.receive(data(1, bytes(16_000)))
        assert not client.connection.credit(stream, 16_000) or stream.receivable == 65_536
        taken += 16_000
    assert stream.window == stream.receivable == 65_536
    client.receive(*[data(1, bytes(16_000))] * 4)
    client.connection.credit(stream, 64_000)
    assert client.written() == [(WINDOW, 0, 1, (64_000).to_bytes(4, "big"))]


def test_the_connections_window_is_handed_back_at_once() -> None:
    client = Client(1, answered=True, connection_window=70_000)
    client.receive(*[data(1, bytes(16_000))] * 3)
    assert client.written() == [(WINDOW, 0, 0, (48_000).to_bytes(4, "big"))]


def test_also_for_streams_that_are_no_more() -> None:
    client = Client(1, answered=True, connection_window=70_000)
    client.connection.reset(client.streams[0], ErrorCode.CANCEL)
    client.connection.reset(client.streams[0], ErrorCode.CANCEL)
    client.receive(*[data(1, bytes(16_000))] * 3)
    assert [kind for kind, *_ in client.written()] == [RST, WINDOW]


def test_more_than_the_connections_window() -> None:
    client = Client(2, answered=True, connection_window=65535, stream_window=2**20)
    client.connection._low = -1  # nothing is handed back
    events = client.receive(*[data(1, bytes(16_384))] * 4)
    assert isinstance(events[-1], Failed)
    assert str(events[-1].error) == "more data than the connection's window (FLOW_CONTROL_ERROR)"


def test_padding_counts_and_is_handed_back() -> None:
    client = Client(2, answered=True)
    client.receive(*[data(1, b"\xff" + b"x" + bytes(255), 8)] * 128)
    client.connection.credit(client.streams[0], 1)
    assert client.written() == [(WINDOW, 0, 1, (256 * 128).to_bytes(4, "big"))]


def test_nothing_is_handed_back_once_the_server_has_ended() -> None:
    client = Client(1, answered=True)
    client.receive(*[data(1, bytes(16_384))] * 3, data(1, b"", 1))
    client.connection.credit(client.streams[0], 49_152)
    assert client.written() == []


def test_nothing_is_sent_on_a_stream_that_is_no_more() -> None:
    client = Client(1)
    client.receive(rst(1, 8))
    assert client.connection.send(client.streams[0], b"x") == 0
    client.connection.reset(client.streams[0], ErrorCode.CANCEL)
    assert client.written() == []


def test_many_changes_of_windows_look_at_each_stream_only_if_one_is_near_the_limit() -> None:
    client = Client(200)
    client.receive(window(1, 2**31 - 1 - 65535))
    assert client.connection._least_sent < 0
    client.receive(rst(1, 8), settings((4, 65536)), settings((4, 100)))
    assert client.connection.failed is None
    assert client.connection._least_sent == 0


# -- floods ----------------------------------------------------------------------------------------

FLOODS = {
    "PING": frame(PING, 0, 0, bytes(8)),
    "answers to PING": frame(PING, 1, 0, bytes(8)),
    "SETTINGS": settings(),
    "windows in SETTINGS": settings((4, 65535), (4, 1)),
    "acknowledgements": frame(4, 1),
    "empty DATA": data(1, b""),
    "padding": data(1, b"\0", 8),
    "empty DATA of no stream": data(5, b""),
    "RST_STREAM": rst(5, 8),
    "windows": window(1, 1),
    "windows of the connection": window(0, 1),
    "GOAWAY": goaway(2**31 - 1),
    "unknown frames": frame(77, 0, 0, b"x"),
    "priorities": frame(2, 0, 1, bytes(5)),
    "interim answers": answer(3, status=b"103"),
    "headers of no stream": answer(5),
}


def flooded() -> Client:
    client = Client(3)
    client.receive(answer(1), rst(5, 8))
    client.connection.take_output()
    return client


@pytest.mark.parametrize("name", FLOODS)
def test_flood(name: str) -> None:
    client = flooded()
    began = time.thread_time()
    count = 0
    while client.connection.failed is None:
        client.receive(FLOODS[name] * 1000)
        client.connection.take_output()
        count += 1
    took = time.thread_time() - began
    assert client.connection.failed.code is ErrorCode.ENHANCE_YOUR_CALM
    assert count in (10, 11)
    assert took < 2


@pytest.mark.parametrize("name", FLOODS)
def test_the_same_at_its_leisure(name: str) -> None:
    client = flooded()
    for _ in range(20):
        client.now += 1
        client.receive(FLOODS[name] * 999)
        client.connection.take_output()
    assert client.connection.failed is None


def test_a_flood_of_continuations() -> None:
    client = flooded()
    client.receive(frame(HEADERS, 0, 3, b""), frame(CONTINUATION, 0, 3, b"") * 20_000)
    assert client.connection.failed is not None
    assert client.connection.failed.code is ErrorCode.ENHANCE_YOUR_CALM


def test_what_our_frames_ask_for_is_no_flood() -> None:
    client = Client(1)
    [stream] = client.streams
    for _ in range(15_000):
        assert client.connection.send(stream, b"x") == 1
        client.receive(window(1, 1), window(0, 1), frame(PING, 0, 0, bytes(8)))
        client.connection.take_output()
    assert client.connection.failed is None


def test_a_server_that_asks_for_answers_and_reads_none() -> None:
    client = Client()
    for _ in range(70):
        client.now += 1
        client.receive(frame(PING, 0, 0, bytes(8)) * 900)
        assert client.connection.output_size < 2**20 + 20_000
    assert client.connection.failed is not None
    assert client.connection.failed.code is ErrorCode.ENHANCE_YOUR_CALM


def test_what_we_open_does_not_count_as_answers() -> None:
    client = Client()
    client.receive(settings((3, 2**31 - 1)))
    for number in range(4000):
        client.connection.open_stream([(b":path", b"/%d" % number + b"x" * 400)], None)
    assert client.connection.output_size > 2**20
    client.receive(frame(PING, 0, 0, bytes(8)))
    assert client.connection.failed is None


def test_little_is_kept_of_a_frame_that_goes_on() -> None:
    client = Client(1, answered=True)
    sent = data(1, bytes(16_384))
    began = time.thread_time()
    for at in range(len(sent) - 1):
        assert client.receive(sent[at : at + 1]) == []
    assert len(client.connection._buffer) == len(sent) - 1
    assert client.receive(sent[-1:]) == [Data(client.streams[0], bytes(16_384))]
    assert len(client.connection._buffer) == 0
    assert time.thread_time() - began < 1


def test_a_header_bomb_of_references() -> None:
    """One long header in the table, and a block of nothing but references to it."""
    client = Client(2)
    long = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"y" * 4000
    client.receive(frame(HEADERS, 4, 1, b"\x88" + long))
    began = time.thread_time()
    client.receive(frame(HEADERS, 4, 3, b"\x88" + b"\xbe" * 16_000))
    assert time.thread_time() - began < 0.5
    assert client.connection.failed is not None
    assert client.connection.failed.code is ErrorCode.ENHANCE_YOUR_CALM


def test_a_block_of_size_updates() -> None:
    client = Client(1)
    began = time.thread_time()
    client.receive(frame(HEADERS, 0, 1, b"\x20" * 16_384), *[frame(CONTINUATION, 0, 1, b"\x20" * 16_384)] * 8)
    assert time.thread_time() - began < 0.5
    assert client.connection.failed is not None


def test_frames_of_data_may_be_small() -> None:
    client = Client(1, answered=True)
    for _ in range(30):
        client.receive(frame(DATA, 0, 1, b"x") * 1000)
        client.connection.credit(client.streams[0], 1000)
    assert client.connection.failed is None
