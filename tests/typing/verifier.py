"""How the verifiers are used, for the type checker alone: nothing here is run.

Each line marked `type: ignore` is a mistake the checker must see; one that it no longer sees fails the check.
"""

from datetime import timedelta
from typing import Annotated, Any, assert_type

from fastapi import Depends, FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.middleware import Middleware

from tokenkeep import Key, KeySet
from tokenkeep.verifier import (
    AccessToken,
    AsyncTokenVerifier,
    KeyFetching,
    KeyStatus,
    Profile,
    Refused,
    RevocationFeed,
    RevocationStatus,
    TokenVerifier,
)
from tokenkeep.verifier.asgi import TokenGuard, respond_to_refusal
from tokenkeep.verifier.fastapi import TokenAuth

ISSUER = "https://auth.example.com"
AUDIENCE = "https://orders.example.com"


def in_threads(request: Request) -> None:
    """The verifier for threads returns what a token says."""
    fetching = KeyFetching(cooldown=timedelta(seconds=5), private_network=True)
    with TokenVerifier(issuer=ISSUER, audience=AUDIENCE, algorithms=["ES256"], fetching=fetching) as verifier:
        token = verifier.authenticate(request.headers.getlist("authorization"))
        assert_type(token, AccessToken)
        assert_type(verifier.require_role(token, "admin", "clerk"), AccessToken)
        assert_type(verifier.require_scope(token, "orders:read"), AccessToken)
        assert_type(verifier.ready(), bool)
        assert_type(verifier.key_status(), KeyStatus)
        assert_type(token.token_id, str | None)
        assert_type(token.subject, str)
        assert_type(token.claims["scope"], Any)

    TokenVerifier(issuer=ISSUER, audience=[AUDIENCE], algorithms=("ES256",), keys=Key.generate("ES256"))
    TokenVerifier(issuer=ISSUER, audience=AUDIENCE, algorithms=["RS256"], profile=Profile.PLAIN, token_type=None)
    TokenVerifier(issuer=ISSUER, audience=AUDIENCE)  # type: ignore[call-arg]
    TokenVerifier(ISSUER, AUDIENCE, ["ES256"])  # type: ignore[call-arg]
    TokenVerifier(issuer=ISSUER, audience=AUDIENCE, algorithms=["ES256"], profile="plain")  # type: ignore[arg-type]


def with_a_feed() -> None:
    """What is revoked is followed by a policy whose staleness must be given."""
    feed = RevocationFeed(max_staleness=timedelta(seconds=30), token="x", when_stale="accept")
    verifier = TokenVerifier(issuer=ISSUER, audience=AUDIENCE, algorithms=["ES256"], revocations=feed)
    assert_type(verifier.revocation_status(), RevocationStatus)
    AsyncTokenVerifier(issuer=ISSUER, audience=AUDIENCE, algorithms=["ES256"], revocations=feed)
    RevocationFeed(token="x")  # type: ignore[call-arg]
    RevocationFeed(max_staleness=30)  # type: ignore[arg-type]
    RevocationFeed(max_staleness=timedelta(seconds=30), when_stale="ignore")  # type: ignore[arg-type]


async def in_an_event_loop() -> None:
    """The verifier for asyncio is awaited."""
    async with AsyncTokenVerifier(
        issuer=ISSUER, audience=AUDIENCE, algorithms=["ES256"], keys=lambda: KeySet([Key.generate("ES256")])
    ) as verifier:
        token = await verifier.authenticate(["Bearer x"])
        assert_type(token, AccessToken)
        assert_type(await verifier.verify("x"), AccessToken)
        assert_type(await verifier.ready(), bool)
        verifier.authenticate(["Bearer x"])  # type: ignore[unused-coroutine]


def in_applications(verifier: AsyncTokenVerifier, local: TokenVerifier) -> None:
    """Both adapters take both kinds."""
    auth = TokenAuth(verifier)
    assert_type(auth.require(role="admin"), TokenAuth)
    TokenAuth(local, scheme_name="local").require(role=["admin", "clerk"])
    assert_type(auth.require(scope="orders:read", role="admin"), TokenAuth)
    auth.require("admin")  # type: ignore[call-arg]

    app = FastAPI()
    app.add_exception_handler(Refused, respond_to_refusal)

    @app.get("/orders")
    async def orders(user: Annotated[AccessToken, Depends(auth)]) -> str:
        return user.subject

    @app.websocket("/updates")
    async def updates(socket: WebSocket, user: Annotated[AccessToken, Depends(auth.require(role="user"))]) -> None:
        await socket.accept()

    TokenGuard(app, verifier, open_paths=["/health"])
    Starlette(middleware=[Middleware(TokenGuard, verifier=local, open_paths=["/health"])])
    app.add_middleware(TokenGuard, verifier=verifier)
