"""What a person may type that is no message: commands, which begin with a slash."""

from __future__ import annotations

import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import trio

from httpx2_trio_ws import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpx2_trio_ws import PongWaiter, WebSocketSession

    from .screen import Screen
    from .sources import Message

HINT = "Each line is a message; a pasted block is one. Ctrl-D ends the session; /help lists what else can be typed."
HINT_PLAIN = "Each line is a message. Ctrl-D ends the session; /help lists what else can be typed."


class Command(NamedTuple):
    """One of them.

    Attributes:
        arguments: what may follow its name.
        what: what it does.
    """

    arguments: str
    what: str


COMMANDS = {
    "/help": Command("", "this list"),
    "/text": Command("TEXT|@FILE", "send a text message, also from a file"),
    "/json": Command("JSON|@FILE", "send it if it is JSON; alone: lay out what arrives, or leave it as it came"),
    "/binary": Command("HEX|@FILE", "send a binary message, such as /binary 00 ff or /binary @image.png"),
    "/ping": Command("[TEXT]", "send a ping and print its round trip"),
    "/pong": Command("[TEXT]", "send a pong, which nothing answers"),
    "/stats": Command("", "what the session has sent and received"),
    "/close": Command("[CODE [REASON]]", "close the session, with 1000 or another code"),
}
# A file is read so many bytes at a time.
_PIECE = 65536
CLOSE_CODES = [CloseCode(code) for code in (1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 1013)]


class WrongCommand(Exception):
    """It cannot be done; says what can."""


@dataclass
class Commands:
    """The commands in one session.

    Args:
        ws: the session.
        screen: where answers are printed.
        nursery: for what takes its time.
    """

    ws: WebSocketSession
    screen: Screen
    nursery: trio.Nursery

    def __post_init__(self) -> None:
        self._since = trio.current_time()

    async def send(self, text: Message) -> None:
        """Send what was typed, or do what it says.

        Raises:
            WebSocketException: the session has ended.
        """
        assert isinstance(text, str)
        name, _, rest = text.partition(" ")
        if not text.startswith("/") or "\n" in name:
            await self.ws.send_text(text)
        elif text.startswith("//"):
            await self.ws.send_text(text[1:])
        else:
            try:
                await self._do(name, rest.strip())
            except WrongCommand as exc:
                self.screen.note(str(exc))

    async def _do(self, name: str, rest: str) -> None:
        actions: dict[str, Callable[[str], Awaitable[None]]] = {
            "/help": self._help,
            "/text": self._text,
            "/json": self._json,
            "/binary": self._binary,
            "/ping": self._ping,
            "/pong": self._pong,
            "/stats": self._stats,
            "/close": self._close,
        }
        if name not in actions:
            raise WrongCommand(f"there is no {name}; /help lists what there is. To send it as it is: /{name}")
        await actions[name](rest)

    # -- messages ----------------------------------------------------------------------------------

    async def _text(self, rest: str) -> None:
        try:
            text = (await _file(rest)).decode() if rest.startswith("@") else rest
        except UnicodeDecodeError:
            raise WrongCommand(f"not sent: {rest[1:]} is not UTF-8; /binary sends it as it is") from None
        await self.ws.send_text(text)

    async def _json(self, rest: str) -> None:
        if not rest:
            laid_out = self.screen.toggle_json()
            self.screen.note("JSON is laid out" if laid_out else "JSON is printed as it comes")
            return
        try:
            text = (await _file(rest)).decode() if rest.startswith("@") else rest
            json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise WrongCommand(f"not sent: it is no JSON: {exc}") from None
        await self.ws.send_text(text)

    async def _binary(self, rest: str) -> None:
        if rest.startswith("@"):
            await self._binary_file(await trio.Path(rest[1:].strip()).expanduser())
            return
        try:
            data = bytes.fromhex(re.sub(r"0x|[:,_]", " ", rest))
        except (ValueError, binascii.Error):
            raise WrongCommand("not sent: /binary wants pairs of hexadecimal digits, or @FILE") from None
        await self.ws.send_bytes(data)

    async def _binary_file(self, path: trio.Path) -> None:
        """Send a file of any size. If it cannot be read to its end, the session is closed."""
        try:
            async with await path.open("rb") as file:
                progress = self.screen.progress("sent", (await path.stat()).st_size)
                async with self.ws.send_stream("binary") as message:
                    try:
                        while piece := await file.read(_PIECE):
                            await message.send(piece)
                            progress.add(len(piece))
                    finally:
                        progress.end()
        except OSError as exc:
            raise WrongCommand(f"not sent: {path}: {exc.strerror or exc}") from None

    # -- the session -------------------------------------------------------------------------------

    async def _help(self, _: str) -> None:
        calls = {f"{name} {command.arguments}": command.what for name, command in COMMANDS.items()}
        width = max(map(len, calls))
        lines = [f"{call:<{width}}  {what}" for call, what in calls.items()]
        self.screen.note("\n".join([*lines, f"{'//TEXT':<{width}}  send /TEXT, which is no command"]))

    async def _ping(self, rest: str) -> None:
        try:
            self.nursery.start_soon(self._show_pong, await self.ws.ping(rest.encode()))
        except ValueError as exc:  # too long, or one like it is on its way
            raise WrongCommand(f"not sent: {exc}") from None

    async def _pong(self, rest: str) -> None:
        try:
            await self.ws.pong(rest.encode())
        except ValueError as exc:
            raise WrongCommand(f"not sent: {exc}") from None

    async def _show_pong(self, waiter: PongWaiter) -> None:
        self.screen.note(f"pong: time={await waiter * 1000:.3f} ms")

    async def _stats(self, _: str) -> None:
        stats = self.ws.statistics()
        latency = "unknown" if stats.latency is None else f"{stats.latency * 1000:.3f} ms"
        self.screen.note(
            f"open for {trio.current_time() - self._since:.1f} s; last round trip of a ping: {latency}\n"
            f"sent:     {stats.messages_sent} messages, {stats.pings_sent} pings, {stats.bytes_sent} bytes\n"
            f"received: {stats.messages_received} messages, {stats.pings_received} pings, {stats.bytes_received} bytes"
        )

    async def _close(self, rest: str) -> None:
        code, _, reason = rest.partition(" ")
        if code and not code.isdecimal():
            raise WrongCommand("/close wants a code, such as 1000 or 4000, before a reason")
        try:
            await self.ws.close(int(code or 1000), reason.strip())
        except (ValueError, TypeError) as exc:
            raise WrongCommand(str(exc)) from None


async def _file(argument: str) -> bytes:
    path = await trio.Path(argument[1:].strip()).expanduser()
    try:
        return await path.read_bytes()
    except OSError as exc:
        raise WrongCommand(f"not sent: {path}: {exc.strerror or exc}") from None
