"""What the checks are written with."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import anyio
import anyio.lowlevel

from httpx2_trio_ws._exceptions import WebSocketException
from httpx2_trio_ws.testing._frames import Frame, Opcode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable

    from httpx2_trio_ws.testing._peer import ScriptedPeer

    from ._registry import SessionMaker

E = TypeVar("E", bound=BaseException)

#: Durations in checks, in seconds. A machine that is busy may double them, and no check may mind.
SHORT = 0.03
#: Added to durations where a check asks how long something took at most.
SLACK = 2


# -- sessions and peers ----------------------------------------------------------------------------


async def keep_rules(peer: ScriptedPeer) -> None:
    """Answer what is to be answered until the session is over."""
    with contextlib.suppress(WebSocketException):
        await peer.wait_closed()


async def answer_nothing(peer: ScriptedPeer) -> None:
    """Read, and say nothing any more."""
    with contextlib.suppress(WebSocketException):
        while True:
            await peer.receive_frame()


async def stall(peer: ScriptedPeer) -> None:  # noqa: ARG001 (one of several that do something with it)
    """Not even read."""
    await anyio.sleep_forever()


@contextlib.asynccontextmanager
async def stage(
    maker: SessionMaker, *, ending: Callable[[ScriptedPeer], Awaitable[None]] = keep_rules, **options: Any
) -> AsyncGenerator[tuple[Any, ScriptedPeer]]:
    """A session and its peer, which does what the check says, and ``ending`` while the session is being left."""
    peers: list[ScriptedPeer] = []
    ready, over = anyio.Event(), anyio.Event()

    async def handler(peer: ScriptedPeer) -> None:
        peers.append(peer)
        ready.set()
        try:
            await over.wait()
        finally:  # also if this is cancelled together with the session: an ending may have a shield of its own
            await ending(peer)

    options = {"compression": None, "close_timeout_seconds": 1} | options
    async with maker(handler, **options) as ws:
        await ready.wait()
        try:
            yield ws, peers[0]
        finally:
            over.set()


async def frames_to_the_end(peer: ScriptedPeer, *, answer: bool = True) -> list[Frame]:
    """All frames until the connection is over; a close frame is answered."""
    frames: list[Frame] = []
    with contextlib.suppress(WebSocketException):
        while True:
            frame = await peer.receive_frame()
            frames.append(frame)
            if frame.opcode == Opcode.CLOSE and answer:
                await peer.send_frame(Opcode.CLOSE, frame.payload)
                await peer.drop()
    return frames


def payloads(frames: Iterable[Frame]) -> list[bytes]:
    """Those of the messages among frames."""
    return [frame.payload for frame in frames if frame.opcode in (Opcode.TEXT, Opcode.BINARY)]


async def take(ws: Any, count: int) -> list[str | bytes]:
    """Receive so many messages."""
    return [await ws.receive() for _ in range(count)]


async def collect(ws: Any) -> list[str | bytes]:
    """Iterate to the end."""
    return [message async for message in ws]


async def comes_to(peer: ScriptedPeer, message: str | bytes) -> None:
    """The peer receives this message, whatever may come before it."""
    while await peer.receive() != message:
        pass


# -- time ------------------------------------------------------------------------------------------


async def settle() -> None:
    """Let everybody come to where they wait. Nothing may depend on their having done so."""
    await anyio.sleep(SHORT / 6)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody tells of; the check's time is the limit."""
    while not condition():  # noqa: ASYNC110 (see above)
        await anyio.sleep(SHORT / 20)


