"""MQTT over a WebSocket: the sans-IO half of an MQTT library on a WebSocketStream.

    python examples/real/mqtt.py ws://127.0.0.1:9001/mqtt

Publishes readings with QoS 1 and receives them by its own subscription. MQTT packets have nothing to do with the
boundaries of messages, so the session is used as a stream of bytes. docs/real/mqtt.md says how to start a broker.
"""

from __future__ import annotations

import sys

import httpx2
import trio
from moat.lib.mqtt import (
    MQTTConnAckPacket,
    MQTTPublishAckPacket,
    MQTTPublishPacket,
    MQTTSubscribeAckPacket,
    Pattern,
    QoS,
    Subscription,
)
from moat.lib.mqtt.client_state_machine import MQTTClientStateMachine

from httpx2_trio_ws import WebSocketStream, open_websocket

READINGS = 1000


class Client:
    """The library's state machine, and the stream that carries its bytes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.mqtt = MQTTClientStateMachine()
        self._lock = trio.Lock()  # a stream takes one call of each kind at a time
        self.ready, self.acknowledged, self.received = trio.Event(), 0, 0

    async def flush(self) -> None:
        """Send what the state machine wants to be sent."""
        async with self._lock:
            if data := self.mqtt.get_outbound_data():
                await self.stream.send_all(bytes(data))

    async def receive(self) -> None:
        """Feed it what comes, until all readings are acknowledged and back."""
        while min(self.acknowledged, self.received) < READINGS:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError("the broker has closed")
            for packet in self.mqtt.feed_bytes(bytes(data)):
                if isinstance(packet, MQTTConnAckPacket):
                    readings = Subscription(pattern=Pattern("sensors/#"), max_qos=QoS.AT_LEAST_ONCE)
                    self.mqtt.subscribe([readings])
                elif isinstance(packet, MQTTSubscribeAckPacket):
                    self.ready.set()
                elif isinstance(packet, MQTTPublishAckPacket):
                    self.acknowledged += 1
                elif isinstance(packet, MQTTPublishPacket):
                    assert packet.payload == f"{self.received} degrees", "lost, twice, or out of order"
                    self.received += 1
            await self.flush()

    async def publish(self) -> None:
        """Publish all readings; sending waits when the broker does not read."""
        await self.ready.wait()
        for number in range(READINGS):
            self.mqtt.publish(f"sensors/{number % 7}", f"{number} degrees", qos=QoS.AT_LEAST_ONCE)
            await self.flush()


async def main(url: str) -> None:
    async with httpx2.AsyncClient() as client, open_websocket(client, url, subprotocols=["mqtt"]) as session:
        one = Client(WebSocketStream(session))
        one.mqtt.connect(keep_alive=30)
        await one.flush()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.publish)
            await one.receive()
        one.mqtt.disconnect()
        await one.flush()
        await one.stream.aclose()  # flushes; leaving by an error or a cancellation does not
        print(f"{one.received} readings, in order; {one.acknowledged} acknowledged")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:9001/mqtt (see docs/real/mqtt.md)")
    trio.run(main, sys.argv[1])
