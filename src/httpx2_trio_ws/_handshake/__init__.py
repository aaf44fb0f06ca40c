"""The opening handshake (RFC 6455 §4.1): an ordinary request of the client, and what its answer must be.

How a session is asked for and accepted is said once for each version of HTTP (:mod:`._versions`): nobody else knows of methods
and statuses. What may be asked are pure functions (:mod:`._rules`), and so is what comes of the answer
(:mod:`._agreement`). An :class:`~._request.Opening` is one call, and the same for tasks and threads: who sends its request
through the client's pipeline and waits is around it, a task in :mod:`._asking`, a thread in ``_sync``. A proxy that fails on
the way is called one (:mod:`._steps`). A refusal is read as far as it says why (:mod:`._refusal`).

May import: the exceptions, the options, the carriers, and the runtime's types. Is imported by ``_session``, ``_sync``, the
HTTP/2 transport, the faces, the command line and ``testing``.
"""
