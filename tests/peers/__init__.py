"""Other WebSocket clients, for what the documentation says of them."""
