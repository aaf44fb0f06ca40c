"""The same app in each framework: echo, auth, subprotocol, denial, and a room that is broadcast to."""
