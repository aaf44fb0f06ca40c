"""The opening handshake (RFC 6455 §4.1): an ordinary request of the client, and what its answer must be.

The rules are pure functions (:mod:`._rules`). The request goes through the client's pipeline, with everything that is set
on it (:mod:`._request`), and a proxy that fails on the way is called one (:mod:`._proxies`). A refusal is read as far as it says why (:mod:`._refusal`).

May import: the exceptions, the options, and the runtime's types. Is imported by ``_session``, ``_sync``, the faces and
``testing``.
"""
