"""Many sessions held for minutes against a real server, through a proxy that breaks things: see ``run.py``."""
