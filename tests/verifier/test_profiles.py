"""Tokens of other issuers: what is accepted of whom, and only when that was asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest

from tests.verifier.driven import Driven
from tests.verifier.requests_to_judge import AUDIENCE, ISSUER, KEY, NOW
from tokenkeep.jose import jws, jwt
from tokenkeep.jose.encoding import encode_object
from tokenkeep.verifier import AccessToken, Forbidden, InvalidToken, Profile

Tokens = dict[str, tuple[str | None, dict[str, Any]]]

TOKENS: Final[Tokens] = {
    "Tokenkeep": (
        "at+jwt",
        {"jti": "t1", "client_id": "web", "sid": "s1", "ver": 3, "name": "Ada", "role": "admin", "amr": ["pwd"]},
    ),
    "RFC 9068": ("at+jwt", {"jti": "t1", "client_id": "web", "scope": "orders:read", "auth_time": NOW - 5}),
    "RFC 9068, with claims of its own": (
        "application/at+jwt",
        {"jti": "t1", "client_id": "web", "ver": "2.0", "role": ["admin"], "sid": 7, "name": "x" * 300, "amr": "pwd"},
    ),
    "like Auth0": ("JWT", {"azp": "web", "scope": "orders:read", "permissions": ["orders:read"]}),
    "like Keycloak": ("JWT", {"jti": "t1", "azp": "web", "sid": "s1", "realm_access": {"roles": ["admin"]}}),
    "like Entra": ("JWT", {"azp": "web", "ver": "2.0", "roles": ["admin"], "uti": "t1", "name": "Ada"}),
    "like Okta": (None, {"jti": "t1", "cid": "web", "ver": 1, "scp": ["orders:read"]}),
    "an ID token": ("JWT", {"nonce": "n", "at_hash": "h", "auth_time": NOW - 5, "amr": ["pwd"]}),
}

ACCEPTED: Final = {
    (Profile.TOKENKEEP, "at+jwt"): {"Tokenkeep", "RFC 9068"},
    (Profile.RFC_9068, "at+jwt"): {"Tokenkeep", "RFC 9068", "RFC 9068, with claims of its own"},
    (Profile.PLAIN, "at+jwt"): {"Tokenkeep", "RFC 9068", "RFC 9068, with claims of its own"},
    (Profile.TOKENKEEP, "JWT"): set(),
    (Profile.RFC_9068, "JWT"): set(),
    (Profile.PLAIN, "JWT"): {"like Auth0", "like Keycloak", "like Entra", "an ID token"},
    (Profile.PLAIN, None): {"like Auth0", "like Keycloak", "like Entra", "an ID token", "like Okta"},
    (Profile.TOKENKEEP, None): set(),
    (Profile.RFC_9068, None): set(),
}
"""Which of the tokens are accepted under a profile and a type."""


def token(which: str, /, **changes: Any) -> str:
    """Return one of the tokens, changed in what is given; a claim given as None is left out."""
    kind, claims = TOKENS[which]
    said = {"iss": ISSUER, "sub": "user|1", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 600, **claims, **changes}
    return signed({claim: value for claim, value in said.items() if value is not None}, kind)


def signed(claims: dict[str, Any], kind: str | None) -> str:
    """Return a token with exactly these claims and this type."""
    return jws.sign(encode_object(claims), KEY, header={} if kind is None else {"typ": kind})


@pytest.mark.parametrize(("profile", "token_type"), ACCEPTED, ids=str)
@pytest.mark.parametrize("name", TOKENS)
def test_token_is_accepted_where_it_was_asked_for(kind: str, name: str, profile: Profile, token_type: str | None):
    """Each profile and type accepts the tokens it is for, and refuses all others."""
    verifier = Driven(kind, keys=KEY.public(), profile=profile, token_type=token_type)
    if name in ACCEPTED[profile, token_type]:
        assert verifier.verify(token(name)).subject == "user|1"
    else:
        with pytest.raises(InvalidToken):
            verifier.verify(token(name))
    verifier.close()


def accept(which: str, /, profile: Profile, token_type: str | None = "at+jwt", **changes: Any) -> AccessToken:
    """Return what a verifier reads in a token."""
    verifier = Driven("threads", keys=KEY.public(), profile=profile, token_type=token_type)
    try:
        return verifier.verify(token(which, **changes))
    finally:
        verifier.close()


def test_strict_profile_is_the_default():
    """Whoever asks for nothing gets what Tokenkeep writes, and nothing else."""
    verifier = Driven("threads", keys=KEY.public())
    assert verifier.verify(token("Tokenkeep")).role == "admin"
    for name in ("RFC 9068, with claims of its own", "like Auth0"):
        with pytest.raises(InvalidToken):
            verifier.verify(token(name))
    verifier.close()


@pytest.mark.parametrize("profile", [Profile.RFC_9068, Profile.PLAIN])
def test_claims_that_mean_something_else_are_not_read(profile: Profile):
    """What does not fit is None, is still in `claims`, and opens nothing."""
    accepted = accept("RFC 9068, with claims of its own", profile)
    assert (accepted.version, accepted.role, accepted.session_id, accepted.name) == (None, None, None, None)
    assert accepted.methods == ()
    assert accepted.claims["role"] == ("admin",)
    judge = Driven("threads", keys=KEY.public())
    with pytest.raises(Forbidden):
        judge.verifier.require_role(accepted, "admin")
    judge.close()


def test_version_of_another_issuer_is_never_that_of_an_account():
    """`ver` elsewhere is the version of the format."""
    assert accept("like Okta", Profile.PLAIN, None).version is None
    assert accept("Tokenkeep", Profile.RFC_9068).version is None
    assert accept("Tokenkeep", Profile.TOKENKEEP).version == 3


def test_what_fits_is_read():
    """Claims of another issuer that have the usual meaning are there by name."""
    accepted = accept("like Keycloak", Profile.PLAIN, "JWT", name="Ada", role="clerk")
    assert (accepted.token_id, accepted.session_id, accepted.name, accepted.role) == ("t1", "s1", "Ada", "clerk")
    assert accepted.client_id is None
    accepted = accept("RFC 9068", Profile.RFC_9068)
    assert (accepted.token_id, accepted.client_id, accepted.authenticated_at) == ("t1", "web", NOW - 5)
    assert accept("an ID token", Profile.PLAIN, "JWT").methods == ("pwd",)


REQUIRED: Final = {
    Profile.TOKENKEEP: {"iss", "sub", "aud", "exp", "iat", "jti", "client_id"},
    Profile.RFC_9068: {"iss", "sub", "aud", "exp", "iat", "jti", "client_id"},
    Profile.PLAIN: {"iss", "sub", "aud", "exp", "iat"},
}


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("claim", sorted(REQUIRED[Profile.TOKENKEEP]))
def test_profile_says_what_is_required(profile: Profile, claim: str):
    """A claim that the profile requires may not be left out, and one that it does not require may."""
    if claim in REQUIRED[profile]:
        with pytest.raises(InvalidToken, match="claim_missing"):
            accept("Tokenkeep", profile, **{claim: None})
    else:
        assert accept("Tokenkeep", profile, **{claim: None})


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("change", [{"sub": ""}, {"sub": 7}, {"sub": ["a"]}, {"iat": "now"}, {"iat": True}, {"jti": 7}])
def test_required_claims_have_their_type(profile: Profile, change: dict[str, Any]):
    """Whom a token is about, and when it was issued, is never left open; nor is an identifier anything but text."""
    with pytest.raises(InvalidToken, match="claim_invalid"):
        accept("Tokenkeep", profile, **change)


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize(
    "changes",
    [
        {"iss": ISSUER + "/"},
        {"aud": "https://other.example"},
        {"exp": NOW - 6},
        {"nbf": NOW + 6},
        {"iat": NOW + 6},
    ],
    ids=str,
)
def test_no_profile_loosens_anything_else(profile: Profile, changes: dict[str, Any]):
    """Issuer, audience and times are held to as strictly under every profile."""
    with pytest.raises(InvalidToken):
        accept("Tokenkeep", profile, **changes)


def test_issued_token_is_of_the_strict_profile():
    """What `jwt.issue` writes with a client is accepted without saying anything."""
    text = jwt.issue(
        {"client_id": "web"},
        KEY,
        issuer=ISSUER,
        subject="1",
        audience=AUDIENCE,
        lifetime=timedelta(minutes=5),
        token_type="at+jwt",
        now=NOW,
    )
    verifier = Driven("asyncio", keys=KEY.public())
    assert verifier.verify(text).client_id == "web"
    verifier.close()
