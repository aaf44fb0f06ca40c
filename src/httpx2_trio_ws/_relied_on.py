"""What this package uses of others though they do not document it, checked once, when it is imported.

Without ``needed`` names there is no session. Where one of the ``better`` names is gone, something slower or less clear
takes its place; that is where the name is used, and so are the attributes of objects that only exist later: the TLS object
and the buffers in trio's and anyio's TLS streams, and asyncio's transport under anyio's stream. Their fallback is the
network stream itself (:mod:`._carriers`).
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
    Name("httpcore2", "httpcore2", "AsyncNetworkStream", "what a session is carried by"),
    Name("trio", "trio.lowlevel", "in_trio_task", "telling which event loop runs"),
)
BETTER = (
    Name("trio", "trio.lowlevel", "Task._cancel_status", "asking whether a task is cancelled without a checkpoint"),
    Name("httpx2", "httpx2", "AsyncClient._build_redirect_request", "telling a redirect to what is no URL"),
)


def find(name: Name) -> Any:
    """The object that is meant; ``None`` if it is not there."""
    try:
        found: Any = importlib.import_module(name.module)
    except ImportError:
        return None
    for part in name.name.split("."):
        # Slots are found as descriptors; what an instance alone has is not.
        found = getattr(found, part, None)
    return found


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
