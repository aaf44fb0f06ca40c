"""A chat in the terminal: two directions at once, lines that are typed to messages, and messages to lines.

Whichever side ends first ends the other: Ctrl-D closes the session, and when the server closes, nobody waits for a line
any more. If the connection is lost, what is typed meanwhile waits for the next one. Messages are JSON,
``{"from": "alice", "text": "hello"}``; the nickname goes into the query, too.

Run it with the URL of a server that hands out what it receives. ``python -m httpx2_trio_ws --serve`` runs one with
which you talk to yourself::

    python examples/chat.py ws://127.0.0.1:8765/echo alice
"""

from __future__ import annotations

import json
import sys
from typing import TextIO

import httpx2
import trio

from httpx2_trio_ws import Backoff, Multiplexer, WebSocketException, WebSocketSession, multiplex, reconnect

ATTEMPTS = 5
BACKOFF = Backoff(max_seconds=10)

Room = Multiplexer[str | bytes]


async def read_line() -> str:
    """The next line of standard input; empty at its end, which is Ctrl-D in a terminal.

    It is read in a thread. With ``abandon_on_cancel``, a cancellation does not wait for the thread, which would be
    until the user presses Enter.
    """
    return await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)


def say(text: str, file: TextIO | None = None) -> None:
    """Print without control characters: other people's text must not act on this terminal."""
    printable = (character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    print("".join(printable), file=file, flush=True)


async def type_lines(room: Room, name: str, both: trio.CancelScope) -> None:
    """Send what is typed, until Ctrl-D."""
    while line := await read_line():
        if text := line.strip():
            await room.send({"from": name, "text": text})
    both.cancel()


async def print_messages(room: Room, both: trio.CancelScope) -> None:
    """Print what arrives, until the server closes. A message that is none of the chat's must not end it."""
    async for message in room:
        try:
            content = json.loads(message)
            say(f"{content['from']}: {content['text']}")
        except (ValueError, LookupError, TypeError):
            say(f"(not a chat message: {message!r})")
    say("The server has closed the chat.")
    both.cancel()


async def chat(client: httpx2.AsyncClient, url: str, name: str) -> None:
    """Take part in a chat until either side ends it."""
    source = reconnect(client, url, params={"name": name}, max_attempts=ATTEMPTS, backoff=BACKOFF)
    async with multiplex(source, receive=WebSocketSession.receive) as room, trio.open_nursery() as nursery:
        say(f"You are {name}. Each line is a message. Ctrl-D leaves.")
        # Two tasks, one for each direction. The first to end cancels both, and then the room's block is left, too.
        nursery.start_soon(type_lines, room, name, nursery.cancel_scope)
        nursery.start_soon(print_messages, room, nursery.cancel_scope)


async def main(url: str, name: str) -> int:
    """Chat, and return the exit code."""
    code = 1
    try:
        async with httpx2.AsyncClient() as client:
            await chat(client, url, name)
        code = 0
    except* (WebSocketException, httpx2.TransportError, ValueError) as group:  # ValueError: the URL is none
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):  # the nursery's is inside that of the room's block
            error = error.exceptions[0]
        say(f"chat: {str(error) or repr(error)}", sys.stderr)
    except* KeyboardInterrupt:
        code = 130  # Ctrl-C
    return code


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: python {sys.argv[0]} URL NAME, such as ws://127.0.0.1:8765/echo alice (see docs/examples.md)")
    sys.exit(trio.run(main, sys.argv[1], sys.argv[2]))
