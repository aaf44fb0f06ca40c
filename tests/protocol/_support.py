"""What the tests that go case by case share."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from httpx2_trio_ws._protocol import Connection

from ._reference import unmask
from ._strategies import FIN, TEXT, Deflate, wire

if TYPE_CHECKING:
    from httpx2_trio_ws._protocol import Message

    from ._reference import Sent


def text(payload: str) -> bytes:
    return wire(FIN | TEXT, payload.encode())


def close_payload(code: int, reason: str = "") -> bytes:
    return struct.pack("!H", code) + reason.encode()


def answers(connection: Connection) -> list[Sent]:
    """What the connection wants to send now."""
    return unmask(connection.control_to_send())


def receive_all(connection: Connection, data: bytes) -> list[Message]:
    """All that comes of ``data``, in as many calls as it takes."""
    messages = connection.receive_data(data)
    while connection.has_input:
        messages += connection.receive_data(b"")
    return messages


def failure_code(connection: Connection) -> int | None:
    return None if connection.failure is None else connection.failure.code


def inflating(limit: int | None = 2**20, deflate: Deflate | None = None) -> Connection:
    """A connection with permessage-deflate."""
    return Connection(max_message_size=limit, deflate=(deflate or Deflate()).extension())
