"""A session between standard input and standard output."""

from __future__ import annotations

import contextlib
import math
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import trio

from httpx2_trio_ws import (
    WebSocketDisconnect,
    WebSocketException,
    WebSocketHandshakeTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
    WebSocketUpgradeError,
    open_websocket,
)

from . import handshake
from .ping import Pings
from .printing import escape_line
from .reasons import first, one_line, reason_of
from .screen import Screen
from .streams import STDIN, Lines, fill_standard

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from httpx2_trio_ws import WebSocketSession

    from .arguments import Options

OK, CLOSED, USAGE, NOT_CONNECTED, REFUSED, LOST, LOCAL = range(7)
_GOOD_CODES = (1000, 1001, 1005)  # 1005: a close frame without a code


def main(options: Options, url: str) -> int:
    """Run a session; return the exit status."""
    fill_standard()
    screen = Screen(output=options.output, plain=options.plain, color=not options.no_color)
    return trio.run(Client(options, url, screen).run)


class Client:
    """One run of the command."""

    def __init__(self, options: Options, url: str, screen: Screen) -> None:
        self._options = options
        self._url = url
        self._screen = screen
        self._status = OK
        self._received = 0
        self._input_ended = False
        self._unread = False
        self._lines = Lines(STDIN)
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

    # -- opening -----------------------------------------------------------------------------------

    async def _run_session(self) -> None:
        try:
            async with contextlib.AsyncExitStack() as stack:
                ws = await self._open(stack)
                if ws is not None:
                    await self._converse(ws)
        except* (WebSocketNetworkError, WebSocketProtocolError):
            pass  # from the block: it came after all that was asked for had been done

    async def _open(self, stack: contextlib.AsyncExitStack) -> WebSocketSession | None:
        """The session; ``None`` if there is none, and why has been said."""
        options = self._options
        try:
            client = await stack.enter_async_context(self._http_client())
            return await stack.enter_async_context(
                open_websocket(
                    client,
                    self._url,
                    headers=options.header,
                    subprotocols=options.subprotocol or None,
                    compression=None if options.compression == "none" else "deflate",
                    max_message_size_bytes=options.max_size,
                    handshake_timeout_seconds=options.timeout or 30,
                    # A server that answers no pings is what --ping is there to show.
                    keepalive_ping_interval_seconds=20 if options.ping is None else None,
                    failure_grace_seconds=math.inf,  # receive() will tell it, after what is still to be printed
                )
            )
        except WebSocketUpgradeError as exc:
            self._refused(exc)
        except WebSocketHandshakeTimeout:
            self._fail(NOT_CONNECTED, f"no connection: no answer within {options.timeout or 30:g} s (--timeout)")
        except httpx2.RequestError as exc:
            self._fail(NOT_CONNECTED, f"no connection: {reason_of(exc)}")
        except (ValueError, TypeError, httpx2.InvalidURL) as exc:
            self._fail(USAGE, one_line(str(exc)))
        except ImportError:
            self._fail(USAGE, "for a SOCKS proxy: pip install 'httpx2-trio-ws[cli]'")
        return None

    def _http_client(self) -> httpx2.AsyncClient:
        options = self._options
        hooks: dict[str, list[Callable[..., Any]]] = {}
        if options.verbose:
            hooks = {"request": [self._note_request], "response": [self._note_response]}
        return httpx2.AsyncClient(
            auth=options.auth,
            cookies=dict(options.cookie),
            proxy=options.proxy,
            verify=not options.insecure,
            timeout=None,  # that of the whole handshake is enough
            event_hooks=hooks,
        )

    async def _note_request(self, request: httpx2.Request) -> None:
        self._screen.note(handshake.show_request(request))

    async def _note_response(self, response: httpx2.Response) -> None:
        self._screen.note(handshake.show_response(response))

    def _refused(self, exc: WebSocketUpgradeError) -> None:
        response = exc.response
        self._fail(REFUSED, one_line(str(exc)))
        if response.status_code != 101 and (body := handshake.start_of_body(response)):
            self._screen.note(body)

    def _fail(self, status: int, text: str) -> None:
        self._status = status
        self._screen.note(f"httpx2-trio-ws: {text}")

    # -- talking -----------------------------------------------------------------------------------

    async def _converse(self, ws: WebSocketSession) -> None:
        self._say(f"connected to {handshake.elide_query(self._url)}{_chosen(ws)}")
        talk = self._talk if self._options.ping is None else partial(self._ping, self._options.ping)
        with self._interruptible():
            await talk(ws)
        if ws.closed:
            return
        await ws.close(1000 if self._signal is None else 1001)
        self._say("closed" if ws.close_code != 1006 else "closed; the server did not answer to that")

    def _say(self, text: str) -> None:
        """A notice for a person who types, or who wants to know."""
        if self._screen.typing or self._options.verbose:
            self._screen.note(text)

    async def _talk(self, ws: WebSocketSession) -> None:
        if self._screen.typing:
            self._screen.note("Each line is a message. Ctrl-D ends the session.")
        self._screen.prompt()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_lines, ws, nursery.cancel_scope)
                await self._receive(ws)
                nursery.cancel_scope.cancel()
        finally:
            self._screen.finish(discard=not self._input_ended)
        self._check(self._received, self._options.count or 0, "messages have arrived")

    async def _send_lines(self, ws: WebSocketSession, scope: trio.CancelScope) -> None:
        """Send lines until the input ends; then wait for answers, and end the conversation."""
        try:
            while (line := await self._lines.read()) is not None:
                self._screen.prompt()
                await ws.send_text(line)
            self._input_ended = True
        except UnicodeDecodeError:
            self._fail(LOCAL, "the input is not UTF-8")
        except WebSocketException:
            return  # the session has ended: receiving tells how, after what is still to be printed
        else:
            if not self._screen.typing:
                await trio.sleep(self._seconds_to_wait())
        scope.cancel()

    def _seconds_to_wait(self) -> float:
        if self._options.wait is not None:
            return self._options.wait
        return 1 if self._options.count is None else math.inf

    async def _receive(self, ws: WebSocketSession) -> None:
        """Print messages, until there are enough or no more."""
        try:
            while self._received != self._options.count:
                message = await ws.receive()
                self._received += 1
                await self._screen.show(message)
        except WebSocketException as exc:
            self._screen.finish(discard=not self._input_ended)
            self._ended(ws, exc)
        except OSError as exc:
            self._unwritten(exc)

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

    def _check(self, got: int, wanted: int, what: str) -> None:
        if got < wanted and self._status == OK and self._signal is None and not self._unread:
            self._fail(CLOSED, f"{got} of {wanted} {what}")

    def _ended(self, ws: WebSocketSession, exc: BaseException) -> None:
        text = one_line(str(exc))
        if not isinstance(exc, WebSocketDisconnect) or exc.code not in _GOOD_CODES:
            self._fail(LOST if isinstance(exc, WebSocketNetworkError) else CLOSED, text)
        elif not self._screen.typing and (self._lines.left or self._lines.taken > ws.statistics().messages_sent):
            self._fail(CLOSED, f"not all lines have been sent: {text}")
        else:
            self._say(text)

    def _unwritten(self, exc: BaseException) -> None:
        if isinstance(exc, BrokenPipeError):  # a reader who has had enough, such as head
            self._unread = True
        else:
            self._fail(LOCAL, f"the output cannot be written: {reason_of(exc)}")


def _chosen(ws: WebSocketSession) -> str:
    return "" if ws.subprotocol is None else f", subprotocol {ws.subprotocol}"
