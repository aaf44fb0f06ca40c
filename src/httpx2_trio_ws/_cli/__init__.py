"""The command line: ``python -m httpx2_trio_ws``, with a URL a client, without one the demonstration.

May import: the public names only. Is imported by ``__main__`` and nothing else.
"""
