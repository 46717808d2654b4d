"""A service of its own that accepts the access tokens of an auth server elsewhere.

pip install 'tokenkeep[fastapi]' granian
tokenkeep serve --audiences http://127.0.0.1:8001
ISSUER=http://127.0.0.1:8000 AUDIENCE=http://127.0.0.1:8001 granian --interface asgi --port 8001 orders_service:app

A token for it comes with {"audience":"http://127.0.0.1:8001"} in the body of the auth server's /login.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Response, WebSocket

from tokenkeep.verifier import AccessToken, AsyncTokenVerifier, Refused
from tokenkeep.verifier.asgi import respond_to_refusal
from tokenkeep.verifier.fastapi import TokenAuth

verifier = AsyncTokenVerifier(issuer=os.environ["ISSUER"], audience=os.environ["AUDIENCE"], algorithms=["ES256"])
auth = TokenAuth(verifier)

User = Annotated[AccessToken, Depends(auth)]
Administrator = Annotated[AccessToken, Depends(auth.require(role="admin"))]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Let no fetch outlive the service."""
    async with verifier:
        yield


app = FastAPI(title="Orders", lifespan=lifespan)
app.add_exception_handler(Refused, respond_to_refusal)


@app.get("/health")
async def health(response: Response) -> dict[str, bool]:
    """Tell whether tokens can be judged; asked regularly, this also fetches the keys before the first user comes."""
    ready = await verifier.ready()
    response.status_code = 200 if ready else 503
    return {"ready": ready}


@app.get("/orders")
async def list_orders(user: User) -> dict[str, Any]:
    """List the orders of whoever asks."""
    return {"of": user.name, "orders": []}


@app.delete("/orders")
async def delete_orders(administrator: Administrator) -> dict[str, Any]:
    """Delete all orders; for administrators."""
    return {"deletedBy": administrator.name}


@app.websocket("/updates")
async def send_updates(socket: WebSocket, user: User) -> None:
    """Greet whoever listens; without a token the handshake is refused."""
    await socket.accept()
    await socket.send_text(f"Hello {user.name}")
    await socket.close()
