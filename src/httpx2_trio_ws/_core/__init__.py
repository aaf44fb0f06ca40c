"""What sessions on event loops and in threads have in common, without I/O, clock or anyone who waits.

How a session ends (:mod:`._life`), the frames on their way out (:mod:`._frames`), how full its queues may become
(:mod:`._watermarks`), and what it tells: to the application's instruments and the log (:mod:`._watch`), in numbers
(:mod:`._statistics`), and of its state (:mod:`._state`). And what is given to be sent (:mod:`._json`).

May import: the exceptions, the options, the instruments and ``_protocol``. Is imported by ``_session`` and ``_sync``.
"""
