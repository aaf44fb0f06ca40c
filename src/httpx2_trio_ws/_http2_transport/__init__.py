"""WebSockets over HTTP/2 (RFC 8441): the transport of a client, and the connections whose streams carry sessions.

A request that asks for a WebSocket is sent in HTTP/2's words (``_handshake._versions``), and its answer translated back
(:mod:`._translating`), so that nothing above knows of HTTP/2. Which connection it goes to, a new one or one that is there,
is decided in :mod:`._pool`; :mod:`._dial` makes one with what httpcore2 has, proxies and TLS included. A connection
(:mod:`._connection`) is a system task that reads, and one that writes (:mod:`._writer`), over a carrier of its own; a stream
of it (:mod:`._stream`) has the carrier of a session. What the streams of a connection may write, and in which order, is in
:mod:`._turns`.

May import: ``_http2``, ``_carriers``, ``_protocol``, ``_handshake``, the runtime's types, httpx2 and httpcore2. Is imported
by the face, ``http2``.
"""
