"""The access token as a dataclass and as claims: the same both ways, and strict about types."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.contract.access_token import (
    LONGEST_IDENTIFIER,
    RESERVED_CLAIMS,
    TOKEN_TYPE,
    AccessToken,
    from_claims,
    to_claims,
)
from tokenkeep.jose.errors import ClaimInvalid, ClaimMissing

TOKEN = AccessToken(
    issuer="https://auth.example",
    subject="AAAAAAAAAAAAAAAAAAAAAA",
    audience=("https://api.example",),
    issued_at=1_700_000_000,
    expires_at=1_700_000_900,
    token_id="one-of-a-kind",
    client_id="tokenkeep",
    session_id="BBBBBBBBBBBBBBBBBBBBBA",
    version=3,
    authenticated_at=1_699_999_000,
    methods=("pwd",),
    name="Ada",
    role="admin",
)


def claims_of(token: AccessToken) -> dict[str, Any]:
    """Return all claims of a token: those it writes, and those that signing adds."""
    return {
        "iss": token.issuer,
        "sub": token.subject,
        "aud": token.audience[0],
        "iat": token.issued_at,
        "exp": token.expires_at,
        "jti": token.token_id,
        **to_claims(token),
    }


CLAIMS = claims_of(TOKEN)


def test_claims_have_the_documented_names():
    """Each fact has the claim name that RFC 9068 or the design gives it."""
    assert to_claims(TOKEN) == {
        "client_id": "tokenkeep",
        "sid": "BBBBBBBBBBBBBBBBBBBBBA",
        "ver": 3,
        "auth_time": 1_699_999_000,
        "amr": ["pwd"],
        "name": "Ada",
        "role": "admin",
    }
    assert TOKEN_TYPE == "at+jwt"


def test_token_reads_back_as_written():
    """A token that becomes claims and a token again says the same."""
    assert replace(from_claims(CLAIMS), claims={}) == TOKEN


optional_texts = st.none() | st.text(min_size=1, max_size=LONGEST_IDENTIFIER)
instants = st.integers(0, 2**53 - 1)
tokens = st.builds(
    partial(replace, TOKEN),
    subject=st.text(min_size=1, max_size=LONGEST_IDENTIFIER),
    issued_at=instants,
    version=st.none() | instants,
    authenticated_at=st.none() | instants,
    methods=st.lists(st.text(max_size=8)).map(tuple),
    session_id=optional_texts,
    name=optional_texts,
    role=optional_texts,
)


@given(tokens)
def test_any_token_reads_back_as_written(token: AccessToken):
    """Nothing is lost or invented between dataclass and claims, whatever is absent."""
    assert replace(from_claims(claims_of(token)), claims={}) == token


def test_what_is_absent_is_not_written():
    """A token without session, version, times, name and role has no such claims."""
    bare = replace(TOKEN, session_id=None, version=None, authenticated_at=None, methods=(), name=None, role=None)
    assert to_claims(bare) == {"client_id": "tokenkeep"}


def test_token_of_another_issuer_need_not_have_our_claims():
    """Tokens of issuers that write only what RFC 9068 demands are read."""
    token = from_claims({name: CLAIMS[name] for name in ("iss", "sub", "aud", "iat", "exp", "jti", "client_id")})
    assert (token.session_id, token.version, token.name, token.role, token.methods) == (None, None, None, None, ())


def test_extra_claims_are_written_beside_the_others():
    """What an embedding application adds goes into the token and can be read from it."""
    claims = claims_of(replace(TOKEN, claims={"tenant": "blue"}))
    assert claims["tenant"] == "blue"
    assert from_claims(claims).claims["tenant"] == "blue"


def test_all_claims_stay_readable():
    """The dataclass keeps the verified claims as they were."""
    assert from_claims(CLAIMS).claims == CLAIMS


@pytest.mark.parametrize(("audience", "read"), [("a", ("a",)), (["a"], ("a",)), (["a", "b"], ("a", "b"))])
def test_audience_is_one_or_several(audience: str | list[str], read: tuple[str, ...]):
    """One audience may be written alone; several are kept in order."""
    assert from_claims({**CLAIMS, "aud": audience}).audience == read


def test_key_id_is_kept():
    """The kid of the key that signed is part of what is known of a token."""
    assert from_claims(CLAIMS, key_id="kid-1").key_id == "kid-1"


@pytest.mark.parametrize("name", ["sub", "iat", "jti", "client_id"])
def test_required_claim_may_not_be_absent(name: str):
    """RFC 9068 §2.2: a token without one of these is none."""
    with pytest.raises(ClaimMissing, match=name):
        from_claims({key: value for key, value in CLAIMS.items() if key != name})


@pytest.mark.parametrize("name", ["sub", "jti", "client_id", "sid", "name", "role"])
@pytest.mark.parametrize(
    "value",
    [None, "", 0, 1, True, 1.5, [], ["a"], {}, "x" * (LONGEST_IDENTIFIER + 1)],
    ids=lambda value: f"{type(value).__name__}-{len(value)}" if isinstance(value, str) else repr(value),
)
def test_text_claim_of_another_kind_is_refused(name: str, value: object):
    """A text claim is a text of 1 to 256 characters or not there; null is not the same as absent."""
    with pytest.raises(ClaimInvalid, match=name):
        from_claims({**CLAIMS, name: value})


@pytest.mark.parametrize("name", ["iat", "auth_time"])
@pytest.mark.parametrize(
    "value", [None, True, False, "1700000000", -1, -0.5, 2**53, 10**50, float("nan"), float("inf"), [1], {}], ids=repr
)
def test_instant_of_another_kind_is_refused(name: str, value: object):
    """An instant is a finite number of seconds from 1970 on, and never a boolean."""
    with pytest.raises(ClaimInvalid, match=name):
        from_claims({**CLAIMS, name: value})


@pytest.mark.parametrize("value", [0, 0.0, 1_700_000_000.5, 2**53 - 1])
def test_instant_may_have_a_fraction(value: float):
    """NumericDate allows fractions (RFC 7519 §2)."""
    assert from_claims({**CLAIMS, "iat": value}).issued_at == value


@pytest.mark.parametrize("value", [None, True, "1", 1.0, -1, 2**53, [1], {}], ids=repr)
def test_version_of_another_kind_is_refused(value: object):
    """A token version is a whole number, since it is compared exactly."""
    with pytest.raises(ClaimInvalid, match="ver"):
        from_claims({**CLAIMS, "ver": value})


@pytest.mark.parametrize("value", [None, "pwd", {"pwd": True}, [1], ["pwd", None], [["pwd"]], 1], ids=repr)
def test_methods_of_another_kind_are_refused(value: object):
    """`amr` is a list of texts."""
    with pytest.raises(ClaimInvalid, match="amr"):
        from_claims({**CLAIMS, "amr": value})


@pytest.mark.parametrize("value", [[], (), ["pwd", "otp"], ("pwd", "otp")])
def test_methods_are_a_list(value: list[str] | tuple[str, ...]):
    """Lists, frozen or not, are read as a tuple."""
    assert from_claims({**CLAIMS, "amr": value}).methods == tuple(value)


def test_every_claim_that_is_written_is_reserved():
    """An embedding application can overwrite none of the claims that decide anything."""
    assert CLAIMS.keys() <= RESERVED_CLAIMS
    assert {"nbf", "cnf", "scope", "act", "acr"} <= RESERVED_CLAIMS


def test_repr_shows_no_claims():
    """Extra claims may be personal: the repr leaves them out."""
    assert "blue" not in repr(replace(TOKEN, claims={"tenant": "blue"}))
