"""The blocking session: threads instead of an event loop.

Who does what
-------------

Each session has one thread of its own, the *reader* (:mod:`._reader`). It is a daemon, so that it never keeps the
interpreter from ending, and it has ended when the block has been left. It alone reads, feeds the protocol, answers
pings, keeps the deadlines, and in the end closes the connection. Other threads only

* take messages from the inbox, or wait there (:mod:`._inbox`);
* put frames into the outbox, or wait there, or write a lone message on their own (:mod:`._outbox`);
* leave the reader an order, *ping*, *pong* or *close*, and wake it (:mod:`._engine`).

So nothing of the protocol needs a lock but the encoder of messages, which is the outbox's.

Python raises :exc:`KeyboardInterrupt` in the main thread, between any two steps of its code, and in no other thread.
That is why the main thread never reads: bytes that it had read would be lost. What it does do is written so that it may
be left after any step: a message is taken in one step, a frame is on its way as a whole or not at all, and an order is
left in one step.

States
------

=============  ==========================================================  =====================================
state          begins with                                                 calls raise
=============  ==========================================================  =====================================
open           the handshake                                               nothing
draining       a write that failed                                         sending ones, what failed
ended          the peer's close frame, a failure, our ``close()``          what it was; receiving ones once the
                                                                           queue is empty
done           the reader has closed the connection                        as before
=============  ==========================================================  =====================================

``Outbox.error`` is what sending calls raise, ``Inbox.error`` what receiving calls raise, ``Reader.done`` a signal.

Locks
-----

Each is held for a few steps, and never while its holder waits. Whoever holds one of the first three may take the
poller's, and no other.

==================  ==================================================  ==========================================
lock                guards                                              taken by
==================  ==================================================  ==========================================
``Inbox.lock``      the threads that wait for messages, and the end of  the reader; receivers that have to wait. A
                    receiving                                           message that is there is taken without it
``Outbox.lock``     the frames, the encoder, the end of sending, and    senders; the reader, but not while it
                    the socket's write side while nothing is queued     writes
``Pings``' own      the pings that wait for pongs                       callers of ``ping()``; the reader
``Poller``'s own    the socket that wakes the reader                    whoever wakes it; the reader
==================  ==================================================  ==========================================

What is read or changed without a lock is one attribute or one queue, in one step, and to act on it late or twice does
no harm. So nothing relies on the interpreter's own lock.

Who wakes whom
--------------

Every thread that waits has a :class:`._waiting.Waiter` of its own, and whoever takes it out of its queue sets it: the
reader the receivers (a message, the end), the senders (room, their frame is written, the end) and those who wait for
a pong or for the session to be done. The reader itself sleeps in ``select`` (:mod:`._poller`) until the connection is
ready, the next deadline has come, or a byte is in its wakeup socket: from a sender (frames are queued), a receiver
(there is room again), an order, or the block being left.

Deadlines
---------

The reader has two: when the session must have ended (closing, draining), and when keepalive is to be looked at. The
opening has one for the whole of it (:mod:`._deadline`); its thread has ended before the reader begins.

May import: ``_core``, ``_protocol``, ``_handshake``, what is beneath them, and ``_carriers`` for what lies beneath a stream. Is imported by the face, ``sync``.
"""
