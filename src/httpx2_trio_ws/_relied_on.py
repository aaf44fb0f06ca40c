"""What this package uses of others though they do not document it, checked once, when it is imported.

Without the names of :data:`NEEDED` there is no session. Where one of :data:`BETTER` is gone, something slower or less clear
takes its place, where it is used. What is read from streams (:mod:`._carriers._beneath`) then is left alone, and the session
goes through the stream. The tests look for all of them, those of pre-releases, too.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import Any, NamedTuple


class Name(NamedTuple):
    """A name in a module of a package, and what it is for."""

    package: str
    module: str
    name: str
    use: str


NEEDED = (
    Name("websockets", "websockets.client", "ClientProtocol.process_response", "checking the answer to the handshake"),
    Name("websockets", "websockets.extensions.permessage_deflate", "PerMessageDeflate", "compression"),
    Name(
        "websockets",
        "websockets.extensions.permessage_deflate",
        "ClientPerMessageDeflateFactory.get_request_params",
        "offering compression",
    ),
    Name("websockets", "websockets.frames", "apply_mask", "masking, in C where websockets has it"),
    Name("websockets", "websockets.frames", "Frame.serialize", "control frames"),
    Name("websockets", "websockets.headers", "build_extension", "offering compression"),
    Name("websockets", "websockets.protocol", "Protocol.receive_data", "control frames and the closing handshake"),
    Name("websockets", "websockets.utils", "generate_key", "the handshake's key"),
    Name("websockets", "websockets.utils", "accept_key", "the answer to the handshake's key"),
    Name("httpcore2", "httpcore2", "AsyncNetworkStream", "what a session is carried by"),
    Name("trio", "trio.lowlevel", "in_trio_task", "telling which event loop runs"),
)
_TLS = "reading and writing under TLS without the stream"
_PLACE = "waking the task that waits for a message where the one that reads would be"
BETTER = (
    Name("trio", "trio.lowlevel", "Task._cancel_status", "asking whether a task is cancelled without a checkpoint"),
    Name("anyio", "anyio.lowlevel", "EventLoopToken.backend_class", "a checkpoint without looking for the event loop"),
    Name(
        "anyio", "anyio._backends._asyncio", "_task_states", "asking whether a task is cancelled without a checkpoint"
    ),
    Name("anyio", "anyio._backends._asyncio", "TaskState.cancel_scope", "likewise"),
    Name("anyio", "anyio._backends._asyncio", "CancelScope._parent_scope", "likewise"),
    Name(
        "anyio",
        "anyio._backends._asyncio",
        "CancelScope._cancel_reason",
        "telling a scope's cancellation from a task's",
    ),
    Name(
        "anyio", "anyio._backends._asyncio", "SocketStream._transport", "knowing that nobody else reads from a socket"
    ),
    Name("trio", "trio._core._run", "GLOBAL_RUN_CONTEXT", _PLACE),
    Name("trio", "trio._core._run", "Runner.io_manager", _PLACE),
    Name("trio", "trio._core._io_epoll", "EpollIOManager._registered", _PLACE),
    Name("trio", "trio._core._io_epoll", "EpollIOManager._update_registrations", _PLACE),
    Name("trio", "trio._core._io_epoll", "EpollWaiters.read_task", _PLACE),
    *(Name("trio", "trio", f"SSLStream.{name}", _TLS) for name in ("_ssl_object", "_incoming", "_outgoing")),
    *(
        Name("anyio", "anyio.streams.tls", f"TLSStream.{name}", _TLS)
        for name in ("_ssl_object", "_read_bio", "_write_bio")
    ),
    Name("httpcore2", "httpcore2._backends.trio", "TrioStream._stream", "finding the stream beneath"),
    Name(
        "httpcore2",
        "httpcore2._async.http11",
        "AsyncHTTP11UpgradeStream._leading_data",
        "knowing that nothing came together with the answer",
    ),
    Name("httpcore2", "httpcore2._backends.anyio", "AnyIOStream._stream", "finding the stream beneath"),
    Name("httpx2", "httpx2", "AsyncClient._build_redirect_request", "telling a redirect to what is no URL"),
)


def find(name: Name) -> Any:
    """The object that is meant; ``None`` if it is not there."""
    try:
        found: Any = importlib.import_module(name.module)
    except ImportError:
        return None
    for part in name.name.split("."):
        found = getattr(found, part, None) or _of_instances(found, part)
    return found


def _of_instances(owner: Any, name: str) -> bool | None:
    """Whether a class gives its instances an attribute, though it has none of that name."""
    set_there = getattr(getattr(owner, "__init__", None), "__code__", None)
    return name in getattr(owner, "__annotations__", ()) or name in getattr(set_there, "co_names", ()) or None


def check(names: tuple[Name, ...] = NEEDED) -> None:
    """Raise :exc:`ImportError` if one is missing, with the package, its version and the name."""
    for name in names:
        if find(name) is None:
            raise ImportError(
                f"httpx2-trio-ws needs {name.module}.{name.name} for {name.use}, and {name.package} "
                f"{version(name.package)}, which is installed, has none: install another version of {name.package}",
                name=name.module,
            )


check()
