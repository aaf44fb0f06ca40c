"""Between the handshake and the block: what fails there, and objects that are entered twice, or the wrong way."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import Mock

import anyio
import httpx2
import pytest
import trio

import httpx2_trio_ws
import httpx2_trio_ws.anyio
import httpx2_trio_ws.sync
from httpx2_trio_ws import Instrument
from httpx2_trio_ws.reconnect import reconnect

from .on_asyncio.support import REAL_LOOPS, run_real
from .sync.support import websocket_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

ON_LOOPS = ["trio", *REAL_LOOPS]
FACES = [*ON_LOOPS, "threads"]


class Face(NamedTuple):
    """A face, as if it were async in threads, too."""

    module: Any
    client: Any

    def open(self, url: str, **options: Any) -> Any:
        return _entered(self.module.open_websocket(self.client, url, **options))

    async def talks(self, session: Any) -> None:
        for result in (session.send("x"), session.receive()):
            value = result if result is None or isinstance(result, str) else await result
            assert value in (None, "x")


@contextlib.asynccontextmanager
async def _entered(opening: Any) -> AsyncGenerator[Any]:
    if hasattr(opening, "__aenter__"):
        async with opening as session:
            yield session
    else:
        with opening as session:
            yield session


def run(face: str, function: Callable[[Face], Awaitable[None]]) -> None:
    """Run it on a face; the client's pool has one slot."""
    options: Any = {
        "verify": False,
        "trust_env": False,
        "limits": httpx2.Limits(max_connections=1),
        "timeout": httpx2.Timeout(10, pool=1),
    }

    async def main() -> None:
        if face == "threads":
            with httpx2.Client(**options) as client:
                await function(Face(httpx2_trio_ws.sync, client))
            return
        async with httpx2.AsyncClient(**options) as client:
            await function(Face(httpx2_trio_ws if face == "trio" else httpx2_trio_ws.anyio, client))

    if face == "trio":
        trio.run(main)
    elif face == "threads":
        anyio.run(main)
    else:
        run_real(face, main)


@pytest.mark.parametrize("with_client", [True, False])
@pytest.mark.parametrize("face", FACES)
def test_an_object_that_is_entered_while_it_is_open(face: str, with_client: bool) -> None:
    async def main(on: Face) -> None:
        if with_client:
            opening = on.module.open_websocket(on.client, url)
        else:
            opening = on.module.open_websocket_url(url.replace("ws://", "ws://"))
        for _ in range(2):  # one after another, it may be
            async with _entered(opening) as session:
                with pytest.raises(
                    RuntimeError, match=r"has been entered already, .* open_websocket\(...\) call of its own"
                ):
                    async with _entered(opening):
                        raise AssertionError
                await on.talks(session)

    with websocket_server() as url:
        run(face, main)


@pytest.mark.parametrize("with_client", [True, False])
@pytest.mark.parametrize("face", FACES)
def test_an_object_whose_opening_failed_may_be_entered_again(face: str, with_client: bool) -> None:
    async def main(on: Face) -> None:
        dead = "ws://127.0.0.1:1/"
        opening = on.module.open_websocket(on.client, dead) if with_client else on.module.open_websocket_url(dead)
        for _ in range(2):
            with pytest.raises(httpx2.ConnectError):
                async with _entered(opening):
                    raise AssertionError

    run(face, main)


class Stops(Instrument):
    """Raises what no `except Exception` catches, as pytest.fail() and sys.exit() do."""

    def session_opened(self, session: Any) -> None:
        raise SystemExit(3)


@pytest.mark.parametrize("face", FACES)
def test_a_hook_that_stops_everything_as_the_session_opens(face: str) -> None:
    async def main(on: Face) -> None:
        for _ in range(2):  # the pool's slot is free
            with pytest.raises((SystemExit, BaseExceptionGroup)) as caught:
                async with on.open(url, instruments=[Stops()]):
                    raise AssertionError
            assert repr(caught.value).count("SystemExit(3)") == 1
        async with on.open(url) as session:
            await on.talks(session)

    with websocket_server() as url:
        run(face, main)


@pytest.mark.parametrize("face", ON_LOOPS)
def test_the_same_in_the_caller_s_nursery(face: str) -> None:
    async def main(on: Face) -> None:
        for _ in range(2):
            with pytest.raises(BaseExceptionGroup) as caught:
                async with trio.open_nursery() if face == "trio" else anyio.create_task_group() as nursery:
                    await on.module.connect_websocket(nursery, on.client, url, instruments=[Stops()])
            assert repr(caught.value).count("SystemExit(3)") == 1

    with websocket_server() as url:
        run(face, main)


@pytest.mark.parametrize("face", FACES)
def test_what_fails_after_the_handshake_frees_the_slot(face: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(on: Face) -> None:
        with monkeypatch.context() as patched:
            for room in ("_session", "_sync"):
                patched.setattr(f"httpx2_trio_ws.{room}._opening.watched_connection", Mock(side_effect=MemoryError))
            with pytest.raises(MemoryError):
                async with on.open(url):
                    raise AssertionError
        async with on.open(url) as session:
            await on.talks(session)

    with websocket_server() as url:
        run(face, main)


@pytest.mark.parametrize("face", FACES)
def test_a_mock_is_an_instrument_like_any_other(face: str) -> None:
    async def main(on: Face) -> None:
        instrument = Mock(spec=Instrument)
        async with on.open(url, instruments=[instrument]) as session:
            await on.talks(session)
        instrument.session_opened.assert_called_once_with(session)
        instrument.session_closed.assert_called_once()

    with websocket_server() as url:
        run(face, main)


@pytest.mark.parametrize("face", FACES)
def test_a_session_s_response_has_been_read(face: str) -> None:
    """There is no body; to look for one, or to close the response, does nothing to the session."""

    async def main(on: Face) -> None:
        async with on.open(url) as session:
            response = session.response
            assert response.status_code == 101
            if face == "threads":
                assert response.read() == b""
                response.close()
            else:
                assert await response.aread() == b""
                await response.aclose()
            assert response.text == ""
            await on.talks(session)

    with websocket_server() as url:
        run(face, main)


@pytest.mark.parametrize("opens", [httpx2_trio_ws, httpx2_trio_ws.anyio])
async def test_the_wrong_keyword(opens: Any, client: httpx2.AsyncClient) -> None:
    for opening in (opens.open_websocket(client, "ws://h"), opens.open_websocket_url("ws://h")):
        with pytest.raises(TypeError, match=r"`async with open_websocket\(...\) as ws:`.*connect_websocket"):
            await opening
        with pytest.raises(TypeError, match=r"`async with open_websocket\(...\)`, not `with`"), opening:
            raise AssertionError
    for loop in (reconnect(client, "ws://h"), httpx2_trio_ws.anyio.reconnect(client, "ws://h")):
        with pytest.raises(TypeError, match=r"`for connection in reconnect\(...\):`, not `async for`"):
            async for _ in loop:  # type: ignore[attr-defined]
                raise AssertionError