async def turns(count: int) -> None:
    """Let others run so many times."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


@contextlib.contextmanager
def takes(at_least: float, at_most: float) -> Generator[None]:
    """What the block does takes so many seconds. On a busy machine, it may take :data:`SLACK` longer."""
    began = anyio.current_time()
    yield
    seconds = anyio.current_time() - began
    # Clocks are read before they are waited for, and not all loops count finer than milliseconds.
    that(at_least - 0.01 <= seconds <= at_most + SLACK, f"took {seconds:.3f} s, not {at_least} to {at_most}")


# -- tasks -----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def beside(*functions: Callable[[], Awaitable[object]]) -> AsyncGenerator[None]:
    """Run functions beside the block, started in order, and wait for all of them at its end."""
    async with anyio.create_task_group() as tasks:
        for function in functions:
            tasks.start_soon(_call, function)
            await settle()
        yield


async def _call(function: Callable[[], Awaitable[object]]) -> None:
    await function()


class Sender:
    """Sends messages for as long as it can, in a task."""

    def __init__(self, send: Callable[[Any], Awaitable[object]], message: str | bytes, limit: int = 10_000) -> None:
        self._send = send
        self._message = message
        self._limit = limit
        #: How many sends have returned.
        self.sent = 0

    async def run(self) -> None:
        """Send as often as it may; if the session ends before, that raises."""
        while self.sent < self._limit:
            await self._send(self._message)
            self.sent += 1
            await anyio.lowlevel.checkpoint()  # whatever the call does

    async def blocked(self) -> None:
        """Wait until it waits, or has sent all."""
        sent = -1
        while sent != self.sent:
            sent = self.sent
            await anyio.sleep(SHORT / 2)


# -- claims ----------------------------------------------------------------------------------------


def that(condition: object, text: str) -> None:
    """Fail unless the condition holds, also under ``python -O``, where ``assert`` would say nothing."""
    if not condition:
        raise AssertionError(text)


def fail(exc: Exception) -> None:
    """Raise it; for type checkers, what comes after can be reached."""
    raise exc


def equal(actual: Any, expected: Any, what: str) -> None:
    """Fail unless both are the same."""
    that(actual == expected, f"{what}: got {_short(actual)}, expected {_short(expected)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 500 else f"{text[:240]} … {text[-240:]}"


class Raised(Generic[E]):
    """Has the exception that was raised."""

    def __init__(self) -> None:
        self._error: E | None = None

    @property
    def error(self) -> E:
        """Only after the block."""
        assert self._error is not None
        return self._error

    @error.setter
    def error(self, error: E) -> None:
        self._error = error


@contextlib.contextmanager
def raises(kind: type[E]) -> Generator[Raised[E]]:
    """The block raises an exception of this kind, bare."""
    raised: Raised[E] = Raised()
    try:
        yield raised
    except kind as exc:
        raised.error = exc
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


@contextlib.contextmanager
def leaves(*kinds: type[Exception]) -> Generator[None]:
    """What leaves the block are exceptions of these kinds and no others, bare or in groups."""
    found: list[BaseException] = []
    try:
        yield
    except Exception as exc:
        found = _leaves(exc)
        text = f"left the block: {found!r}, expected {[kind.__name__ for kind in kinds]}"
        if sorted(map(_name, found)) != sorted(kind.__name__ for kind in kinds):
            raise AssertionError(text) from exc
    that(len(found) == len(kinds), f"left the block: nothing, expected {[kind.__name__ for kind in kinds]}")


def _name(exc: BaseException) -> str:
    return type(exc).__name__


def _leaves(exc: BaseException) -> list[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for one in cast("BaseExceptionGroup[BaseException]", exc).exceptions for leaf in _leaves(one)]
    return [exc]


async def raise_all(kind: type[Exception], calls: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Each of the calls raises an exception of this kind."""
    for call in calls:
        with raises(kind):
            await call()


def calls_of(ws: Any) -> dict[str, Callable[[], Awaitable[object]]]:
    """Every call that a session which has ended must refuse."""
    return {
        "receive": ws.receive,
        "receive_text": ws.receive_text,
        "receive_bytes": ws.receive_bytes,
        "receive_json": ws.receive_json,
        "iteration": ws.__anext__,
        "send": lambda: ws.send("x"),
        "send_text": lambda: ws.send_text("x"),
        "send_bytes": lambda: ws.send_bytes(b"x"),
        "send_json": lambda: ws.send_json("x"),
        "ping": ws.ping,
        "pong": ws.pong,
    }
