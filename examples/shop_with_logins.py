"""An application with its own logins: the auth server is a part of it, mounted at /auth.

pip install 'tokenkeep[server,fastapi]' uvicorn
export TOKENKEEP_ISSUER=http://127.0.0.1:8000/auth
uvicorn shop_with_logins:app
tokenkeep users add Ada --role admin
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI

from tokenkeep.server import AuthServer
from tokenkeep.verifier import AccessToken, Refused
from tokenkeep.verifier.asgi import respond_to_refusal
from tokenkeep.verifier.fastapi import TokenAuth

# Its settings are those of `tokenkeep serve`: tokenkeep.toml, and variables of the environment.
auth_server = AuthServer()
auth = TokenAuth(auth_server.verifier)

app = FastAPI(title="Shop")
app.add_exception_handler(Refused, respond_to_refusal)
auth_server.mount(app, "/auth")

User = Annotated[AccessToken, Depends(auth)]
Administrator = Annotated[AccessToken, Depends(auth.require(role="admin"))]


@app.get("/cart")
async def show_cart(user: User) -> dict[str, Any]:
    """Show the cart of whoever asks; after a logout nobody does, from that moment on."""
    return {"of": user.name, "items": []}


@app.get("/reports")
async def show_reports(administrator: Administrator) -> dict[str, Any]:
    """Show the reports; for administrators."""
    accounts = await auth_server.accounts.list()
    return {"for": administrator.name, "customers": len(accounts)}
