"""Refusals as responses of a Starlette application: the shared list of requests, over HTTP."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.verifier.requests_to_judge import REQUESTS, Request, token, verifier
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.verifier import Refused, TokenVerifier
from tokenkeep.verifier.asgi import respond_to_refusal


def guarded_by(judge: TokenVerifier) -> TestClient:
    """Return a client of an application whose routes are guarded by the verifier."""

    async def me(request: HttpRequest) -> JSONResponse:
        return JSONResponse({"name": judge.authenticate(request.headers.getlist("authorization")).name})

    async def admin(request: HttpRequest) -> JSONResponse:
        judge.require_role(judge.authenticate(request.headers.getlist("authorization")), "admin")
        return JSONResponse({})

    return TestClient(
        Starlette(routes=[Route("/me", me), Route("/admin", admin)], exception_handlers={Refused: respond_to_refusal})
    )


@pytest.mark.parametrize(
    "request_",
    [request for request in REQUESTS if not any("\n" in value for value in request.authorization())],
    ids=lambda request: request.name,
)
def test_request_gets_its_verdict(request_: Request):
    """Over HTTP each request of the shared list gets the status, headers and body of its refusal."""
    revoked = RevocationSet()
    revoked.add(request_.revoked)
    client = guarded_by(verifier(revoked, elapsed=request_.elapsed))
    answer = client.get("/me", headers=[("Authorization", value) for value in request_.authorization()])
    if request_.refusal is None:
        assert (answer.status_code, answer.json()) == (200, {"name": "Ada"})
        return
    reason = {"reason": request_.reason} if request_.reason else {}
    refusal = request_.refusal()
    assert answer.status_code == refusal.status
    assert answer.json() == {**refusal.problem(), **reason}
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("www-authenticate") == refusal.challenge
    assert answer.headers["cache-control"] == "no-store"


def test_wrong_role_is_forbidden():
    """A good token of another role gets 403 and its challenge."""
    answer = guarded_by(verifier()).get("/admin", headers={"Authorization": f"Bearer {token()}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
    good = guarded_by(verifier()).get("/admin", headers={"Authorization": f"Bearer {token({'role': 'admin'})}"})
    assert good.status_code == 200


def test_other_errors_are_not_swallowed():
    """What is no refusal goes on to the application's own handlers."""
    error = LookupError("no refusal")
    with pytest.raises(LookupError) as raised:
        respond_to_refusal(HttpRequest({"type": "http"}), error)
    assert raised.value is error
