"""Servers for messages in parts."""
