"""ASGI's vocabulary: types, and checks of what an app is and of what it sends."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from enum import Enum
from typing import Any, cast

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
#: Frameworks declare these three in ways that do not fit together, so they are not looked at.
App = Callable[[Any, Any, Any], Awaitable[Any]]
Headers = list[tuple[bytes, bytes]]

_SIGNATURE = "async def app(scope, receive, send)"


class ClientDisconnect(OSError):
    """What ``send()`` raises in an app whose client has gone (ASGI HTTP & WebSocket 2.4)."""


class Stage(Enum):
    """How far a call of the app has come; the value goes into error messages."""

    WAITING = "before it had answered"
    RESPONDING = "while it was sending a response"
    RESPONDED = "after its answer was complete"
    OPEN = "after 'websocket.accept'"
    CLOSED = "after 'websocket.close'"


def check_app(app: object) -> None:
    """Refuse what cannot be an ASGI app, as far as that can be told without calling it.

    Raises:
        TypeError: saying what it looks like, and what to do.
    """
    if not callable(app):
        raise TypeError(f"an ASGI app is a callable, {_SIGNATURE}, not {app!r}")
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return  # written in C; calling it will tell
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    try:
        signature.bind(None, None, None)
    except TypeError:
        if len(positional) == 1:
            raise TypeError(
                f"{app!r} takes one argument, so it looks like an ASGI 2 app, app(scope)(receive, send); wrap it with "
                "asgiref.compatibility.guarantee_single_callable()"
            ) from None
        if len(positional) == 2:
            raise TypeError(
                f"{app!r} takes two arguments, so it looks like a WSGI app, app(environ, start_response), which knows "
                "no WebSockets; if it is one, test it with httpx2.WSGITransport"
            ) from None
        raise TypeError(f"an ASGI app is called with three arguments, {_SIGNATURE}; {app!r} takes others") from None
    if isinstance(app, type) and not hasattr(app, "__await__"):
        raise TypeError(f"{app!r} is a class; pass an instance, {app.__name__}()")


async def call_app(app: App, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Call the app.

    Raises:
        TypeError: it gives nothing to await. Else what the app raises.
    """
    result: object = app(scope, receive, send)
    if not inspect.isawaitable(result):
        raise TypeError(f"{app!r} is no ASGI app, {_SIGNATURE}: calling it gave {result!r}, which cannot be awaited")
    await result


def type_of(event: object) -> str:
    """The event's ``type``.

    Raises:
        TypeError: it has none, or is no event.
    """
    if not isinstance(event, Mapping):
        raise TypeError(f"the app sent {event!r}; an ASGI event is a dict")
    kind = cast("Mapping[str, object]", event).get("type")
    if not isinstance(kind, str):
        raise TypeError(f"the app sent {event!r}; an ASGI event has a 'type', a str")
    return kind


def field(event: Event, name: str, kinds: tuple[type, ...], default: Any) -> Any:
    """``event[name]``; ``default`` if it is missing or ``None``, which must not be where the default is ``...``.

    Raises:
        TypeError: it is of another type.
    """
    value = event.get(name)
    if value is None and default is not ...:
        return default
    if isinstance(value, bool) or not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{name!r} of {event['type']!r} must be {wanted}, not {value!r}")
    return value


def headers_of(event: Event, refused: Iterable[bytes] = ()) -> Headers:
    """The headers that an event carries.

    Raises:
        TypeError: they are not pairs of bytes.
        ValueError: one is the server's own.
    """
    headers: Headers = []
    for item in event.get("headers") or ():
        try:
            name, value = item
        except (TypeError, ValueError):
            name = value = None
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise TypeError(f"each header of {event['type']!r} is a pair of bytes, (name, value), not {item!r}")
        if name.lower() in refused:
            raise ValueError(f"the header {name!r} may not be in {event['type']!r}: it is the server's own")
        headers.append((name, value))
    return headers


def listed(kinds: Iterable[str]) -> str:
    """Event types for an error message: ``'a', 'b' or 'c'``."""
    *others, last = [repr(kind) for kind in kinds] or ["nothing"]
    return f"{', '.join(others)} or {last}" if others else last


def leaves(exc: BaseException) -> list[BaseException]:
    """The exceptions in a group, at any depth, or ``exc`` itself."""
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for part in cast("BaseExceptionGroup[BaseException]", exc).exceptions for leaf in leaves(part)]
    return [exc]
