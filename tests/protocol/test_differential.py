"""The connection and a plain reference do the same with whatever a peer may send.

``HYPOTHESIS_EXAMPLES`` in the environment sets how many examples to try.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import HealthCheck, Phase, event, given, seed, settings
from hypothesis import strategies as st
from websockets.exceptions import InvalidState, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol

from httpx2_trio_ws._protocol import Connection

from . import _strategies as strategies
from ._reference import Reference, Sent, unmask

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._strategies import Action, Deflate, Scenario

check = settings(
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


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


def run_connection(scenario: Scenario) -> Outcome:
    connection = Connection(max_message_size=scenario.limit, deflate=extension(scenario.deflate))
    messages: list[str | bytes] = []
    sent: list[bytes] = []
    refused: list[type[Exception]] = []
    asked = 0

    def receive(data: bytes) -> None:
        nonlocal asked
        most = scenario.max_messages[asked % len(scenario.max_messages)]
        asked += 1
        got = connection.receive_data(data, most)
        assert len(got) == most if connection.has_input else len(got) <= most
        messages.extend(got)
        sent.append(connection.control_to_send())

    for number, chunk in enumerate(scenario.chunks):
        receive(chunk)
        while connection.has_input:
            receive(b"")
        for action in scenario.actions:
            if action.after == number:
                act(lambda a: send(connection, a), action, sent, refused)
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
    return connection.encode(action.payload, text=action.kind == "text")


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


@check
@given(strategies.scenarios())
def test_received_as_by_the_reference(scenario: Scenario) -> None:
    expected, labels = run_reference(scenario)
    for label in sorted(labels):
        event(label)
    outcome = run_connection(scenario)
    assert outcome == expected
    assert_failure_is_told(outcome, scenario)


# The rarest of what the scenarios must come upon, as the reference words it.
DEEP = [
    "opcode 8 inside a message",
    "opcode 9 inside a message",
    "opcode 10 inside a message",
    "final block",
    "text checked early",
    "text checked in a fragment",
    "text checked late",
    "1002 control frame too long",
    "1002 decompression failed",
    "1002 expected a continuation frame",
    "1002 fragmented control frame",
    "1002 incorrect masking",
    "1002 invalid opcode",
    "1002 invalid status code",
    "1002 reserved bits must be ",
    "1002 unexpected continuation frame",
    "1007 close reason is not valid UTF-",
    "1009 frame with  bytes exceeds limit of  bytes",  # as declared
    "1009 frame exceeds limit of  bytes",  # when inflated
    "1009 frame with  bytes after reading  bytes exceeds limit of  bytes",
]


def test_scenarios_go_deep() -> None:
    missing = set(DEEP)

    # Many short rounds: within a round hypothesis likes to vary what it has drawn before.
    @settings(check, max_examples=60, phases=[Phase.generate], database=None)
    @given(strategies.scenarios())
    def look(scenario: Scenario) -> None:
        missing.difference_update(run_reference(scenario)[1])

    for number in range(40):
        if missing:
            seed(number)(look)()
    assert missing == set()


def read_as_server(data: bytes, deflate: Deflate | None) -> list[tuple[Opcode, bytes]]:
    """What a server makes of what we sent, up to a close frame."""
    server = Protocol(SERVER, max_size=None)
    if deflate is not None:
        server.extensions = [
            PerMessageDeflate(
                not deflate.client_takeover, not deflate.server_takeover, deflate.client_bits, deflate.server_bits
            )
        ]
    server.receive_data(data)
    assert server.parser_exc is None
    frames = [item for item in server.events_received() if isinstance(item, Frame)]
    assert all(frame.fin for frame in frames)
    return [(frame.opcode, bytes(frame.data)) for frame in frames]


OPCODES = {"text": Opcode.TEXT, "binary": Opcode.BINARY, "ping": Opcode.PING, "pong": Opcode.PONG}


@check
@given(st.lists(strategies.outgoing(), max_size=12), strategies.deflates())
def test_sent_as_by_the_reference(actions: list[Action], deflate: Deflate | None) -> None:
    connection = Connection(deflate=extension(deflate))
    reference = Reference(limit=None, deflate=extension(deflate))
    sent: list[bytes] = []
    refused: list[type[Exception]] = []
    expected: list[bytes] = []
    expected_refused: list[type[Exception]] = []
    done: list[tuple[Opcode, bytes]] = []
    for action in actions:
        before = len(sent)
        act(lambda a: send(connection, a), action, sent, refused)
        act(lambda a: send_reference(reference, a), action, expected, expected_refused)
        assert connection.is_open == reference.is_open
        if len(sent) > before and not any(opcode is Opcode.CLOSE for opcode, _ in done):
            closing = action.code.to_bytes(2) + action.payload
            done.append((OPCODES.get(action.kind, Opcode.CLOSE), closing if action.kind == "close" else action.payload))
    assert unmask(b"".join(sent)) == unmask(b"".join(expected))
    assert refused == expected_refused
    assert read_as_server(b"".join(sent), deflate) == done
