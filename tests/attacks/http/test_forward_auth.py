"""What a proxy is told: no query, no token and no claim makes more of a bearer than was signed for them."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.attacks.http.attacker import NAME, PASSWORD, Attacker
from tests.attacks.http.conftest import OpenServer
from tests.settable_clock import START
from tokenkeep.api.forward_auth import IDENTITY_HEADERS
from tokenkeep.jose import Key, jws

ISSUER: Final = "http://127.0.0.1:8000"
ORDERS: Final = "https://orders.example.com"
OTHER: Final = "https://other.example.com"

TELLING: Final = tuple(name.lower() for name in IDENTITY_HEADERS)

HOSTILE: Final = (
    "role=user&role=admin",
    "role=admin&role=user",
    "role=admin;role=user",
    "role=user%26role=admin",
    "role=user%00",
    "role=user%0d%0aX-Auth-Role:%20admin",
    "role=%75ser%20",
    "role=+user",
    "role=use%C0%B2",
    "role=us%65r&%72ole=user",
    "ROLE=user",
    "role%00=user",
    "role[]=user",
    "role=*",
    "role=.*",
    "role=",
    "role",
    "role=user&=",
    "role=user&&",
    "?role=user",
    "role=user%",
    "role=user%zz",
    f"audience={ISSUER}%00",
    f"audience={ISSUER}%20",
    f"audience={ISSUER}%0d%0a",
    f"audience={ISSUER}&audience={ORDERS}",
    f"audience={ORDERS}",
    "audience=*",
    "audience=",
    "audience=http://127.0.0.1:8000@evil.example",
    "audience=" + "%61" * 1500,
    "access_token=x",
    "aud=x",
    "_=1",
    "role=user&" * 400,
)


@pytest.fixture
async def served(attack: OpenServer) -> Attacker:
    """Somebody who talks to a server that issues tokens for two services beside itself."""
    attacker: Attacker = await attack(audiences=(ORDERS, OTHER))
    await attacker.server.accounts.create(NAME, PASSWORD, role="user", actor="operator")
    return attacker


def signed(attacker: Attacker, key: Key | None = None, *, typ: str = "at+jwt", **changes: Any) -> str:
    """Return a token that is good but for what is changed, signed with the server's own key; None is no claim."""
    now = START // 1000
    claims = {
        "iss": ISSUER,
        "sub": "A" * 22,
        "aud": ISSUER,
        "iat": now,
        "exp": now + 900,
        "jti": "one",
        "client_id": "tokenkeep",
        "sid": "B" * 22,
        "ver": 1,
        "name": NAME,
        "role": "user",
        **changes,
    }
    payload = json.dumps({name: value for name, value in claims.items() if value is not None}).encode()
    return jws.sign(payload, key or attacker.server.graph.key_ring.signer(), header={"typ": typ})


async def ask(attacker: Attacker, token: str, query: str = ""):
    """Ask as a proxy does."""
    return await attacker.ask("GET", f"/verify{query}", headers=[("Authorization", f"Bearer {token}")])


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
async def test_no_query_lets_a_bearer_pass_by_mistake(served: Attacker, query: str) -> None:
    """A query that is not exactly one that was meant is refused, and its answer tells nothing of the bearer."""
    reply = await ask(served, signed(served), f"?{query}")
    assert reply.status in {400, 401, 422}
    assert not [name for name in TELLING if reply.all(name)]


@pytest.mark.parametrize(
    ("changes", "query", "status"),
    [
        ({}, "", 200),
        ({"aud": [ISSUER]}, "", 200),
        ({"aud": [OTHER, ORDERS]}, f"?audience={ORDERS}", 200),
        ({"aud": [OTHER, ORDERS]}, "", 401),
        ({"aud": [OTHER]}, f"?audience={ORDERS}", 401),
        ({"aud": []}, "", 401),
        ({"aud": [[ISSUER]]}, "", 401),
        ({"aud": {ISSUER: 1}}, "", 401),
        ({"aud": f"{ISSUER} {ORDERS}"}, "", 401),
        ({"aud": "*"}, "", 401),
        ({"aud": None}, "", 401),
        ({"iss": ORDERS}, "", 401),
        ({"iss": None}, "", 401),
        ({"exp": None}, "", 401),
        ({"exp": "9999999999"}, "", 401),
        ({"exp": START // 1000 - 6}, "", 401),
        ({"iat": START // 1000 + 60}, "", 401),
        ({"nbf": START // 1000 + 60}, "", 401),
        ({"sub": None}, "", 401),
        ({"sub": 1}, "", 401),
        ({"jti": None}, "", 401),
        ({"client_id": None}, "", 401),
        ({"typ": "JWT"}, "", 401),
        ({"typ": "at+jwt+x"}, "", 401),
        ({"role": None}, "", 200),
        ({"role": None}, "?role=user", 403),
        ({"role": "admin"}, "?role=user", 403),
        ({"role": "user "}, "?role=user", 403),
        ({"role": "User"}, "?role=user", 403),
        ({"role": "user,admin"}, "?role=admin", 403),
        ({"role": ["admin"]}, "?role=admin", 401),
        ({"role": True}, "?role=admin", 401),
        ({"role": {"admin": True}}, "?role=admin", 401),
        ({"role": ""}, "?role=user", 401),
        ({"roles": ["admin"], "scope": "admin"}, "?role=admin", 403),
    ],
    ids=str,
)
async def test_only_what_was_signed_counts(served: Attacker, changes: dict[str, Any], query: str, status: int) -> None:
    """Claims that are missing, of another type or for another are refused, even when the server's key signed them."""
    reply = await ask(served, signed(served, **changes), query)
    assert reply.status == status, reply.body
    assert [len(reply.all(name)) for name in TELLING] == [int(status == 200)] * len(TELLING)


async def test_keys_of_others_count_for_nothing(served: Attacker) -> None:
    """A key that the server does not know signs for no audience, whatever it calls itself."""
    own = served.server.graph.key_ring.signer()
    for key in (Key.generate("ES256"), Key.generate("ES256", kid=own.kid), Key.generate("ES384", kid=own.kid)):
        for audience in (ISSUER, ORDERS):
            (await ask(served, signed(served, key, aud=audience), f"?audience={audience}")).refused(
                401, "invalid_token"
            )


async def test_claims_cannot_break_out_of_their_headers(served: Attacker) -> None:
    """Line breaks and other characters of a claim stay inside the one header that tells of it."""
    evil = 'x\r\nX-Auth-Role: admin\r\n\r\n<b>\x00\x7f\u2028"\\,;é\U0001f600'
    reply = await ask(served, signed(served, name=evil, sub=evil, sid=evil, client_id=evil))
    assert reply.status == 200
    assert reply.all("x-auth-role") == ["user"]
    for name in TELLING:
        assert reply.header(name).isascii()
        assert not set(reply.header(name)) & set(' \r\n\t"<>,;:\\\x00')
