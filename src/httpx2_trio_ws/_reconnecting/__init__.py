"""One session after another: the loop (:mod:`._loop`), and what is worth another attempt, and when (:mod:`._policy`).

May import: the exceptions, the options, and of ``_session`` what opens a session and the session's public calls. Is imported
by the faces.
"""
