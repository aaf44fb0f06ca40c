"""What carries a session once the handshake is done: bytes in, bytes out, close.

A session does not know what carries it. Each way is one module here: any network stream of httpx2's (:mod:`._stream`),
and what goes to the socket beneath it, plain or with one layer of TLS, on trio (:mod:`._trio`) and on asyncio
(:mod:`._asyncio`); they share the TLS (:mod:`._tls`), and how to find what is beneath a stream (:mod:`._beneath`). What all
of them keep is :class:`Carrier`. Each event loop's module chooses (``carrier_for``). A carrier more is one more module, and a line
there.

May import: the exceptions, and the event loop that a module is for. Is imported by the runtimes, by the session, which
uses a carrier, by the handshake, to end a connection of its own, and by threads, which have carriers of their own, for what
lies beneath a stream.
"""

from ._base import READ_SIZE, WRITE_SIZE, Carrier, CarrierError, Event

__all__ = ["READ_SIZE", "WRITE_SIZE", "Carrier", "CarrierError", "Event"]
