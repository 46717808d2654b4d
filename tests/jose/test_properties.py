"""What holds for any input: round trips, tamper evidence, documented errors only, linear time."""

import contextlib
import json
import time
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.jose.samples import (
    AUDIENCE,
    FAMILIES,
    ISSUER,
    NOW,
    assemble,
    b64,
    claims,
    header_of,
    issue,
    private_key,
    token,
    verify,
    verifying_key,
)
from tokenkeep.jose import Key, KeySet, TokenError, errors, jws, jwt
from tokenkeep.jose.claims import REGISTERED_CLAIMS

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "own"])
HEADER_NAMES = st.sampled_from(["alg", "kid", "typ", "cty", "crit", "b64", "jwk", "jku", "x5c", "own"])
FINITE = st.floats(allow_nan=False, allow_infinity=False)
INSTANTS = st.integers(-5, 10).map(lambda n: NOW + n) | FINITE | st.just(10**40)
HS256 = private_key("HS256")
GOOD = issue(token_id="id")


def plain(value):
    """Return frozen JSON as dicts and lists."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return {name: plain(item) for name, item in value.items()} if hasattr(value, "items") else value


@given(
    st.dictionaries(st.text(max_size=5).filter(lambda name: name not in REGISTERED_CLAIMS), JSON_VALUES, max_size=5),
    st.sampled_from(FAMILIES),
)
def test_whatever_is_issued_is_verified(custom, alg):
    """Any claims of JSON come back as they were, under any algorithm."""
    presented = issue(private_key(alg), custom)
    verified = plain(verify(presented, verifying_key(alg)).claims)
    assert {name: value for name, value in verified.items() if name not in REGISTERED_CLAIMS} == custom


@given(st.binary(max_size=300), st.sampled_from(FAMILIES))
def test_whatever_is_signed_is_verified(payload, alg):
    """Any bytes come back as they were, under any algorithm."""
    assert jws.verify(jws.sign(payload, private_key(alg)), verifying_key(alg), algorithms=[alg]).payload == payload


@given(st.integers(0, len(GOOD) - 1), st.characters(codec="utf-8"), st.sampled_from(["replace", "insert", "delete"]))
def test_any_single_change_is_refused(at, character, kind):
    """A token with one character replaced, inserted or removed is refused with a token error."""
    changed = GOOD[:at] + ("" if kind == "delete" else character) + GOOD[at + (kind != "insert") :]
    if changed != GOOD:
        for form in (changed, changed.encode("utf-8", "surrogatepass")):
            with pytest.raises(TokenError):
                verify(form)


@given(st.text(max_size=200) | st.binary(max_size=200) | st.text(alphabet="aeyJ.-_=", max_size=60))
@example("..")
@example(b"\xff.\xff.\xff")
def test_any_text_gives_a_token_error(presented):
    """Whatever is presented as a token, the answer is a token error."""
    for call in (verify, jwt.decode_unverified, lambda t: jws.verify(t, KeySet([HS256]), algorithms=["HS256"])):
        with pytest.raises(TokenError):
            call(presented)


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_any_segments_give_a_token_error(head, body, signature):
    """Whatever three well-spelt segments hold, the answer is a token error."""
    with pytest.raises(TokenError):
        verify(assemble(head, body, lambda _: signature))


@given(st.dictionaries(HEADER_NAMES, JSON_VALUES, max_size=4), st.sampled_from([HS256, KeySet([HS256])]))
def test_any_signed_header_is_accepted_or_refused(extra, keys):
    """Whatever a correctly signed header holds, the token is accepted or gives a token error."""
    try:
        verified = verify(token(header={**header_of(HS256), **extra}), keys)
    except TokenError:
        return
    assert verified.header["alg"] == "HS256"
    assert "crit" not in verified.header
    assert "b64" not in verified.header


@given(st.dictionaries(NAMES, JSON_VALUES | INSTANTS, max_size=4), st.sampled_from([None, timedelta(seconds=4)]))
@settings(max_examples=300)
def test_any_signed_claims_are_accepted_or_refused(extra, limit):
    """Whatever correctly signed claims hold, they are accepted by the rules, restated here, or give a token error."""
    held = {**claims(), **extra}
    text = json.dumps(held).encode()

    def instant(value):
        return type(value) in (int, float) and 0 <= value <= 253402300799

    acceptable = (
        type(held["iss"]) is str
        and held["iss"] == ISSUER
        and (
            held["aud"] == AUDIENCE
            or (
                isinstance(held["aud"], list)
                and AUDIENCE in held["aud"]
                and all(isinstance(a, str) for a in held["aud"])
            )
        )
        and instant(held["exp"])
        and held["exp"] > NOW
        and all(instant(held[name]) and held[name] <= NOW for name in ("nbf", "iat") if name in held)
        and all(type(held[name]) is str for name in ("sub", "jti"))
        and (limit is None or (held["iat"] > NOW - 4 and held["exp"] - held["iat"] <= 4))
    )
    try:
        verify(token(payload=text), max_age=limit, max_lifetime=limit)
    except TokenError:
        assert not acceptable
    else:
        assert acceptable


@given(st.floats() | st.integers(), st.sampled_from(["exp", "nbf", "iat"]), st.integers(0, 60))
def test_no_number_breaks_a_check(value, name, leeway):
    """No number in a time claim raises anything but a token error."""
    with contextlib.suppress(TokenError):
        verify(token(payload=json.dumps({**claims(), name: value}).encode()), leeway=timedelta(seconds=leeway))


MEMBERS = st.sampled_from(
    ["kty", "crv", "alg", "use", "key_ops", "kid", "n", "e", "d", "p", "q", "dp", "dq", "qi", "oth", "x", "y", "k"]
)
MEMBER_VALUES = (
    JSON_VALUES
    | st.sampled_from(
        ["RSA", "EC", "OKP", "oct", "P-256", "P-521", "Ed25519", "HS256", "RS256", "ES256", "sig", "enc", "AQAB", ""]
    )
    | st.binary(max_size=70).map(b64)
)
BASES = st.sampled_from([{}, *[private_key(alg).to_jwk(private=True) for alg in ("HS256", "RS256", "ES256", "EdDSA")]])


@given(BASES, st.dictionaries(MEMBERS, MEMBER_VALUES, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_jwk_is_a_key_or_refused(base, changes):
    """Whatever a JWK holds, it becomes a key that can be written again, or is refused with the documented error."""
    jwk = {**base, **changes}
    try:
        key = Key.from_jwk(jwk)
    except errors.InvalidKey:
        key = None
    if key is not None:
        written = key.to_jwk(private=key.is_private)
        assert Key.from_jwk(written).to_jwk(private=key.is_private) == written
    assert len(KeySet.from_jwks({"keys": [jwk]})) <= 1


@given(
    st.binary(max_size=200)
    | st.binary(max_size=100).map(lambda data: b"-----BEGIN PUBLIC KEY-----\n" + data + b"\n-----END PUBLIC KEY-----")
)
@settings(max_examples=200)
def test_any_bytes_are_a_key_or_refused(data):
    """Whatever is read as PEM, DER, a secret or a key set gives a key or the documented error."""
    for read in (
        lambda: Key.from_pem(data, alg="RS256"),
        lambda: Key.from_der(data, alg="EdDSA"),
        lambda: Key.from_secret(data),
        lambda: KeySet.from_jwks(data),
    ):
        with contextlib.suppress(errors.InvalidKey):
            read()


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_damaged_keys_are_refused_or_read(alg):
    """A DER key with any one byte changed gives a key or the documented error."""
    for der in (private_key(alg).to_der(), private_key(alg).to_der(private=True)):
        for at in range(min(len(der), 60)):
            for value in (0, 0x30, 0xFF):
                with contextlib.suppress(errors.InvalidKey):
                    Key.from_der(der[:at] + bytes([value]) + der[at + 1 :], alg=alg)


def best_of(call, times=3):
    """Return the shortest time a call takes."""
    shortest = float("inf")
    for _ in range(times):
        started = time.process_time()
        with pytest.raises(TokenError):
            call()
        shortest = min(shortest, time.process_time() - started)
    return shortest


@pytest.mark.parametrize("shape", ["dots", "header", "payload", "signature", "brackets", "duplicates", "escapes"])
def test_time_grows_no_faster_than_size(shape):
    """Sixteen times the input takes at most about sixteen times as long, with a wide margin."""

    def hostile(size):
        fill = "A" * size
        head, body, signature = GOOD.split(".")
        if shape == "dots":
            return "." * size
        if shape == "header":
            return f"{fill}.{body}.{signature}"
        if shape == "payload":
            return f"{head}.{fill}.{signature}"
        if shape == "signature":
            return f"{head}.{body}.{fill}"
        text = {
            "brackets": b'{"a":' + b"[" * size,
            "duplicates": b"{" + b'"a":1,' * (size // 6) + b'"b":1}',
            "escapes": b'{"a":"' + b"\\\\" * (size // 2),
        }[shape]
        return token(payload=text)

    small, large = hostile(50_000), hostile(800_000)
    base = best_of(lambda: verify(small, max_size=10**8))
    assert best_of(lambda: verify(large, max_size=10**8)) < 64 * base + 0.05
