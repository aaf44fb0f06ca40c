"""Plays a scenario to the connection and to the plain reference, and tells all that can be seen of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from websockets.exceptions import InvalidState, ProtocolError

from httpx2_trio_ws._protocol import BINARY, TEXT, Connection

from ._reference import Reference, Sent, unmask

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.extensions.permessage_deflate import PerMessageDeflate

    from ._strategies import Action, Deflate, Scenario


# How many control frames one call answers, a close frame for a failure included, and the size of such an answer.
MOST_FRAMES, MOST_CONTROL = 257, 6 + 125


class Outcome(NamedTuple):
    """All that can be seen of a connection from outside."""

    messages: list[tuple[type, str | bytes]]
    pongs: list[bytes]
    peer_close: tuple[int, str] | None
    failure: tuple[int, str] | None
    is_open: bool
    sent: list[Sent]
    refused: list[type[Exception]]


def extension(deflate: Deflate | None) -> PerMessageDeflate | None:
    return None if deflate is None else deflate.extension()


def typed(messages: list[str | bytes]) -> list[tuple[type, str | bytes]]:
    """Messages with their types, for ``bytearray(b"") == b""``."""
    return [(type(message), message) for message in messages]


def run_connection(scenario: Scenario, connection_type: type[Connection] = Connection) -> Outcome:
    connection = connection_type(max_message_size=scenario.limit, deflate=extension(scenario.deflate))
    messages: list[str | bytes] = []
    sent: list[bytes] = []
    refused: list[type[Exception]] = []
    asked = 0

    def receive(data: bytes) -> None:
        nonlocal asked
        most = scenario.max_messages[asked % len(scenario.max_messages)]
        asked += 1
        unread = len(connection._rest) - connection._pos + len(data)
        got = connection.receive_data(data, most)
        assert len(got) <= most
        if scenario.limit is not None:
            assert_bounded(connection, scenario.limit, got, unread)
        messages.extend(got)
        sent.append(connection.control_to_send())
        assert len(sent[-1]) <= MOST_FRAMES * MOST_CONTROL

    for number, chunk in enumerate(scenario.chunks):
        receive(chunk)
        while connection.has_input:
            receive(b"")
        for action in scenario.actions:
            if action.after == number:
                act(lambda a: send(connection, a), action, sent, refused)
    if connection.failure is not None or connection.peer_close is not None:
        assert_deaf(connection)
    if scenario.eof:
        connection.receive_eof()
        sent.append(connection.control_to_send())
    close, failure = connection.peer_close, connection.failure
    return Outcome(
        messages=typed(messages),
        pongs=connection.pongs,
        peer_close=None if close is None else (int(close.code), close.reason),
        failure=None if failure is None else (failure.code, failure.reason),
        is_open=connection.is_open,
        sent=unmask(b"".join(sent)),
        refused=refused,
    )


def assert_bounded(connection: Connection, limit: int, got: list[str | bytes], unread: int) -> None:
    """No more has been made of ``unread`` bytes than one call may, and no more of them is kept than need be."""
    sizes = [len(message.encode() if isinstance(message, str) else message) for message in got]
    assert all(size <= limit for size in sizes)
    # What was there of a message before, one more frame after the last that was taken, and what is inflated.
    assert sum(sizes) <= unread + 2 * limit + 2**20
    if not connection.has_input:
        assert len(connection._rest) < 10 + 125, "of a control frame, or of a header"
    if connection.failure is None:
        assert connection._message is None or connection._message.size <= limit
        assert len(connection._protocol.reader.buffer) <= 10 + max(limit, 125)


def assert_deaf(connection: Connection) -> None:
    """The peer has failed or closed: nothing is received any more."""
    ended, pongs = (connection.failure, connection.peer_close), len(connection.pongs)
    assert connection.receive_data(b"\x81\x01a\x89\x00\x8a\x00\x88\x02\x03\xe8") == []
    assert connection.control_to_send() == b""
    assert (connection.failure, connection.peer_close) == ended
    assert len(connection.pongs) == pongs
    assert not connection.has_input


def run_reference(scenario: Scenario) -> tuple[Outcome, set[str]]:
    reference = Reference(limit=scenario.limit, deflate=extension(scenario.deflate))
    sent: list[bytes] = []
    refused: list[type[Exception]] = []
    for number, chunk in enumerate(scenario.chunks):
        reference.receive(chunk)
        sent.append(reference.sent())
        for action in scenario.actions:
            if action.after == number:
                act(lambda a: send_reference(reference, a), action, sent, refused)
    if scenario.eof:
        reference.receive_eof()
        sent.append(reference.sent())
    outcome = Outcome(
        messages=typed(reference.messages),
        pongs=reference.pongs,
        peer_close=reference.peer_close,
        failure=reference.failure,
        is_open=reference.is_open,
        sent=unmask(b"".join(sent)),
        refused=refused,
    )
    return outcome, reference.labels


def act(do: Callable[[Action], bytes], action: Action, sent: list[bytes], refused: list[type[Exception]]) -> None:
    try:
        sent.append(do(action))
    except (InvalidState, ProtocolError) as exc:
        refused.append(type(exc))


def send(connection: Connection, action: Action) -> bytes:
    if action.kind == "ping":
        return connection.ping(action.payload)
    if action.kind == "pong":
        return connection.pong(action.payload)
    if action.kind == "close":
        return connection.close(action.code, action.payload.decode())
    if not connection.is_open:  # encode() leaves that to its caller
        raise InvalidState
    return connection.encode(action.payload, TEXT if action.kind == "text" else BINARY)


def send_reference(reference: Reference, action: Action) -> bytes:
    protocol = reference.protocol
    if action.kind == "close":
        protocol.send_close(action.code, action.payload.decode())
    else:
        getattr(protocol, f"send_{action.kind}")(action.payload)
    return reference.sent()


def assert_failure_is_told(outcome: Outcome, scenario: Scenario) -> None:
    """One close frame goes out, with the code of the failure if it is not our own ``close()``."""
    if outcome.failure is None:
        return
    assert outcome.peer_close is None
    assert not outcome.is_open
    closes = [frame.payload for frame in outcome.sent if frame.first == 0x88]
    assert len(closes) == 1
    if all(action.kind != "close" for action in scenario.actions):
        assert int.from_bytes(closes[0][:2]) == outcome.failure[0]
