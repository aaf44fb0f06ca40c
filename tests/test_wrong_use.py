"""Wrong use: told what to do instead, before anything is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

from httpx2_trio_ws import connect_websocket, open_websocket, open_websocket_url

from .handshake_support import untouched

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


async def refused(error: type[Exception], match: str, client: Any, url: Any = "ws://h", **options: Any) -> None:
    """Both ways to open refuse, and send nothing."""
    with pytest.raises(error, match=match):
        async with open_websocket(client, url, **options):
            raise AssertionError
    async with trio.open_nursery() as nursery:
        with pytest.raises(error, match=match):
            await connect_websocket(nursery, client, url, **options)


async def test_a_blocking_client() -> None:
    with httpx2.Client(verify=False) as client:
        await refused(TypeError, r"an httpx2\.Client is for blocking code; pass an httpx2\.AsyncClient", client)


@pytest.mark.parametrize("client", [httpx2.AsyncClient, httpx2.Client, int])
async def test_a_class(client: type) -> None:
    await refused(TypeError, rf"pass an instance, {client.__name__}\(\), not the class", client)


async def test_a_client_of_another_library() -> None:
    foreign = type("AsyncClient", (), {"__module__": "httpx._client"})()
    await refused(TypeError, "works with httpx2, not with httpx: .* not httpx._client.AsyncClient", foreign)
    await refused(TypeError, r"the client must be an httpx2\.AsyncClient, not builtins\.NoneType", None)
    await refused(TypeError, r"the client must be an httpx2\.AsyncClient, not builtins\.str", "ws://h")


async def test_a_closed_client() -> None:
    async with untouched() as client:
        pass
    await refused(RuntimeError, "the client is closed; open the WebSocket inside its `async with` block", client)


async def test_a_client_that_was_not_entered_is_fine() -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(418))
    client = httpx2.AsyncClient(transport=transport)
    await refused(Exception, "418", client)
    await client.aclose()


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("ftp://h/", r"begins with ws:// or wss://, not as 'ftp://h/' does"),
        ("h/path", r"begins with ws:// or wss://, not as 'h/path' does"),
        ("127.0.0.1:1/", r"begins with ws:// or wss://, not as '127\.0\.0\.1:1/' does"),
        ("/path", r"begins with ws:// or wss://, not as '/path' does"),
        ("", r"begins with ws:// or wss://, not as '' does"),
        ("ws:///path", "has no host"),
        ("ws://h:notaport/", "'ws://h:notaport/' is no URL: Invalid port"),
        ("ws://h/\x00", "is no URL"),
    ],
)
async def test_a_bad_url(url: str, match: str) -> None:
    async with untouched() as client:
        await refused(ValueError, match, client, url)


async def test_a_bad_url_keeps_its_password() -> None:
    async with untouched() as client:
        with pytest.raises(ValueError, match="begins with") as caught:
            async with open_websocket(client, "ftp://user:secret@h/"):
                raise AssertionError
    assert "secret" not in str(caught.value)


async def test_a_url_without_a_host_is_not_joined_to_the_base_url() -> None:
    async with untouched() as client:
        client.base_url = "ws://base/"
        await refused(ValueError, "has no host", client, "ws:///path")


async def test_a_url_of_a_wrong_type() -> None:
    async with untouched() as client:
        await refused(TypeError, "[Uu][Rr][Ll]", client, 5)


async def test_reserved_headers() -> None:
    async with untouched() as client:
        await refused(ValueError, "use subprotocols=", client, headers={"Sec-WebSocket-Protocol": "chat"})
        await refused(ValueError, "'upgrade' is set by the handshake itself", client, headers={"Upgrade": "h2c"})


async def test_reserved_headers_of_the_client() -> None:
    async with untouched() as client:
        client.headers["Sec-WebSocket-Protocol"] = "chat"
        await refused(ValueError, "use subprotocols=", client)


async def test_subprotocols() -> None:
    async with untouched() as client:
        await refused(TypeError, r"subprotocols is a list, such as \['chat'\], not a str", client, subprotocols="chat")
        await refused(ValueError, r"subprotocols\[0\] is no subprotocol", client, subprotocols=["a b"])
        await refused(ValueError, r"subprotocols\[1\] has been there before", client, subprotocols=["a", "a"])


async def test_a_nursery_that_is_none() -> None:
    async with untouched() as client:
        wrong: Any
        for wrong in (None, client, trio.open_nursery()):
            with pytest.raises(
                TypeError, match=r"the first argument is the trio\.Nursery that the session is to live in"
            ):
                await connect_websocket(wrong, client, "ws://h")


async def by_client() -> None:
    async with open_websocket(untouched(), "ws://h"):
        raise AssertionError


async def by_url() -> None:
    async with open_websocket_url("ws://127.0.0.1:1"):
        raise AssertionError


@pytest.mark.parametrize("way", [by_client, by_url])
def test_on_asyncio(way: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with pytest.raises(RuntimeError, match=r"this needs trio: run it inside trio\.run\(\)"):
        asyncio.run(way())


@pytest.mark.parametrize("way", [by_client, by_url])
def test_without_an_event_loop(way: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with pytest.raises(RuntimeError, match=r"this needs trio: run it inside trio\.run\(\)"):
        way().send(None)


def test_connecting_outside_trio() -> None:
    async def get_nursery() -> trio.Nursery:
        async with trio.open_nursery() as nursery:
            return nursery

    nursery = trio.run(get_nursery)
    with pytest.raises(RuntimeError, match="this needs trio"):
        connect_websocket(nursery, untouched(), "ws://h").send(None)
