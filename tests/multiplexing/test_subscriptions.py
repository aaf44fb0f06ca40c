"""Subscriptions of a multiplexer: by key, again on each new session, with gaps that are told in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from httpx2_trio_ws import (
    WebSocketClosedError,
    WebSocketNetworkError,
)
from tests.asgi.support import both_loops

from .support import Wire, by_id, drop, echo, face, leaves, says, serve

if TYPE_CHECKING:
    from .support import Handler


def publisher(*values: Any, drops: bool = False) -> Handler:
    """Confirms a subscription, says so many values for its key, and stays or drops."""

    async def handler(wire: Wire) -> None:
        key = (await wire.get())["subscribe"]
        for value in values:
            await wire.say({"id": key, "value": value})
        if drops:
            await wire.peer.drop()
        await wire.listen()

    return handler


@both_loops
async def test_a_block_subscribes_and_unsubscribes() -> None:
    async with serve(publisher(1, 2)) as server, face().multiplex(server.source(), key=by_id) as mux:
        options = {"subscribe": {"subscribe": "a"}, "unsubscribe": lambda key: {"unsubscribe": key}}
        async with mux.subscribe("a", **options) as feed:
            assert feed.key == "a"
            assert ((await feed.receive())["value"], feed.gap) == (1, True)
            assert ((await feed.receive())["value"], feed.gap) == (2, False)
        await anyio.sleep(1)
        assert server.wires[0].heard == [{"subscribe": "a"}, {"unsubscribe": "a"}]
        with pytest.raises(WebSocketClosedError, match="the subscription's block has been left"):
            await feed.receive()


@both_loops
async def test_without_a_message_nothing_is_sent_at_the_start() -> None:
    async with serve(says({"id": "a"})) as server, face().multiplex(server.source(), key=by_id) as mux:
        async with mux.subscribe("a", unsubscribe={"bye": "a"}) as feed:
            assert await feed.receive() == {"id": "a"}
        await anyio.sleep(1)
        assert server.wires[0].heard == [{"bye": "a"}]


@both_loops
async def test_it_is_subscribed_again_on_each_session() -> None:
    first, second = publisher(1, 2, drops=True), publisher(3, 4, drops=True)
    async with (
        serve(first, second, publisher(5)) as server,
        face().multiplex(server.source(), key=by_id) as mux,
        mux.subscribe("a", subscribe={"subscribe": "a"}) as feed,
    ):
        got = []
        async for message in feed:
            got.append((message["value"], feed.gap))
            if message["value"] == 5:
                break
    assert got == [(1, True), (2, False), (3, True), (4, False), (5, True)]
    assert [wire.heard for wire in server.wires] == [[{"subscribe": "a"}]] * 3


@both_loops
async def test_a_key_that_the_server_assigns() -> None:
    """No message is missed that follows the answer at once, and each session has a key of its own."""

    async def assigns(wire: Wire) -> None:
        request = await wire.get()
        assigned = f"{request['subscribe']}-{wire.number}"
        await wire.say({"id": request["id"], "result": assigned}, {"id": assigned, "value": wire.number})
        if not wire.number:
            await wire.peer.drop()
        await wire.listen()

    def confirm(reply: Any) -> Any:
        return reply["result"]

    async with serve(assigns) as server, face().multiplex(server.source(), key=by_id) as mux:
        async with mux.subscribe(
            7, subscribe={"id": 7, "subscribe": "a"}, confirm=confirm, unsubscribe=lambda key: {"unsubscribe": key}
        ) as feed:
            assert feed.key == "a-0"
            assert [(await feed.receive())["value"] for _ in range(2)] == [0, 1]
            assert feed.key == "a-1"
            assert mux.unmatched == 0
        await anyio.sleep(1)
        assert server.wires[1].heard[-1] == {"unsubscribe": "a-1"}


@both_loops
async def test_a_key_that_the_server_confirms_as_it_is() -> None:
    async with (
        serve(echo) as server,
        face().multiplex(server.source(), key=by_id) as mux,
        mux.subscribe(7, subscribe={"id": 7}, confirm=by_id) as feed,
    ):
        assert feed.key == 7
        await server.wires[0].say({"id": 7, "value": 1})
        assert await feed.receive() == {"id": 7, "value": 1}


@both_loops
async def test_keys_of_an_old_session_are_free_on_the_new_one() -> None:
    """The server assigns the same keys on each session, in another order."""

    async def assigns(wire: Wire) -> None:
        keys = ["x", "y"] if wire.number == 0 else ["y", "x"]
        for key in keys:
            request = await wire.get()
            await wire.say({"id": request["id"], "result": key}, {"id": key, "of": request["id"], "n": wire.number})
        await wire.get()
        await wire.peer.drop()

    async def follow(number: int) -> None:
        async with mux.subscribe(number, subscribe={"id": number}, confirm=lambda reply: reply["result"]) as feed:
            for session in range(3):
                message = await feed.receive()
                assert (message["of"], message["n"]) == (number, session)
                if number == 1:
                    await mux.send({"go": "on"})

    async with (
        serve(assigns) as server,
        face().multiplex(server.source(), key=by_id) as mux,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(follow, 1)
        tasks.start_soon(follow, 2)


@both_loops
async def test_the_server_refuses() -> None:
    async def refuses(wire: Wire) -> None:
        while True:
            request = await wire.get()
            if not wire.number and request["id"] == "b":
                await wire.peer.drop()
                return
            await wire.say({"id": request["id"], "error": wire.number or None})

    def confirm(reply: Any) -> None:
        if reply["error"] is not None:
            raise PermissionError(reply["error"])

    async with serve(refuses) as server, face().multiplex(server.source(), key=by_id) as mux:
        async with mux.subscribe("a", subscribe={"id": "a"}, confirm=confirm, unsubscribe={"no": 1}) as feed:
            with pytest.raises(WebSocketNetworkError):
                await mux.request("b", {"id": "b"})
            for _ in range(2):
                with pytest.raises(PermissionError):  # on the second session
                    await feed.receive()
            with pytest.raises(PermissionError):
                async with mux.subscribe("c", subscribe={"id": "c"}, confirm=confirm, unsubscribe={"no": 1}):
                    raise AssertionError
            assert (await mux.request("a", {"id": "a"}))["error"] == 1  # the key is free
        await anyio.sleep(1)
        assert {"no": 1} not in server.wires[1].heard


@both_loops
async def test_a_subscribe_message_that_cannot_be_encoded() -> None:
    async with serve(echo) as server, face().multiplex(server.source(), key=by_id) as mux:
        with pytest.raises(TypeError, match="not JSON serializable"):
            async with mux.subscribe("a", subscribe=object()):
                raise AssertionError
        async with mux.subscribe("a", subscribe={"x": 1}):
            assert (await mux.request(1, {"id": 1}))["id"] == 1


@both_loops
async def test_an_unsubscribe_message_that_cannot_be_encoded_is_told() -> None:
    async with serve(echo) as server:
        with pytest.raises(ExceptionGroup) as caught:
            async with face().multiplex(server.source(), key=by_id) as mux:
                async with mux.subscribe("a", subscribe={}, unsubscribe=object()):
                    pass
                await anyio.sleep_forever()
        assert [type(leaf) for leaf in leaves(caught.value)] == [TypeError]


@both_loops
async def test_left_before_it_was_confirmed() -> None:
    """The server is told once its answer has come; until then the key is in use."""
    answer = anyio.Event()

    async def slow(wire: Wire) -> None:
        request = await wire.get()
        await answer.wait()
        await wire.say({"id": request["id"], "result": "assigned"}, {"id": "assigned", "value": 1})
        await wire.listen()

    async with serve(slow) as server, face().multiplex(server.source(), key=by_id) as mux:
        options: Any = {"confirm": lambda reply: reply["result"], "unsubscribe": lambda key: {"unsubscribe": key}}
        with anyio.move_on_after(1):
            async with mux.subscribe(1, subscribe={"id": 1}, **options):
                raise AssertionError
        with pytest.raises(ValueError, match="in use"):
            await mux.request(1, {"id": 1})
        answer.set()
        await anyio.sleep(1)
        assert server.wires[0].heard == [{"id": 1}, {"unsubscribe": "assigned"}]
        assert mux.unmatched == 1


@both_loops
async def test_left_before_it_was_confirmed_and_the_session_ends() -> None:
    async def ends(wire: Wire) -> None:
        await wire.get()
        await wire.get()
        await wire.peer.drop()

    async with serve(ends, echo) as server, face().multiplex(server.source(), key=by_id) as mux:
        with anyio.move_on_after(1):
            async with mux.subscribe(1, subscribe={"id": 1}, confirm=lambda _: None, unsubscribe={"bye": 1}):
                raise AssertionError
        await mux.send("go")
        await anyio.sleep(5)
        assert (await mux.request(1, {"id": 1}))["session"] == 1
        assert server.wires[1].heard == [{"id": 1}]


@both_loops
async def test_subscribed_and_cancelled_while_disconnected() -> None:
    async with serve(drop, echo) as server, face().multiplex(server.source(), key=by_id) as mux:
        await anyio.sleep(0.1)
        for number in range(100):
            with anyio.move_on_after(0):
                async with mux.subscribe(number, subscribe={"subscribe": number}, unsubscribe={}):
                    raise AssertionError
        assert not mux._todo
        assert not mux._subscriptions
        await mux.request("a", {"id": "a"})
        assert server.wires[1].heard == [{"id": "a"}]


@both_loops
async def test_subscribed_and_cancelled_while_the_peer_does_not_read() -> None:
    async def deaf(wire: Wire) -> None:
        await anyio.sleep_forever()

    async def send(ws: Any, message: Any) -> None:
        await anyio.sleep_forever()

    async with serve(deaf) as server, face().multiplex(server.source(), key=by_id, send=send) as mux:
        for number in range(100):
            with anyio.move_on_after(1):
                async with mux.subscribe(number, subscribe={"subscribe": number}):
                    raise AssertionError
        assert not mux._todo


@both_loops
async def test_is_last() -> None:
    """It is looked at when a message arrives, so what is finished is not subscribed again, whenever it is read."""

    async def finishes(wire: Wire) -> None:
        await wire.get()
        await wire.say({"id": "a", "n": 1}, {"id": "a", "n": 2, "last": True}, {"id": "a", "n": 3})
        await wire.peer.drop()

    async with serve(finishes, echo) as server, face().multiplex(server.source(), key=by_id) as mux:
        async with mux.subscribe(
            "a", subscribe={"id": "a"}, unsubscribe={"bye": 1}, is_last=lambda message: message.get("last", False)
        ) as feed:
            await anyio.sleep(10)
            assert mux.sessions == 2
            assert (await mux.request("a", {"id": "a"}))["session"] == 1  # the key is free
            assert [message["n"] async for message in feed] == [1, 2]
            assert repr(feed) == "<Subscription 'a' (complete)>"
            with pytest.raises((anyio.EndOfStream,)):
                await feed.receive()
        await anyio.sleep(1)
        assert server.wires[1].heard == [{"id": "a"}]
        assert mux.unmatched == 1


@both_loops
async def test_is_last_of_a_message_that_waits_for_room() -> None:
    messages = [{"id": "a", "n": number, "last": number == 9} for number in range(10)]
    async with (
        serve(says(*messages)) as server,
        face().multiplex(server.source(), key=by_id) as mux,
        mux.subscribe("a", is_last=lambda message: message["last"], capacity=2, when_full="wait") as feed,
    ):
        await anyio.sleep(1)
        assert [message["n"] async for message in feed] == list(range(10))


# -- overflow ----------------------------------------------------------------------------------------


@both_loops
async def test_a_subscription_is_a_channel() -> None:
    async with serve(says({"id": "a"})) as server, face().multiplex(server.source(), key=by_id) as mux:
        async with mux.subscribe("a") as feed:
            async with feed as same:
                assert await same.receive() == {"id": "a"}
            with pytest.raises((anyio.ClosedResourceError,)):
                await feed.receive()
            await feed.aclose()
        async with mux as same_mux:
            assert same_mux is mux
        with pytest.raises((anyio.ClosedResourceError,)):
            await mux.receive()


@both_loops
async def test_a_key_in_use_by_the_time_it_is_subscribed_again() -> None:
    """Its key moved away, was taken by another, and after a reconnect both would have it."""

    async def assigns(wire: Wire) -> None:
        while True:
            request = await wire.get()
            if request.get("drop"):
                await wire.peer.drop()
                return
            await wire.say({"id": request["id"], "result": request.get("as")})

    async with serve(assigns) as server, face().multiplex(server.source(), key=by_id) as mux:
        confirm = {"confirm": lambda reply: reply["result"]}
        async with mux.subscribe(1, subscribe={"id": 1, "as": "moved"}, **confirm) as first:
            assert first.key == "moved"
            async with mux.subscribe(1, subscribe={"id": 1, "as": None}, **confirm) as second:
                with pytest.raises(ValueError, match="the key 'moved', which confirm returned, is in use"):
                    async with mux.subscribe(2, subscribe={"id": 2, "as": "moved"}, **confirm):
                        raise AssertionError
                await mux.send({"drop": True})
                with pytest.raises(ValueError, match="the key 1 is in use, on a new session"):
                    await second.receive()
