"""`TokenVerifier`: what it accepts, what it refuses and how, and what it cannot be made to accept."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from tests.verifier.requests_to_judge import (
    AUDIENCE,
    ISSUER,
    KEY,
    NOW,
    OTHER_KEY,
    REQUESTS,
    Request,
    token,
    verifier,
)
from tokenkeep.contract.revocation import RevocationKind, RevocationSet, digest
from tokenkeep.jose import Key, KeySet
from tokenkeep.jose.encoding import encode_base64url, encode_object
from tokenkeep.verifier import CannotTell, Forbidden, InvalidToken, MissingToken, Refused
from tokenkeep.verifier.challenge import AmbiguousRequest


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.name)
def test_request_gets_its_verdict(request_: Request):
    """Every request of the shared list is accepted or refused as the list says."""
    revoked = RevocationSet()
    revoked.add(request_.revoked)
    judge = verifier(revoked, elapsed=request_.elapsed)
    if request_.refusal is None:
        accepted = judge.authenticate(request_.authorization())
        assert (accepted.subject, accepted.name) == ("AAAAAAAAAAAAAAAAAAAAAA", "Ada")
        return
    with pytest.raises(Refused) as refusal:
        judge.authenticate(request_.authorization())
    assert type(refusal.value) is request_.refusal
    assert refusal.value.reason == request_.reason


def test_list_knows_every_refusal():
    """The shared list holds at least one request for every way to refuse before roles are looked at."""
    assert {request.refusal for request in REQUESTS} == {None, MissingToken, AmbiguousRequest, InvalidToken, CannotTell}


def test_token_says_what_was_signed():
    """What is accepted carries the claims, the kid, and nothing that was not in the token."""
    accepted = verifier().verify(token({"tenant": "blue"}))
    assert (accepted.issuer, accepted.audience, accepted.key_id) == (ISSUER, (AUDIENCE,), KEY.kid)
    assert (accepted.session_id, accepted.version, accepted.role) == ("BBBBBBBBBBBBBBBBBBBBBA", 3, "user")
    assert (accepted.issued_at, accepted.expires_at) == (NOW, NOW + 900)
    assert accepted.claims["tenant"] == "blue"


def test_several_audiences_may_be_served():
    """A service that has two names accepts tokens for either."""
    judge = verifier(audience=[AUDIENCE, "https://api2.example"])
    assert judge.verify(token())
    assert judge.verify(token(audience="https://api2.example"))


def test_keys_may_change_while_it_runs():
    """A function for keys is asked each time, so that a new key needs no new verifier and an old one ends at once."""
    keys = [KEY.public()]
    judge = verifier(keys=lambda: KeySet(keys))
    assert judge.verify(token())
    keys[:] = [OTHER_KEY.public()]
    with pytest.raises(InvalidToken):
        judge.verify(token())
    assert judge.verify(token(key=OTHER_KEY))


def test_one_key_is_enough():
    """A single key may be given instead of a set."""
    assert verifier(keys=KEY.public()).verify(token())


@pytest.mark.parametrize(
    "keys",
    [KEY.public(), KeySet([KEY.public()]), KeySet([KEY.public(), Key.generate("EdDSA").public()])],
    ids=["one key", "a set of one", "a set with one of each algorithm"],
)
@pytest.mark.parametrize("kid", [None, "another"], ids=["no name", "another name"])
def test_a_revoked_key_cannot_hide_its_name(keys: Key | KeySet, kid: str | None):
    """Whoever has a stolen key cannot dodge its revocation with a header that names no key, or another one."""
    header = {"alg": KEY.alg, "typ": "at+jwt"} | ({} if kid is None else {"kid": kid})
    signed = f"{encode_base64url(encode_object(header))}.{token().split('.')[1]}"
    nameless = f"{signed}.{encode_base64url(KEY.sign(signed.encode()))}"
    revoked = RevocationSet()
    revoked.add([digest(RevocationKind.KEY, ISSUER, KEY.kid)])
    judge = verifier(revoked, keys=keys, algorithms=["ES256", "EdDSA"])
    for text in (token(), nameless):
        with pytest.raises(InvalidToken):
            judge.verify(text)
    # Where revocations are not asked for, a key that is given alone is taken by whatever name, as ever.
    careless = verifier(revocations=None, keys=KEY.public())
    assert careless.verify(nameless)


def test_without_revocations_a_token_lives_until_it_expires():
    """A verifier that was given no revocation set never cannot tell."""
    assert verifier(revocations=None, elapsed=10**9).verify(token())


def test_set_that_was_never_confirmed_accepts_nothing():
    """Before the first look at the revocations no token is accepted, and none is called invalid."""
    with pytest.raises(CannotTell):
        verifier(revocations=RevocationSet()).verify(token())


def test_leeway_is_counted_once():
    """Without leeway a token is refused in the very second of its expiry."""
    strict = verifier(leeway=timedelta(0))
    assert strict.verify(token(now=NOW - 899))
    with pytest.raises(InvalidToken) as refusal:
        strict.verify(token(now=NOW - 900))
    assert refusal.value.reason == "TokenExpiredError"


def test_forged_and_expired_token_is_called_forged():
    """Nobody learns from a refusal what a token without a good signature says."""
    with pytest.raises(InvalidToken) as refusal:
        verifier().verify(token(key=OTHER_KEY, now=NOW - 10_000))
    assert refusal.value.reason == "JsonWebTokenError"


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": ""},
        {"issuer": None},
        {"issuer": 7},
        {"audience": ""},
        {"audience": None},
        {"audience": []},
        {"audience": [""]},
        {"audience": ["", AUDIENCE]},
        {"audience": b"bytes"},
        {"algorithms": []},
        {"algorithms": None},
        {"algorithms": "ES256"},
        {"algorithms": ["none"]},
        {"algorithms": ["es256"]},
        {"algorithms": ["ES256", ""]},
        {"token_type": ""},
        {"leeway": timedelta(seconds=61)},
        {"leeway": timedelta(seconds=-1)},
        {"leeway": 5},
    ],
    ids=repr,
)
def test_verifier_that_would_accept_too_much_cannot_be_made(changes: dict[str, Any]):
    """Nothing that decides what is accepted may be empty, absent or boundless."""
    with pytest.raises((ValueError, TypeError)):
        verifier(**changes)


def test_algorithms_are_a_list_of_their_own():
    """A key whose algorithm is not accepted verifies nothing."""
    with pytest.raises(InvalidToken):
        verifier(algorithms=["RS256"]).verify(token())


@pytest.mark.parametrize(("roles", "allowed"), [(("user",), True), (("admin", "user"), True), (("admin",), False)])
def test_role_decides(roles: tuple[str, ...], allowed: bool):
    """One of the roles is enough, and nothing else is."""
    judge = verifier()
    accepted = judge.verify(token())
    if allowed:
        assert judge.require_role(accepted, *roles) is accepted
        return
    with pytest.raises(Forbidden):
        judge.require_role(accepted, *roles)


@pytest.mark.parametrize("roles", [(), ("",), ("Admin",), ("admi", "admins")])
def test_role_is_compared_exactly(roles: tuple[str, ...]):
    """No role, an empty one, or one that is spelt otherwise opens nothing."""
    judge = verifier()
    with pytest.raises(Forbidden):
        judge.require_role(judge.verify(token({"role": "admin"})), *roles)


@pytest.mark.parametrize(
    ("granted", "needed", "allowed"),
    [
        ("orders:read", ["orders:read"], True),
        ("a orders:read b", ["orders:read"], True),
        ("a b", ["b", "a"], True),
        ("a", ["a", "b"], False),
        ("orders:read", ["orders"], False),
        ("Orders:read", ["orders:read"], False),
        ("", ["a"], False),
        (None, ["a"], False),
        (["a"], ["a"], False),
        (7, ["a"], False),
    ],
    ids=repr,
)
def test_scopes_decide(granted: Any, needed: list[str], allowed: bool):
    """All the scopes must have been granted, each spelt exactly so; the challenge names them (RFC 6750 §3)."""
    judge = verifier()
    accepted = judge.verify(token({"scope": granted}))
    if allowed:
        assert judge.require_scope(accepted, *needed) is accepted
        return
    with pytest.raises(Forbidden) as refusal:
        judge.require_scope(accepted, *needed)
    challenge = refusal.value.headers()["WWW-Authenticate"]
    assert challenge == f'Bearer error="insufficient_scope", scope="{" ".join(needed)}"'
    assert Forbidden().headers()["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'


@pytest.mark.parametrize(
    "scopes", [(), ("",), ("a b",), ('a"',), ("a\\",), ("a\r\nX: y",), ("é",), ("a", "")], ids=repr
)
def test_what_is_no_scope_is_a_mistake(scopes: tuple[str, ...]):
    """Asking for no scope, or for what cannot be one, opens nothing, and cannot get into a header."""
    judge = verifier()
    with pytest.raises(ValueError, match="scope"):
        judge.require_scope(judge.verify(token({"scope": "a"})), *scopes)


def test_token_without_a_role_has_none():
    """A token that names no role is not let through a guard."""
    judge = verifier()
    accepted = judge.verify(token({"role": None}))
    assert accepted.role is None
    with pytest.raises(Forbidden):
        judge.require_role(accepted, "user", "None")


SHAPES = [
    (MissingToken(), 401, "Unauthorized", "missing_token", "Missing token", "Bearer"),
    (AmbiguousRequest(), 400, "Bad Request", "malformed_request", None, 'Bearer error="invalid_request"'),
    (InvalidToken(), 401, "Unauthorized", "invalid_token", "Invalid token", 'Bearer error="invalid_token"'),
    (Forbidden(), 403, "Forbidden", "forbidden", "Forbidden", 'Bearer error="insufficient_scope"'),
    (CannotTell(), 503, "Service Unavailable", "unavailable", "Temporarily unavailable", None),
]


@pytest.mark.parametrize(("refusal", "status", "title", "code", "sentence", "challenge"), SHAPES)
def test_refusal_has_its_shape(  # noqa: PLR0917  (the columns of a table)
    refusal: Refused, status: int, title: str, code: str, sentence: str | None, challenge: str | None
):
    """Status, problem document and headers of each refusal are what RFC 6750 and RFC 9457 want."""
    problem = refusal.problem()
    reason = {"reason": "JsonWebTokenError"} if isinstance(refusal, InvalidToken) else {}
    expected = {"type": "about:blank", "title": title, "status": status, "code": code, "error": refusal.sentence}
    assert problem == {**expected, **reason}
    assert refusal.status == status
    assert sentence is None or refusal.sentence == sentence
    headers = refusal.headers()
    assert headers["Cache-Control"] == "no-store"
    assert headers.get("WWW-Authenticate") == challenge
    assert headers.get("Retry-After") == ("1" if status == 503 else None)
    assert set(headers) <= {"Cache-Control", "WWW-Authenticate", "Retry-After"}


@pytest.mark.parametrize("refusal", [shape[0] for shape in SHAPES], ids=lambda refusal: refusal.code)
def test_challenge_is_well_formed(refusal: Refused):
    """A challenge is the scheme and at most one quoted parameter (RFC 6750 §3)."""
    challenge = refusal.headers().get("WWW-Authenticate")
    assert challenge is None or re.fullmatch(r'Bearer( error="[a-z_]+")?', challenge)


def test_detail_stays_inside():
    """What is wrong in detail is for the log: neither headers nor problem document show it."""
    with pytest.raises(InvalidToken) as refusal:
        verifier().verify(token(audience="https://other.example"))
    shown = f"{refusal.value.problem()} {refusal.value.headers()}"
    assert refusal.value.detail == "audience_not_accepted"
    assert "audience" not in shown
    assert "other.example" not in shown


def test_refusal_never_shows_the_token():
    """No refusal carries the text of a token, not even for the log."""
    text = token(audience="https://other.example")
    with pytest.raises(InvalidToken) as refusal:
        verifier().verify(text)
    assert text not in f"{refusal.value!r} {refusal.value} {refusal.value.detail}"


def test_shared_secret_verifies_where_issuer_and_service_are_one():
    """HS256 works when verifier and issuer hold the same key."""
    key = Key.generate("HS256")
    assert verifier(keys=key, algorithms=["HS256"]).verify(token(key=key))
