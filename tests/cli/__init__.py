"""The command line's client."""
