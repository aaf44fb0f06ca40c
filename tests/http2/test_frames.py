"""What a server may do wrong, and how far that goes: nothing, a stream, or the connection (RFC 9113)."""

from __future__ import annotations

import pytest

from httpx2_trio_ws._http2 import (
    Broken,
    Connection,
    Ended,
    ErrorCode,
    Failed,
    GoAway,
    Headers,
    HTTP2Error,
    PingAnswered,
    Reset,
    SettingsReceived,
    Window,
    error_name,
)

from .wire import (
    ANSWER,
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    PUSH,
    REQUEST,
    RST,
    SETTINGS,
    WINDOW,
    Client,
    Data,
    answer,
    block,
    data,
    frame,
    frames,
    goaway,
    rst,
    settings,
    window,
)

CALM, COMPRESSION, FLOW, PROTOCOL, SIZE = (
    ErrorCode.ENHANCE_YOUR_CALM,
    ErrorCode.COMPRESSION_ERROR,
    ErrorCode.FLOW_CONTROL_ERROR,
    ErrorCode.PROTOCOL_ERROR,
    ErrorCode.FRAME_SIZE_ERROR,
)

# What several of the below say.
PADDING = "padding that is longer than its frame"
UNDECODABLE = "a header block that cannot be decoded"
INTERRUPTED = "a header block that another frame interrupts"
TWICE = "malformed headers: a second answer"
STATUS = "malformed headers: a second, late or invalid :status"
VALUE = "malformed headers: the value of the header b'x'"
INTERIM = "malformed headers: an interim answer that HTTP/2 does not have"

