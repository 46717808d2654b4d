"""The published key set: public parts only, and how it may be cached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.api.caller import ISSUER, Caller
from tests.settable_clock import SettableClock
from tokenkeep.jose import KeySet, jwt
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

PATH = "/.well-known/jwks.json"


async def test_anyone_can_verify_with_the_set(call: Caller):
    """Tokens of this server verify with what is published, and with nothing else in hand."""
    access = (await call.login()).access
    answer = await call("GET", PATH)
    keys = KeySet.from_jwks(answer.content)
    assert keys.skipped == ()
    verified = jwt.verify(
        access,
        keys,
        algorithms=["ES256"],
        issuer=ISSUER,
        audience=ISSUER,
        token_type="at+jwt",
        now=call.server._clock.now() / 1000,
    )
    assert verified.claims["name"] == "Ada"


async def test_set_holds_the_signer_and_its_successor(call: Caller):
    """Both keys are there before either is needed, with public members only."""
    document = (await call("GET", PATH)).json()
    assert document.keys() == {"keys"}
    assert len(document["keys"]) == 2
    for jwk in document["keys"]:
        assert jwk.keys() == {"kty", "crv", "x", "y", "alg", "use", "kid"}
        assert (jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]) == ("EC", "P-256", "ES256", "sig")
    assert len({jwk["kid"] for jwk in document["keys"]}) == 2


async def test_set_may_be_kept_for_a_while_by_anyone(call: Caller):
    """The set is public, has a tag, and may be kept for five minutes."""
    answer = await call("GET", PATH)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers.get_list("cache-control") == ["public, max-age=300"]
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '{} , "other"', "*", 'W/"other", W/{}'])
async def test_known_set_is_not_sent_again(call: Caller, form: str):
    """Who has the set gets 304 without a body, also after a proxy has weakened its tag (RFC 9110 §13.1.2)."""
    tag = (await call("GET", PATH)).headers["etag"]
    answer = await call("GET", PATH, headers={"If-None-Match": form.format(tag)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == tag
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert "content-type" not in answer.headers


@pytest.mark.parametrize("given", ['"other"', "", "x", 'W/"other"', '""'])
async def test_other_tags_get_the_set(call: Caller, given: str):
    """A tag of another set is answered with this one."""
    answer = await call("GET", PATH, headers={"If-None-Match": given})
    assert answer.status_code == 200
    assert answer.json()["keys"]


async def test_tag_stays_while_the_keys_stay(call: Caller):
    """The tag depends on the keys alone."""
    tags = {(await call("GET", PATH)).headers["etag"] for _ in range(3)}
    await call.server.graph.key_ring.reload()
    tags.add((await call("GET", PATH)).headers["etag"])
    assert len(tags) == 1


async def test_shared_secret_is_not_published(settings: Settings, clock: SettableClock, tmp_path):
    """With HS256 the set is empty, and the server's own routes work."""
    shared = replace(settings, data_dir=tmp_path / "shared", signing_algorithm="HS256")
    async with AuthServer(shared, clock=clock) as server:
        call = Caller(server)
        assert (await call("GET", PATH)).json() == {"keys": []}
        await server.accounts.create("Ada", "correct-horse-battery", role="user", actor="operator")
        session = await call.login()
        assert jwt.decode_unverified(session.access).header["alg"] == "HS256"
        assert (await call("GET", "/me", bearer=session.access)).json()["name"] == "Ada"
