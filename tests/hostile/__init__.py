"""Hostile and clumsy servers: a table of scenarios, each played against a real session."""