# Each with the code and the words of the failure. Stream 1 is open and answered, stream 3 is open, stream 5 was reset; all others are idle.
FATAL = {
    "a frame that is too long": (frame(DATA, 0, 1, length=16385), SIZE, "a frame of 16385 bytes"),
    "DATA on no stream": (data(0, b"x"), PROTOCOL, "DATA on stream 0, which was never opened"),
    "DATA on an idle stream": (data(7, b"x"), PROTOCOL, "DATA on stream 7, which was never opened"),
    "DATA on a stream of the server's": (data(2, b"x"), PROTOCOL, "DATA on stream 2, which was never opened"),
    "DATA with nothing but a padding that is too long": (data(1, b"\1", 8), PROTOCOL, PADDING),
    "DATA without the length of its padding": (data(1, b"", 8), PROTOCOL, PADDING),
    "DATA with too much padding": (data(1, b"\5abcd", 8), PROTOCOL, PADDING),
    "HEADERS on no stream": (answer(0), PROTOCOL, "HEADERS on stream 0, which was never opened"),
    "HEADERS on an idle stream": (answer(7), PROTOCOL, "HEADERS on stream 7, which was never opened"),
    "HEADERS on a stream of the server's": (answer(2), PROTOCOL, "HEADERS on stream 2, which was never opened"),
    "HEADERS with too much padding": (frame(HEADERS, 12, 3, b"\x09\x88"), PROTOCOL, PADDING),
    "HEADERS too short for a priority": (
        frame(HEADERS, 36, 3, b"\x88"),
        SIZE,
        "a HEADERS frame without the priority that it has",
    ),
    "HEADERS that cannot be decoded": (frame(HEADERS, 4, 3, b"\xff\xff\xff\xff\xff\xff"), COMPRESSION, UNDECODABLE),
    "HEADERS with an index that is nowhere": (frame(HEADERS, 4, 3, b"\xfe"), COMPRESSION, UNDECODABLE),
    "HEADERS that make the table too large": (frame(HEADERS, 4, 3, b"\x3f\xe2\x1f\x88"), COMPRESSION, UNDECODABLE),
    "HEADERS that HEADERS follow": (frame(HEADERS, 0, 3, b"\x88") + answer(3), PROTOCOL, INTERRUPTED),
    "HEADERS that DATA follow": (frame(HEADERS, 0, 3, b"\x88") + data(1, b"x"), PROTOCOL, INTERRUPTED),
    "HEADERS that PING follows": (frame(HEADERS, 0, 3, b"\x88") + frame(PING, 0, 0, bytes(8)), PROTOCOL, INTERRUPTED),
    "HEADERS that what is unknown follows": (frame(HEADERS, 0, 3, b"\x88") + frame(77), PROTOCOL, INTERRUPTED),
    "CONTINUATION of nothing": (frame(CONTINUATION, 4, 1, b"\x88"), PROTOCOL, "a CONTINUATION of nothing"),
    "CONTINUATION of another stream": (
        frame(HEADERS, 0, 3, b"\x88") + frame(CONTINUATION, 4, 1),
        PROTOCOL,
        INTERRUPTED,
    ),
    "a header list of more than 64 KiB": (
        frame(HEADERS, 0, 3, block(*ANSWER, *[(b"x", b"y" * 8000)] * 2))
        + frame(CONTINUATION, 0, 3, block(*[(b"x", b"y" * 8000)] * 2)) * 3
        + frame(CONTINUATION, 4, 3, block((b"x", b"y" * 8000))),
        CALM,
        "a header list of more than 65536 bytes",
    ),
    "a header block of more than 128 KiB": (
        frame(HEADERS, 0, 3, b"\x00" * 16384) + frame(CONTINUATION, 0, 3, b"\x00" * 16384) * 8,
        CALM,
        "a header block of more than 131072 bytes",
    ),
    "PRIORITY of no stream": (frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL, "PRIORITY of no stream"),
    "RST_STREAM of no stream": (rst(0, 8), PROTOCOL, "RST_STREAM on stream 0, which was never opened"),
    "RST_STREAM of an idle stream": (rst(7, 8), PROTOCOL, "RST_STREAM on stream 7, which was never opened"),
    "RST_STREAM of a wrong size": (frame(RST, 0, 1, bytes(5)), SIZE, "a RST_STREAM frame of a size that none has"),
    "SETTINGS of a stream": (frame(SETTINGS, 0, 1), PROTOCOL, "SETTINGS of a stream"),
    "SETTINGS of a wrong size": (frame(SETTINGS, 0, 0, bytes(5)), SIZE, "a SETTINGS frame of a size that none has"),
    "an acknowledgement with settings": (
        frame(SETTINGS, 1, 0, bytes(6)),
        SIZE,
        "an acknowledgement of SETTINGS that says something",
    ),
    "SETTINGS that enable push": (settings((2, 1)), PROTOCOL, "a server that enables push"),
    "SETTINGS with a window too large": (settings((4, 2**31)), FLOW, "a SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1"),
    "SETTINGS with frames too small": (settings((5, 16383)), PROTOCOL, "a SETTINGS_MAX_FRAME_SIZE out of bounds"),
    "SETTINGS with frames too large": (settings((5, 2**24)), PROTOCOL, "a SETTINGS_MAX_FRAME_SIZE out of bounds"),
    "SETTINGS with extended CONNECT of 2": (
        settings((8, 2)),
        PROTOCOL,
        "a SETTINGS_ENABLE_CONNECT_PROTOCOL that is neither 0 nor 1",
    ),
    "SETTINGS that take extended CONNECT back": (
        settings((8, 0)),
        PROTOCOL,
        "a server that takes extended CONNECT back (RFC 8441 §3)",
    ),
    "SETTINGS that make a window too large": (
        window(1, 2**31 - 1 - 65535) + settings((4, 65536)),
        FLOW,
        "a window above 2^31-1",
    ),
    "PUSH_PROMISE": (frame(PUSH, 4, 1, b"\0\0\0\2\x88"), PROTOCOL, "PUSH_PROMISE, though push is disabled"),
    "PING of a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL, "PING of a stream"),
    "PING of a wrong size": (frame(PING, 0, 0, bytes(7)), SIZE, "a PING frame of a size that none has"),
    "GOAWAY of a stream": (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL, "GOAWAY of a stream"),
    "GOAWAY of a wrong size": (frame(GOAWAY, 0, 0, bytes(7)), SIZE, "a GOAWAY frame of a size that none has"),
    "WINDOW_UPDATE of a wrong size": (
        frame(WINDOW, 0, 0, bytes(3)),
        SIZE,
        "a WINDOW_UPDATE frame of a size that none has",
    ),
    "WINDOW_UPDATE of the connection by nothing": (window(0, 0), PROTOCOL, "a WINDOW_UPDATE by nothing"),
    "WINDOW_UPDATE of the connection by too much": (window(0, 2**31 - 1), FLOW, "a window above 2^31-1"),
    "WINDOW_UPDATE of an idle stream": (window(7, 1), PROTOCOL, "WINDOW_UPDATE on stream 7, which was never opened"),
    "WINDOW_UPDATE of a stream of the server's": (
        window(2, 1),
        PROTOCOL,
        "WINDOW_UPDATE on stream 2, which was never opened",
    ),
}


