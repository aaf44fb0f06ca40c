"""Above sessions: one for many tasks (:mod:`._multiplexer`, :mod:`._block`), and many as one stream (:mod:`._merge`).

What a subscriber holds is in :mod:`._subscription`, the bounded queue under it in :mod:`._queue`. All of it is written once,
against the runtime (``_runtime``), names no event loop, and uses a session's public calls only.

May import: the exceptions, ``_runtime``, the session's class from ``_session``, and how groups are taken apart from
``_reconnecting``. Is imported by the faces.
"""
