"""A GraphQL server with a query and subscriptions, for graphql_client.py: strawberry on uvicorn.

python examples/real/graphql_server.py 8000
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator  # strawberry reads the annotations

import anyio
import strawberry
import uvicorn
from strawberry.asgi import GraphQL


@strawberry.type
class Query:
    """What can be asked."""

    @strawberry.field
    def hello(self, name: str) -> str:
        """A greeting."""
        return f"hello, {name}"


@strawberry.type
class Subscription:
    """What can be listened to."""

    @strawberry.subscription
    async def ticks(self, every: float) -> AsyncGenerator[int, None]:
        """0, 1, 2 …, one in so many seconds."""
        number = 0
        while True:
            yield number
            number += 1
            await anyio.sleep(every)


if __name__ == "__main__":
    app = GraphQL(strawberry.Schema(Query, subscription=Subscription))
    uvicorn.run(app, port=int(sys.argv[1]), ws="websockets-sansio", log_level="warning", timeout_graceful_shutdown=0)