def client() -> Client:
    client = Client(3)
    client.receive(answer(1), rst(5, 8))
    client.connection.take_output()
    return client


@pytest.mark.parametrize("name", FATAL)
@pytest.mark.parametrize("bytewise", [False, True])
def test_fatal(name: str, bytewise: bool) -> None:
    sent, code, text = FATAL[name]
    connection = client()
    events = []
    for part in [sent[i : i + 1] for i in range(len(sent))] if bytewise else [sent]:
        events += connection.receive(part)
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert failed.error is connection.connection.failed
    assert failed.error.code == code
    assert str(failed.error) == f"{text} ({code.name})"
    kind, _, _, payload = connection.written()[-1]
    assert (kind, payload[4:8]) == (GOAWAY, code.to_bytes(4, "big"))
    assert payload[8:].decode() == failed.error.text == text
    assert connection.receive(answer(3)) == []


FIRST = {
    "HTTP/1.1": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "no SETTINGS": frame(PING, 0, 0, bytes(8)),
    "data": data(1, b"x"),
    "an acknowledgement": frame(SETTINGS, 1, 0),
    "GOAWAY": goaway(0, 1),
    "what is unknown": frame(77),
}


@pytest.mark.parametrize("name", FIRST)
def test_what_does_not_begin_as_http2_does(name: str) -> None:
    connection = Client(first=FIRST[name])
    assert connection.connection.failed is not None
    assert connection.connection.failed.code is PROTOCOL


def test_settings_that_are_too_long() -> None:
    connection = Client(first=frame(SETTINGS, 0, 0, length=16386))
    assert connection.connection.failed is not None
    assert connection.connection.failed.code is SIZE


