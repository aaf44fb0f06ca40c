"""One session after another: the loop for tasks (:mod:`._loop`) and for threads (:mod:`._blocking`).

What both know of their sessions and conclude from it is in :mod:`._attempts`; what is worth another attempt, and when, in
:mod:`._policy`. Neither does any I/O.

May import: the exceptions, the options, and of ``_session`` and ``_sync`` what opens a session and the session's public
calls. Is imported by the faces and by ``_multiplexing``.
"""
