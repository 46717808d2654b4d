"""How the token engine is used, for the type checker alone: nothing here is run.

Each line marked `type: ignore` is a mistake the checker must see; one that it no longer sees fails the check.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from tokenkeep.jose import (
    ClaimsPolicy,
    EcKey,
    InvalidKey,
    JwsContent,
    Key,
    KeyNotFound,
    KeySet,
    OkpKey,
    RsaKey,
    TokenError,
    TokenExpired,
    UnverifiedToken,
    VerifiedToken,
    jws,
    jwt,
)


def keys() -> None:
    """Keys come in and go out with the types they say."""
    key = Key.generate("ES256")
    assert_type(key, Key)
    assert_type(RsaKey.generate("RS256", rsa_bits=2048), RsaKey)
    assert_type(EcKey.from_jwk({"kty": "EC"}), EcKey)
    assert_type(OkpKey.from_pem("text", alg="EdDSA").public(), OkpKey)
    assert_type(Key.from_secret(b"bytes", alg="HS256", kid="2026-01"), Key)
    assert_type(Key.from_der(b"bytes", alg="RS256", password=b"bytes"), Key)
    assert_type(key.kid, str)
    assert_type(key.alg, str)
    assert_type(key.is_private, bool)
    assert_type(key.to_jwk(private=True), dict[str, Any])
    assert_type(key.to_pem(private=True, password=b"bytes"), bytes)
    assert_type(key.sign(b"data"), bytes)
    assert_type(key.verify(b"data", b"signature"), bool)

    Key.from_secret("text")  # type: ignore[arg-type]
    Key.from_pem(b"pem")  # type: ignore[call-arg]
    Key.from_jwk("{}")  # type: ignore[arg-type]
    Key.generate()  # type: ignore[call-arg]
    key.to_jwk(True)  # type: ignore[call-arg]
    key.kid = "other"  # type: ignore[misc]


def key_sets(document: bytes) -> None:
    """A set takes keys, or a published document."""
    key_set = KeySet([Key.generate("ES256"), EcKey.generate("ES256")])
    assert_type(key_set, KeySet)
    assert_type(KeySet.from_jwks(document), KeySet)
    assert_type(KeySet.from_jwks({"keys": []}, rsa_alg="PS256").skipped, tuple[str, ...])
    assert_type(key_set.select(None, "ES256"), Key)
    assert_type([key.kid for key in key_set], list[str])

    KeySet(["secret"])  # type: ignore[list-item]
    KeySet.from_jwks("text")  # type: ignore[arg-type]


def tokens(key: Key, keys: KeySet, token: str) -> None:
    """Tokens are issued and verified with everything that matters named."""
    assert_type(
        jwt.issue(
            {"role": "admin"}, key, issuer="i", audience=["a", "b"], lifetime=timedelta(minutes=15), token_type="at+jwt"
        ),
        str,
    )
    jwt.issue({}, key, issuer="i", audience="a", lifetime=timedelta(1), not_before=datetime.now(UTC), now=1.5)
    verified = jwt.verify(token, keys, algorithms=["ES256"], issuer="i", audience="a", now=5)
    assert_type(verified, VerifiedToken)
    assert_type(verified.claims, Mapping[str, Any])
    jwt.verify(token.encode(), {"i": key, "j": keys}, algorithms=("ES256",), issuer=None, audience=("a", "b"))
    policy = ClaimsPolicy("i", ["a"], token_type="at+jwt", max_age=timedelta(hours=1))
    assert_type(jwt.verify_with_policy(token, key, policy, algorithms=["ES256"], now=5.5), VerifiedToken)
    assert_type(jwt.decode_unverified(token), UnverifiedToken)

    jwt.issue({}, key, issuer="i", audience="a", lifetime=900)  # type: ignore[arg-type]
    jwt.issue({}, "secret", issuer="i", audience="a", lifetime=timedelta(1))  # type: ignore[arg-type]
    jwt.issue({}, key, issuer="i", audience="a")  # type: ignore[call-arg]
    jwt.verify(token, key, algorithms=["ES256"], audience="a")  # type: ignore[call-arg]
    jwt.verify(token, key, issuer="i", audience="a")  # type: ignore[call-arg]
    jwt.verify(token, "secret", algorithms=["HS256"], issuer="i", audience="a")  # type: ignore[arg-type]
    jwt.verify(token, key, algorithms=["ES256"], issuer="i", audience="a", leeway=5)  # type: ignore[arg-type]
    jwt.verify(token, key, ["ES256"], issuer="i", audience="a")  # type: ignore[call-arg]
    verified.claims["role"] = "admin"  # type: ignore[index]
    verified.claims = {}  # type: ignore[misc]


def signatures(key: Key, keys: KeySet) -> None:
    """Bytes are signed and verified."""
    token = jws.sign(b"payload", key, header={"typ": "x"})
    assert_type(token, str)
    assert_type(jws.verify(token, keys, algorithms=["ES256"]), JwsContent)
    assert_type(jws.verify(token, key, algorithms=["ES256"], max_size=100_000).payload, bytes)

    jws.sign("text", key)  # type: ignore[arg-type]
    jws.sign(b"payload", keys)  # type: ignore[arg-type]
    jws.verify(token, None, algorithms=["ES256"])  # type: ignore[arg-type]


def errors(token: str, key: Key) -> None:
    """Errors carry what a handler wants."""
    try:
        jwt.verify(token, key, algorithms=["ES256"], issuer="i", audience="a")
    except TokenExpired as error:
        assert_type(error.expired_at, datetime | None)
        assert_type(error.claim, str)
    except KeyNotFound as error:
        assert_type(error.kid, str | None)
    except TokenError as error:
        assert_type(error.code, str)
        assert_type(error.reason, str)
        assert_type(error.message, str)
    refusal: ValueError = InvalidKey("x")
    raise refusal