BREAKS = {
    "data before an answer": (3, data(3, b"x"), PROTOCOL, "data before an answer"),
    "data after the end": (1, data(1, b"x", 1) + data(1, b"y"), ErrorCode.STREAM_CLOSED, "data after END_STREAM"),
    "headers after the end": (
        1,
        data(1, b"x", 1) + answer(1, flags=5),
        ErrorCode.STREAM_CLOSED,
        "headers after END_STREAM",
    ),
    "a second answer": (1, answer(1, flags=5), PROTOCOL, TWICE),
    "trailers without the end": (1, frame(HEADERS, 4, 1, block((b"x", b"y"))), PROTOCOL, TWICE),
    "no status": (
        3,
        frame(HEADERS, 4, 3, block((b"x", b"y"))),
        PROTOCOL,
        "malformed headers: an answer without :status",
    ),
    "two statuses": (3, frame(HEADERS, 4, 3, block(*ANSWER, *ANSWER)), PROTOCOL, STATUS),
    "a late status": (3, frame(HEADERS, 4, 3, block((b"x", b"y"), *ANSWER)), PROTOCOL, STATUS),
    "a status of two digits": (3, answer(3, status=b"20"), PROTOCOL, STATUS),
    "a status of letters": (3, answer(3, status=b"2OO"), PROTOCOL, STATUS),
    "another pseudo-header": (3, answer(3, (b":path", b"/")), PROTOCOL, "malformed headers: the header name b':path'"),
    "a name in capitals": (3, answer(3, (b"Server", b"x")), PROTOCOL, "malformed headers: the header name b'Server'"),
    "an empty name": (3, answer(3, (b"", b"x")), PROTOCOL, "malformed headers: the header name b''"),
    "a line break in a value": (3, answer(3, (b"x", b"y\r\nz: 1")), PROTOCOL, VALUE),
    "a NUL in a value": (3, answer(3, (b"x", b"\0")), PROTOCOL, VALUE),
    "white space before a value": (3, answer(3, (b"x", b" y")), PROTOCOL, VALUE),
    "white space after a value": (3, answer(3, (b"x", b"y\t")), PROTOCOL, VALUE),
    "a header of HTTP/1.1": (
        3,
        answer(3, (b"upgrade", b"websocket")),
        PROTOCOL,
        "malformed headers: the header 'upgrade', which HTTP/2 does not have",
    ),
    "a status of 101": (3, answer(3, status=b"101"), PROTOCOL, INTERIM),
    "an interim answer that ends": (3, answer(3, status=b"103", flags=5), PROTOCOL, INTERIM),
    "a PRIORITY of a wrong size": (
        1,
        frame(PRIORITY, 0, 1, bytes(4)),
        SIZE,
        "a PRIORITY frame of a size that none has",
    ),
    "a window opened by nothing": (1, window(1, 0), PROTOCOL, "a WINDOW_UPDATE by nothing"),
    "a window opened by too much": (1, window(1, 2**31 - 1), FLOW, "a window above 2^31-1"),
    "more than the window": (1, data(1, bytes(16384)) * 4 + data(1, b"x"), FLOW, "more data than the stream's window"),
    "more than the window with padding": (
        1,
        data(1, bytes(16384)) * 4 + data(1, b"\0", 8),
        FLOW,
        "more data than the stream's window",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_breaks_one_stream(name: str) -> None:
    stream, sent, code, text = BREAKS[name]
    connection = client()
    events = connection.receive(sent, frame(PING, 0, 0, b"12345678"))
    [broken] = [event for event in events if isinstance(event, Broken)]
    assert broken.stream.id == stream
    assert broken.text == text
    assert broken.stream.forgotten
    assert stream not in connection.connection.streams
    written = connection.written()
    assert (RST, 0, stream, code.to_bytes(4, "big")) in written
    assert written[-1] == (PING, 1, 0, b"12345678")
    assert connection.connection.failed is None


HARMLESS = {
    "an unknown frame": frame(77, 255, 1, b"what?"),
    "an unknown setting": settings((77, 1)),
    "PRIORITY": frame(PRIORITY, 0, 1, bytes(5)),
    "PRIORITY of an idle stream": frame(PRIORITY, 0, 99, bytes(5)),
    "PRIORITY of a wrong size on a stream that is no more": frame(PRIORITY, 0, 5, bytes(4)),
    "an acknowledgement": frame(SETTINGS, 1),
    "an interim answer": answer(3, status=b"103"),
    "nothing at all": data(1, b""),
    "nothing but padding": data(1, b"\3abc", 8),
    "data on a stream that was reset": data(5, b"late"),
    "headers on a stream that was reset": answer(5),
    "a window of a stream that was reset": window(5, 1),
    "a reset of a stream that was reset": rst(5, 1),
    "a reserved bit": data(1 | 2**31, b""),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless(name: str) -> None:
    connection = client()
    assert [event for event in connection.receive(HARMLESS[name]) if not isinstance(event, SettingsReceived)] == []
    assert connection.connection.failed is None


def test_events() -> None:
    connection = Client(2)
    one, two = connection.streams
    assert connection.receive(answer(1, (b"x", b"y"))) == [Headers(one, 200, [(b"x", b"y")], ended=False)]
    assert connection.receive(answer(3, status=b"403", flags=5)) == [Headers(two, 403, [], ended=True), Ended(two)]
    assert connection.receive(window(1, 5), window(0, 200_000), window(0, 5)) == []
    opened = [connection.connection.window_opened]
    while connection.connection.send(one, bytes(65_536)):
        connection.connection.take_output()
    assert connection.receive(data(1, b"\2ab\0\0", 8)) == [Data(one, b"ab")]
    opened.append(connection.connection.window_opened)
    assert connection.receive(window(1, 65_536), window(1, 5)) == [Window(one)]
    assert [*opened, connection.connection.window_opened] == [True, False, True]
    assert connection.receive(data(1, b"c"), window(0, 5), data(1, b"d", 1)) == [Data(one, b"cd"), Ended(one)]
    assert connection.receive(settings((4, 7))) == [SettingsReceived(), Window(None)]
    assert connection.receive(frame(PING, 1, 0, b"87654321")) == [PingAnswered(b"87654321")]
    assert connection.receive(rst(3, 0)) == [Reset(two, 0)]
    assert connection.connection.streams == {1: one}


def test_trailers_end_a_stream() -> None:
    connection = Client(1, answered=True)
    assert connection.receive(frame(HEADERS, 5, 1, block((b"x", b"y")))) == [Ended(connection.streams[0])]


def test_padded_headers_with_a_priority_in_parts() -> None:
    connection = Client(1)
    encoded = block(*ANSWER, (b"x", b"y"))
    sent = frame(HEADERS, 8 | 32, 1, b"\3" + bytes(5) + encoded[:1] + b"pad")
    sent += frame(CONTINUATION, 0, 1, encoded[1:2]) + frame(CONTINUATION, 4, 1, encoded[2:])
    assert connection.receive(sent) == [Headers(connection.streams[0], 200, [(b"x", b"y")], ended=False)]


def test_goaway() -> None:
    connection = Client(3)
    one, two, three = connection.streams
    assert connection.receive(goaway(2**31 - 1, 0, b"soon")) == [GoAway(2**31 - 1, 0, b"soon", [])]
    assert connection.receive(goaway(3, 11)) == [GoAway(3, 11, b"", [three])]
    assert three.forgotten
    assert connection.receive(goaway(2**31 - 1)) == [GoAway(3, 0, b"", [])], "a later one may not say more"
    assert connection.receive(goaway(0)) == [GoAway(0, 0, b"", [one, two])]
    assert connection.connection.streams == {}


def test_what_came_before_the_failure_is_told() -> None:
    connection = Client(1)
    events = connection.receive(answer(1), data(1, b"x"), frame(PUSH, 4, 1), data(1, b"y"))
    assert [type(event) for event in events] == [Headers, Data, Failed]


def test_greeting() -> None:
    connection = Connection(stream_window=100_000, connection_window=70_000)
    output = bytes(connection.take_output())
    assert output.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    sent, opened = frames(output[24:])
    assert sent == (SETTINGS, 0, 0, bytes.fromhex("0002 00000000 0004 000186a0 0006 00010000"))
    assert opened == (WINDOW, 0, 0, (70_000 - 65535).to_bytes(4, "big"))
    assert not connection.output_size
    assert len(frames(bytes(Connection(connection_window=65535).take_output())[24:])) == 1


def test_large_headers_are_sent_in_parts() -> None:
    connection = Client()
    connection.connection.open_stream([*REQUEST, (b"x", bytes(range(128, 256)) * 256)], None)
    kinds = [(kind, flags, len(payload) <= 16384) for kind, flags, _, payload in connection.written()]
    assert len(kinds) > 2
    assert kinds == [(HEADERS, 0, True), *[(CONTINUATION, 0, True)] * (len(kinds) - 2), (CONTINUATION, 4, True)]


def test_credentials_are_never_indexed() -> None:
    connection = Client()
    blocks = []
    for _ in range(2):
        connection.connection.open_stream([*REQUEST, (b"authorization", b"Basic dTpw"), (b"x", b"y" * 40)], None)
        [(_, _, _, sent)] = connection.written()
        blocks.append(sent)
    assert b"\x1f\x08" in blocks[0], "a literal that is never indexed, named by the static table (RFC 7541 §6.2.3)"
    assert b"\x1f\x08" in blocks[1]
    assert len(blocks[1]) < len(blocks[0]) - 40, "other headers are"


def test_the_server_may_shrink_our_table_but_not_make_it_grow() -> None:
    connection = Client(first=settings((1, 2**32 - 1), (8, 1)))
    for number in range(300):
        connection.connection.open_stream([*REQUEST, (b"x", b"%d" % number * 100)], None)
    assert connection.connection._encoder.header_table_size == 4096
    connection.receive(settings((1, 100)))
    assert connection.connection._encoder.header_table_size == 100


def test_names_of_codes() -> None:
    assert error_name(8) == "CANCEL (8)"
    assert error_name(77) == "code 77"
    assert str(HTTP2Error(CALM, "a flood")) == "a flood (ENHANCE_YOUR_CALM)"
