"""MQTT over a WebSocket, with mosquitto."""

from __future__ import annotations

from .services import folder, free_port, needs, run, service


def test_mosquitto() -> None:
    mosquitto = needs("mosquitto", "apt-get install mosquitto")
    port = free_port()
    with folder() as here:
        config = here / "mosquitto.conf"
        config.write_text(
            f"listener {free_port()} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n"
        )
        with service(mosquitto, "-c", config, port=port):
            lines = run("mqtt.py", f"ws://127.0.0.1:{port}/mqtt")
    assert lines == ["1000 readings, in order; 1000 acknowledged"]
