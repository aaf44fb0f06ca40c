"""The opening of a session in bytes, for the floors."""

from urllib.parse import urlsplit

from .jobs import masked_frame

CLOSE = bytes((0x88,)) + masked_frame((1000).to_bytes(2), text=True)[1:]


def upgrade(url: str) -> bytes:
    """A handshake (RFC 6455 §4.1), with the key that the RFC has as its example."""
    parts = urlsplit(url)
    return (
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
