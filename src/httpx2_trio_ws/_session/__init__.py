"""A session on an event loop: its calls, and the engine that reads, writes and ends it, in a nursery of its own.

The calls are in :mod:`._session`; its queues in :mod:`._inbox` and :mod:`._outbox`; its loops, its failures and its end in
:mod:`._engine`; who owns the nursery in :mod:`._opening`. It is written once, against the runtime (``_runtime``) and the
carrier (``_carriers``), and names no event loop.

May import: ``_core``, ``_handshake``, ``_runtime``, ``_carriers`` and what is beneath them. Is imported by the faces, and
by ``_reconnecting``.
"""
