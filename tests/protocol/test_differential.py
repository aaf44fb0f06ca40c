"""The connection and a plain reference do the same with whatever a peer may send.

``HYPOTHESIS_EXAMPLES`` in the environment sets how many examples to try.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, event, given, seed, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol

from httpx2_trio_ws._protocol import Connection

from . import _strategies as strategies
from ._compare import act, assert_failure_is_told, extension, run_connection, run_reference, send, send_reference
from ._reference import Reference, unmask

if TYPE_CHECKING:
    from ._strategies import Action, Deflate, Scenario

check = settings(
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


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
    "1009 over size limit ( bytes)",  # when inflated
    "cut short",
    "inflated early",
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


def read_as_server(data: bytes, deflate: Deflate | None, *, whole: bool = True) -> list[tuple[Opcode, bytes]]:
    """What a server makes of what we sent, up to a close frame; ``whole``: each message is one frame."""
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
    assert all(frame.fin for frame in frames) or not whole
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
