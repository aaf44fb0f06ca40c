"""What lies beneath a network stream that httpx2 hands out.

Sockets and TLS objects are told by the stream itself (``get_extra_info``). Names that are not documented are used in
this module only, and listed in ``_relied_on``. Whatever is not found, or is not what it was expected to be, is left alone: then the session goes
through the stream.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2


class TLS(NamedTuple):
    """TLS on a plain socket: the object that encrypts and decrypts, and where it takes records from and puts them."""

    object: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO


def _has_descriptor(stream: Any) -> bool:
    """At the bottom of a stream is a socket whose file descriptor can be read and written, which is for POSIX."""
    return os.name == "posix" and hasattr(stream.get_extra_info("socket"), "fileno")


def on_plain_socket(stream: Any) -> bool:
    """What a network stream reads and writes goes over its socket unchanged."""
    return _has_descriptor(stream) and stream.get_extra_info("ssl_object") is None


def tls_beneath(stream: Any) -> TLS | None:
    """The one layer of TLS between a network stream and its socket; ``None`` if there are more, or other ones."""
    tls: Any = stream.get_extra_info("ssl_object")
    if not _has_descriptor(stream) or not isinstance(tls, ssl.SSLObject):
        return None
    layers = [layer for layer in _layers(stream) if hasattr(layer, "transport_stream")]
    if len(layers) != 1:
        return None
    found: Any = getattr(layers[0], "_ssl_object", None)
    for names in (("_incoming", "_outgoing"), ("_read_bio", "_write_bio")):  # trio's and anyio's
        incoming, outgoing = (getattr(layers[0], name, None) for name in names)
        if found is tls and isinstance(incoming, ssl.MemoryBIO) and isinstance(outgoing, ssl.MemoryBIO):
            return TLS(tls, incoming, outgoing)
    return None


def _layers(stream: Any) -> Iterator[Any]:
    """A network stream, and what it is made of, down to the one on the socket."""
    while stream is not None:
        yield stream
        # The second is documented, of trio's TLS stream and of anyio's.
        stream = getattr(stream, "_stream", None) or getattr(stream, "transport_stream", None)


def may_hold_bytes(stream: Any) -> bool:
    """An upgraded stream may have bytes that came together with the 101. It need not have."""
    return getattr(stream, "_leading_data", None) != b""


def own_stream(response: httpx2.Response) -> Any:
    """The network stream that an answer came on; ``None`` if there is none, or others use it, too: it speaks HTTP/2."""
    return response.extensions.get("network_stream") if response.http_version.startswith("HTTP/1.") else None


def shut_down(stream: Any) -> None:
    """End the connection under a network stream, in both directions, if there is one. It stays to be closed."""
    sock: Any = None if stream is None else stream.get_extra_info("socket")
    if hasattr(sock, "fileno"):
        # A closed socket's descriptor is -1.
        with contextlib.suppress(OSError), socket.fromfd(sock.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
            same.shutdown(socket.SHUT_RDWR)


def is_paused(stream: Any) -> bool:
    """The loop's transport under a stream is not reading. That is never said of one that cannot be found."""
    for layer in _layers(stream):
        transport = getattr(layer, "_transport", None)
        if transport is not None:
            return not transport.is_reading()
    return False


class Told(Protocol):
    """Who is told that the client closes a connection."""

    def client_closes(self) -> object: ...


def call_before_closing(stream: Any, told: Told) -> None:
    """Have ``told`` told before the client closes the connection under a network stream; once, in any thread.

    A client that is closed closes the streams that its pool knows: the ones beneath those that it handed out with a 101.
    Neither event loops nor ``poll`` tell of it to who waits for the socket by other ways.
    """
    beneath: Any = getattr(stream, "_stream", None)
    for name in ("aclose", "close"):
        if hasattr(beneath, name):
            with contextlib.suppress(AttributeError):  # where nothing can be put
                setattr(beneath, name, _Closing(beneath, name, told))
            return


class _Closing:
    """Stands before a stream's own method, until it is called."""

    __slots__ = ("name", "stream", "told")

    def __init__(self, stream: Any, name: str, told: Told) -> None:
        self.stream = stream
        self.name = name
        self.told = told

    def __call__(self) -> Any:
        delattr(self.stream, self.name)
        self.told.client_closes()
        return getattr(self.stream, self.name)()
