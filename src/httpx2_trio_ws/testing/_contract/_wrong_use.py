"""Wrong use: refused with a built-in exception, before anything is sent, and the session goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from httpx2_trio_ws.testing._frames import Opcode

from ._registry import add
from ._stage import equal, raises, stage, that

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._registry import SessionMaker

_CALLS: dict[str, tuple[type[Exception], Callable[[Any], Awaitable[object]]]] = {
    "a_message_that_is_a_number": (TypeError, lambda ws: ws.send(5)),
    "a_message_that_is_none": (TypeError, lambda ws: ws.send(None)),
    "a_message_that_is_a_list": (TypeError, lambda ws: ws.send([b"x"])),
    "text_that_is_not_utf8": (UnicodeDecodeError, lambda ws: ws.send_text(b"\xff")),
    "text_as_bytes": (TypeError, lambda ws: ws.send_bytes("x")),
    "text_with_a_lone_surrogate": (UnicodeEncodeError, lambda ws: ws.send("\ud800")),
    "what_json_cannot_express": (TypeError, lambda ws: ws.send_json(object())),
    "an_unknown_mode_of_json": (ValueError, lambda ws: ws.send_json({}, mode="bytes")),
    "a_ping_payload_that_is_text": (TypeError, lambda ws: ws.ping("x")),
    "a_ping_payload_that_is_too_long": (ValueError, lambda ws: ws.ping(bytes(126))),
    "a_pong_payload_that_is_text": (TypeError, lambda ws: ws.pong("x")),
    "a_pong_payload_that_is_too_long": (ValueError, lambda ws: ws.pong(bytes(126))),
    "a_close_code_that_is_text": (TypeError, lambda ws: ws.close("1000")),
    "a_close_code_that_is_a_bool": (TypeError, lambda ws: ws.close(True)),  # noqa: FBT003 (the wrong use itself)
    "a_close_reason_that_is_bytes": (TypeError, lambda ws: ws.close(1000, b"x")),
    "a_close_reason_that_is_too_long": (ValueError, lambda ws: ws.close(1000, "x" * 124)),
}


def _is_refused(
    kind: type[Exception], call: Callable[[Any], Awaitable[object]]
) -> Callable[[SessionMaker], Awaitable[None]]:
    async def function(maker: SessionMaker) -> None:
        async with stage(maker) as (ws, peer):
            with raises(kind) as raised:
                await call(ws)
            that(str(raised.error), f"{raised.error!r} says nothing")
            that(not ws.closed, "the session was closed by wrong use")
            await ws.send("next")
            equal(await peer.receive_frame(), (Opcode.TEXT, b"next", True, False), "the next frame")

    return function


for _name, (_kind, _call) in _CALLS.items():
    add(f"{_name}_is_refused", __name__, _is_refused(_kind, _call))
