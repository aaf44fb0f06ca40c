"""A session between standard input and standard output."""

from __future__ import annotations

import contextlib
import math
import signal
from functools import partial
from typing import TYPE_CHECKING, cast

import trio

from httpx2_trio_ws import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketNetworkError,
    WebSocketProtocolError,
)

from . import handshake
from .commands import HINT, HINT_PLAIN, Commands
from .opening import CLOSE_SECONDS, opened, url_of, why_ended
from .ping import Pings
from .printing import escape_line
from .reasons import first, reason_of
from .screen import Screen
from .sources import BadInput, Given, Message, Pieces, Source, Typed, piped
from .statuses import CLOSED, CUT_OFF, LOCAL, LOST, OK, Stop
from .streams import STDIN, fill_standard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from httpx2_trio_ws import MessageReader, WebSocketSession

    from .arguments import Options
    from .editor import Editor

_GOOD_CODES = (1000, 1001, 1005)  # 1005: a close frame without a code


def main(options: Options, url: str) -> int:
    """Run a session; return the exit status."""
    fill_standard()
    screen = Screen(output=options.output, plain=options.plain, color=not options.no_color)
    return trio.run(Client(options, url_of(url), screen).run)


class Client:
    """One run of the command."""

    def __init__(self, options: Options, url: str, screen: Screen) -> None:
        self._options = options
        self._url = url
        self._screen = screen
        self._status = OK
        self._typing = screen.typing and not options.execute
        # Answers are counted where the messages are.
        self._count = options.count or (len(options.execute) if options.wait is None else 0) or math.inf
        self._received = 0
        self._input_ended = False
        self._silent = False  # it has been, for as long as --wait says
        self._unread = False
        self._source: Source = Given(options.execute)
        self._listening = trio.CancelScope()
        self._signal: int | None = None
        self._scopes: list[trio.CancelScope] = []

    async def run(self) -> int:
        """Open the session, talk, and close it; return the exit status."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._watch_signals)
            with self._interruptible():
                await self._run_session()
            nursery.cancel_scope.cancel()
        return self._status if self._signal is None else 128 + self._signal

    # -- signals -----------------------------------------------------------------------------------

    async def _watch_signals(self, task_status: trio.TaskStatus[None]) -> None:
        """The first ends the conversation, and the session is closed; the next does not wait for that."""
        # A shell starts what it puts in the background with Ctrl-C ignored.
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        numbers = [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGINT]
        with trio.open_signal_receiver(*numbers) as signals:
            task_status.started()
            async for number in signals:
                self._signal = self._signal or number
                self._scopes[-1].cancel()

    @contextlib.contextmanager
    def _interruptible(self) -> Generator[trio.CancelScope]:
        with trio.CancelScope() as scope:
            self._scopes.append(scope)
            try:
                yield scope
            finally:
                # The outermost stays for a signal that comes when all is over.
                if len(self._scopes) > 1:
                    self._scopes.pop()

    # -- the session -------------------------------------------------------------------------------

    async def _run_session(self) -> None:
        try:
            async with opened(self._options, self._url, self._screen.note) as ws:
                await self._converse(ws)
        except* Stop as group:
            stop = cast("Stop", first(group))
            self._fail(stop.status, str(stop), stop.more)
        except* (WebSocketNetworkError, WebSocketProtocolError):
            pass  # from the block: it came after all that was asked for had been done

    async def _converse(self, ws: WebSocketSession) -> None:
        chosen = "" if ws.subprotocol is None else f", subprotocol {ws.subprotocol}"
        self._say(f"connected to {handshake.elide_query(self._url)}{chosen}")
        talk = self._talk if self._options.ping is None else partial(self._ping, self._options.ping)
        with self._interruptible():
            await talk(ws)
        if not ws.closed:
            await self._close(ws)

    async def _close(self, ws: WebSocketSession) -> None:
        before, begun = ws.statistics(), trio.current_time()
        await ws.close(1000 if self._signal is None else 1001)
        unanswered = ws.close_code == 1006
        self._say("closed; the server did not answer to that" if unanswered else "closed")
        if self._signal is not None or self._status != OK:
            return
        if unanswered and self._source.taken and trio.current_time() - begun >= CLOSE_SECONDS:
            self._cut_off("the server did not confirm the end; it may not have got everything")
        elif self._silent and self._options.wait != 0:
            after = ws.statistics()
            control = after.pings_received + after.pongs_received - before.pings_received - before.pongs_received
            # What came since, but for the close frame and at most so much of pings and pongs, has been dropped.
            frames = 4 + len((ws.close_reason or "").encode()) + 127 * control
            if after.bytes_received - before.bytes_received > frames:
                self._cut_off("messages came that are not printed, as --wait was over")

    def _cut_off(self, text: str) -> None:
        self._fail(CUT_OFF, f"cut off: {text}")

    def _say(self, text: str) -> None:
        """A notice for a person who types, or who wants to know."""
        if self._typing or self._options.verbose:
            self._screen.note(text)

    def _fail(self, status: int, text: str, more: str = "") -> None:
        self._status = status
        self._screen.note(f"httpx2-trio-ws: {text}")
        if more:
            self._screen.note(more)

    # -- talking -----------------------------------------------------------------------------------

    async def _talk(self, ws: WebSocketSession) -> None:
        try:
            async with self._input(), trio.open_nursery() as nursery:
                send = Commands(ws, self._screen, nursery).send if self._typing else partial(self._send, ws)
                nursery.start_soon(self._send_all, send, nursery.cancel_scope)
                await self._receive(ws)
                nursery.cancel_scope.cancel()
        finally:
            self._screen.finish(discard=self._typing and not self._input_ended)
        wanted = self._count if self._count < math.inf else 0
        self._check(self._received, int(wanted), "messages have arrived")

    @contextlib.asynccontextmanager
    async def _input(self) -> AsyncGenerator[None]:
        """Have the source of messages for a block."""
        async with contextlib.AsyncExitStack() as stack:
            if not self._typing:
                if not self._options.execute:
                    self._source = piped(self._options.input, STDIN)
            elif self._screen.editable and (editor_type := _editor()) is not None:
                self._screen.note(HINT)
                editor = editor_type(keep_history=not self._options.no_history)
                await stack.enter_async_context(editor.running())
                self._source = self._screen.editor = editor
            else:
                self._screen.note(HINT_PLAIN)
                self._source = Typed(STDIN, self._screen.prompt, self._screen.note)
            yield

    async def _send_all(self, send: Callable[[Message], Awaitable[None]], scope: trio.CancelScope) -> None:
        """Send messages until there are no more; then let the conversation end."""
        try:
            while (message := await self._source.read()) is not None:
                await send(message)
            self._input_ended = True
            if self._typing:
                scope.cancel()
            else:
                self._listening.deadline = self._deadline()
        except BadInput as exc:
            self._fail(LOCAL, str(exc))
            scope.cancel()
        except WebSocketException:
            pass  # the session has ended: receiving tells how, after what is still to be printed

    async def _send(self, ws: WebSocketSession, message: Message) -> None:
        if isinstance(message, Pieces):
            progress = self._screen.progress("sent", message.total)
            try:
                async with ws.send_stream("binary") as parts, contextlib.aclosing(aiter(message)) as pieces:
                    async for piece in pieces:
                        await parts.send(piece)
                        progress.add(len(piece))
            finally:
                progress.end()
        else:
            await ws.send(message)

    def _deadline(self) -> float:
        """Until when to wait for one more message."""
        if not self._input_ended:
            return math.inf
        wait = self._options.wait
        if wait is None:
            wait = 1 if self._count == math.inf else math.inf
        return trio.current_time() + wait

    async def _receive(self, ws: WebSocketSession) -> None:
        """Print messages, until there are enough or no more."""
        try:
            while self._received < self._count:
                if self._options.output == "raw" and not ws.statistics().queued_messages:
                    if not await self._show_next(ws):
                        break
                    self._received += 1
                    continue
                messages = await self._next_messages(ws)
                if not messages:
                    break
                self._received += len(messages)
                await self._screen.show(*messages)
        except WebSocketClosedError:
            self._say("closed")  # by a command
        except WebSocketException as exc:
            self._screen.finish(discard=self._typing and not self._input_ended)
            self._ended(ws, exc)
        except OSError as exc:
            self._unwritten(exc)

    async def _next_messages(self, ws: WebSocketSession) -> list[str | bytes]:
        """All that there are, at least one; none once it has been silent for long enough."""
        messages: list[str | bytes] = []
        if not ws.statistics().queued_messages:
            with trio.CancelScope(deadline=self._deadline()) as self._listening:
                messages.append(await ws.receive())
            if not messages:
                self._silent = True
                return []
        more = min(ws.statistics().queued_messages, self._count - self._received - len(messages))
        messages += [await ws.receive() for _ in range(int(more))]
        return messages

    async def _show_next(self, ws: WebSocketSession) -> bool:
        """Print a message as it arrives, whatever its size; false once it has been silent for long enough."""
        async with contextlib.AsyncExitStack() as stack:
            message: MessageReader | None = None
            with trio.CancelScope(deadline=self._deadline()) as self._listening:
                message = await stack.enter_async_context(ws.receive_stream())
            if message is None:
                self._silent = True
                return False
            progress = self._screen.progress("received", None)
            stack.callback(progress.end)
            async for part in message:
                await self._screen.show_part(part)
                progress.add(len(part))
            if message.kind == "text":
                await self._screen.show_part("\n")
        return True

    # -- pings -------------------------------------------------------------------------------------

    async def _ping(self, count: int, ws: WebSocketSession) -> None:
        pings = Pings(ws, self._screen, as_json=self._options.output == "ndjson")
        wait = 5 if self._options.wait is None else self._options.wait
        try:
            try:
                await pings.run(count, self._options.interval, wait)
            finally:
                with trio.move_on_after(1, shield=True):  # after Ctrl-C, too
                    await pings.summarize(escape_line(handshake.elide_query(self._url)))
        except* WebSocketException as group:
            self._ended(ws, first(group))
        except* OSError as group:
            self._unwritten(first(group))
        self._check(len(pings.trips), count or pings.sent, "pings were answered")

    # -- ends --------------------------------------------------------------------------------------

    def _check(self, got: int, wanted: int, what: str) -> None:
        if got < wanted and self._status == OK and self._signal is None and not self._unread:
            self._fail(CLOSED, f"{got} of {wanted} {what}")

    def _ended(self, ws: WebSocketSession, exc: BaseException) -> None:
        text = why_ended(exc, self._options)
        unsent = not self._typing and (self._source.left or self._source.taken > ws.statistics().messages_sent)
        if isinstance(exc, WebSocketDisconnect) and exc.code in _GOOD_CODES:
            if unsent:
                self._cut_off(f"not all of the input has been sent: {text}")
            else:
                self._say(text)
        else:
            text += "; not all of the input has been sent" if unsent else ""
            self._fail(LOST if isinstance(exc, WebSocketNetworkError) else CLOSED, text)

    def _unwritten(self, exc: BaseException) -> None:
        if isinstance(exc, BrokenPipeError):  # a reader who has had enough, such as head
            self._unread = True
        else:
            self._fail(LOCAL, f"the output cannot be written: {reason_of(exc)}")


def _editor() -> type[Editor] | None:
    """The editor, if prompt_toolkit is installed."""
    try:
        from .editor import Editor  # noqa: PLC0415 (an extra)
    except ImportError:
        return None
    return Editor
