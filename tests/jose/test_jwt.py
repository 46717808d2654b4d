"""Issue and verify: the two calls most users need."""

import json
import math
import time
from collections import UserDict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from types import MappingProxyType

import pytest

from tests.jose.samples import (
    AUDIENCE,
    FAMILIES,
    ISSUER,
    LIFETIME,
    NOW,
    assemble,
    b64,
    claims,
    compact,
    header_of,
    issue,
    private_key,
    token,
    unb64,
    verify,
    verifying_key,
)
from tokenkeep.jose import ClaimsPolicy, Key, KeySet, UnverifiedToken, VerifiedToken, jwt
from tokenkeep.jose.algorithms import ALGORITHMS
from tokenkeep.jose.arguments import MAX_INSTANT
from tokenkeep.jose.errors import (
    AlgorithmNotAllowed,
    AudienceNotAccepted,
    ClaimMissing,
    HeaderNotAccepted,
    InvalidArgument,
    InvalidKey,
    InvalidSignature,
    IssuerNotAccepted,
    KeyNotFound,
    KeyRequired,
    MalformedToken,
    ReservedName,
    TokenError,
    TokenExpired,
    TokenTypeNotAccepted,
    UsageError,
    WrongType,
)

HS256 = private_key("HS256")
REGISTERED = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"]


def payload_of(presented):
    """Return the claims inside a token, read by other code than the engine's."""
    return json.loads(unb64(presented.split(".")[1]))


def written_header(presented):
    """Return the header of a token, read by other code than the engine's."""
    return json.loads(unb64(presented.split(".")[0]))


# ---------------------------------------------------------------------------------------------------------- issuing


@pytest.mark.parametrize("alg", list(ALGORITHMS))
def test_round_trip(alg):
    """What is issued is verified, with every algorithm, by the key, a set, and as text and bytes."""
    presented = issue(private_key(alg), {"name": "Ada", "roles": ["admin", {"of": None}]})
    for form in (presented, presented.encode()):
        for keys in (verifying_key(alg), KeySet([verifying_key(alg)]), {ISSUER: verifying_key(alg)}):
            verified = verify(form, keys, algorithms=[alg], issuer=None if isinstance(keys, dict) else ISSUER)
            assert type(verified) is VerifiedToken
            assert verified.claims["name"] == "Ada"
            assert verified.claims["sub"] == "1"
            assert verified.header == {"alg": alg, "typ": "JWT", "kid": f"key-{alg}"}


def test_the_registered_claims_are_written():
    """The token holds exactly what it was issued with, in a fixed order, with whole seconds."""
    presented = issue(custom={"own": 1}, now=NOW + 0.9, token_id="id", not_before=NOW + 1)
    assert payload_of(presented) == {
        "iss": ISSUER,
        "sub": "1",
        "aud": AUDIENCE,
        "iat": NOW,
        "nbf": NOW + 1,
        "exp": NOW + 900,
        "jti": "id",
        "own": 1,
    }
    assert list(payload_of(presented)) == ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "own"]
    least = issue(subject=None)
    assert list(payload_of(least)) == ["iss", "aud", "iat", "exp", "jti"]


@pytest.mark.parametrize("audience", [["a", "b"], ("a", "b")])
def test_several_audiences_are_a_list(audience):
    """A list of audiences stays a list and one audience stays text."""
    assert payload_of(issue(audience=audience))["aud"] == ["a", "b"]
    assert payload_of(issue(audience=["a"]))["aud"] == ["a"]
    assert payload_of(issue(audience="a"))["aud"] == "a"


def test_token_ids_are_drawn_from_the_system(monkeypatch):
    """A token id is 128 bits of the system's generator unless given, and never repeats."""
    assert len({payload_of(issue())["jti"] for _ in range(200)}) == 200
    assert len(unb64(payload_of(issue())["jti"])) == 16
    monkeypatch.setattr("tokenkeep.jose.jwt.secrets.token_bytes", lambda size: bytes(range(size)))
    assert payload_of(issue())["jti"] == b64(bytes(range(16)))
    assert payload_of(issue(token_id="given"))["jti"] == "given"


def test_the_clock_is_read_when_no_instant_is_given(monkeypatch):
    """Without now the clock counts, for issuing and for verifying; with now it does not."""
    monkeypatch.setattr("tokenkeep.jose.jwt.time.time", lambda: NOW + 7.5)
    presented = issue(now=None)
    assert payload_of(presented)["iat"] == NOW + 7
    assert verify(presented, now=None)
    monkeypatch.setattr("tokenkeep.jose.jwt.time.time", lambda: NOW + 10_000.0)
    with pytest.raises(TokenExpired):
        verify(presented, now=None)
    assert verify(presented, now=NOW + 8)


def test_the_real_clock_agrees():
    """A token issued and verified by the clock is valid now."""
    before = math.floor(time.time())
    verified = verify(issue(now=None), now=None)
    assert before <= verified.claims["iat"] <= time.time()


@pytest.mark.parametrize("name", REGISTERED)
def test_custom_claims_cannot_shadow_registered_ones(name):
    """A custom claim with a registered name is refused, whatever its value, before anything is signed."""
    for value in (None, "admin", 0):
        with pytest.raises(ReservedName, match=f"'{name}'") as caught:
            issue(custom={"own": 1, name: value})
        assert isinstance(caught.value, ValueError)


def test_callers_objects_are_never_changed():
    """Claims, header and audience are left as they were, also read-only ones and other mappings."""
    custom, header, audience = {"own": [1, {"a": 2}]}, {"x": [1]}, ["a", AUDIENCE]
    before = json.dumps([custom, header, audience])
    presented = issue(custom=custom, header=header, audience=audience)
    verify(presented, audience=audience)
    verify(presented, audience=audience)
    assert json.dumps([custom, header, audience]) == before
    assert payload_of(issue(custom=MappingProxyType({"own": 1})))["own"] == 1
    assert payload_of(issue(custom=UserDict({"own": 1})))["own"] == 1


def test_verified_claims_can_be_issued_again():
    """The frozen claims of a verified token are accepted as custom claims of the next."""
    first = verify(issue(custom={"own": {"list": [1, [2, {}]]}}))
    again = issue(custom={name: value for name, value in first.claims.items() if name not in REGISTERED})
    assert payload_of(again)["own"] == {"list": [1, [2, {}]]}


@pytest.mark.parametrize(
    "value",
    [object(), b"x", {1, 2}, 1j, {1: 2}, datetime(2026, 1, 1, tzinfo=UTC), timedelta(1)],
    ids=lambda value: type(value).__name__,
)
def test_claims_that_json_lacks_are_type_errors(value):
    """A value that JSON does not have is refused, wherever it stands."""
    for custom in ({"own": value}, {"own": [{"deep": value}]}):
        with pytest.raises(TypeError):
            issue(custom=custom)


@pytest.mark.parametrize("custom", [[], "x", None, 5, [("a", 1)]])
def test_claims_are_a_mapping(custom):
    """Anything but a mapping is a caller's mistake."""
    with pytest.raises(WrongType, match="claims"):
        jwt.issue(custom, HS256, issuer=ISSUER, audience=AUDIENCE, lifetime=LIFETIME)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("issuer", "", InvalidArgument),
        ("issuer", None, WrongType),
        ("issuer", [ISSUER], WrongType),
        ("subject", "", InvalidArgument),
        ("subject", 1, WrongType),
        ("audience", "", InvalidArgument),
        ("audience", [], InvalidArgument),
        ("audience", ["a", ""], InvalidArgument),
        ("audience", ["a", None], WrongType),
        ("audience", None, WrongType),
        ("audience", b"a", WrongType),
        ("lifetime", 900, WrongType),
        ("lifetime", 900.0, WrongType),
        ("lifetime", None, WrongType),
        ("lifetime", float("nan"), WrongType),
        ("lifetime", timedelta(0), InvalidArgument),
        ("lifetime", timedelta(milliseconds=999), InvalidArgument),
        ("lifetime", timedelta(days=-1), InvalidArgument),
        ("token_type", "", InvalidArgument),
        ("token_type", "at jwt", InvalidArgument),
        ("token_type", 5, WrongType),
        ("token_id", "", InvalidArgument),
        ("token_id", 5, WrongType),
        ("not_before", "now", WrongType),
        ("not_before", True, WrongType),
        ("not_before", datetime(2023, 1, 1), InvalidArgument),  # noqa: DTZ001 - the mistake itself
        ("not_before", float("nan"), InvalidArgument),
        ("not_before", -1, InvalidArgument),
        ("not_before", NOW + 900, InvalidArgument),
        ("header", [], WrongType),
        ("header", {"typ": "x"}, ReservedName),
        ("header", {"alg": "none"}, ReservedName),
        ("header", {"jwk": {}}, ReservedName),
        ("now", "1", WrongType),
        ("now", True, WrongType),
        ("now", datetime(2026, 1, 1, tzinfo=UTC), WrongType),
        ("now", float("nan"), InvalidArgument),
        ("now", float("inf"), InvalidArgument),
        ("now", -1, InvalidArgument),
        ("now", MAX_INSTANT + 1, InvalidArgument),
        ("now", MAX_INSTANT, InvalidArgument),
    ],
    ids=ascii,
)
def test_senseless_arguments_are_not_issued(name, value, error):
    """Every argument is checked, and the error is a ValueError or TypeError that names it."""
    with pytest.raises(error) as caught:
        issue(**{name: value})
    assert isinstance(caught.value, UsageError)
    assert name.split("_")[0] in str(caught.value) or name in ("header", "now")


@pytest.mark.parametrize("key", [None, "", b""])
def test_issuing_needs_a_key(key):
    """Without a key the known sentence is said."""
    with pytest.raises(KeyRequired, match=r"^secret or key required$"):
        jwt.issue({}, key, issuer=ISSUER, audience=AUDIENCE, lifetime=LIFETIME)


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_public_keys_do_not_issue(alg):
    """A public key cannot sign."""
    with pytest.raises(InvalidKey, match="may not sign"):
        issue(verifying_key(alg))


def test_lifetimes_are_whole_seconds():
    """Fractions of a second are dropped, never rounded up, and a second is the least."""
    for lifetime, seconds in (
        (timedelta(seconds=1), 1),
        (timedelta(seconds=1.999), 1),
        (timedelta(days=1, seconds=1), 86401),
    ):
        assert payload_of(issue(lifetime=lifetime))["exp"] == NOW + seconds
    assert payload_of(issue(now=MAX_INSTANT - 900))["exp"] == MAX_INSTANT
    with pytest.raises(InvalidArgument, match="9999"):
        issue(now=MAX_INSTANT - 899)


def test_the_longest_token_is_issued():
    """What `verify` accepts by default is issued to the last byte, and one byte more is a caller's mistake."""
    sizes = []
    for own, extra in product(range(5_900, 5_915), (4, 5, 6)):
        with suppress(InvalidArgument):
            sizes.append(len(issue(custom={"own": "x" * own}, header={"own": "x" * extra})))
    assert max(sizes) == 8_192
    with pytest.raises(InvalidArgument, match="gets longer than 8192 bytes"):
        issue(custom={"own": "x" * 6_100})


def test_not_before_is_an_instant_before_the_end():
    """not_before is an aware datetime or seconds, rounded up to whole ones."""
    assert payload_of(issue(not_before=NOW))["nbf"] == NOW
    assert payload_of(issue(not_before=NOW + 0.1))["nbf"] == NOW + 1
    assert payload_of(issue(not_before=datetime.fromtimestamp(NOW + 5, UTC)))["nbf"] == NOW + 5
    assert payload_of(issue(not_before=NOW + 899))["nbf"] == NOW + 899
    assert payload_of(issue(not_before=0))["nbf"] == 0


def test_types_are_written():
    """The type is JWT unless another is given, and further header parameters follow it."""
    assert written_header(issue()) == {"alg": "HS256", "typ": "JWT", "kid": HS256.kid}
    assert written_header(issue(token_type="at+jwt"))["typ"] == "at+jwt"
    assert list(written_header(issue(header={"x": 1}, token_type="at+jwt"))) == ["alg", "typ", "kid", "x"]
    verify(issue(token_type="at+jwt"), token_type="at+jwt")
    with pytest.raises(TokenTypeNotAccepted):
        verify(issue(token_type="at+jwt"))


def test_tokens_that_verify_would_refuse_are_not_issued():
    """A token of 8192 bytes is issued and verified; a longer one is refused when issuing."""
    room = 5900
    while len(issue(custom={"own": "x" * (room + 1)}, token_id="id")) < 8190:
        room += 1
    presented = issue(custom={"own": "x" * room}, token_id="id")
    assert len(presented) <= 8192
    verify(presented)
    with pytest.raises(InvalidArgument, match="8192"):
        issue(custom={"own": "x" * (room + 10)}, token_id="id")


# -------------------------------------------------------------------------------------------------------- verifying


def test_results_are_deeply_immutable():
    """Nothing of a verified token can be changed, however deep, and so one caller cannot change another's."""
    presented = issue(custom={"own": {"list": [1, {"a": 1}]}})
    verified = verify(presented)
    for change in (
        lambda: verified.claims.__setitem__("sub", "2"),
        lambda: verified.claims["own"].__setitem__("a", 1),
        lambda: verified.claims["own"]["list"][1].__setitem__("a", 2),
        lambda: verified.header.__setitem__("alg", "none"),
        lambda: setattr(verified, "claims", {}),
        lambda: delattr(verified, "claims"),
    ):
        with pytest.raises((TypeError, AttributeError)):
            change()
    assert verified.claims["own"]["list"] == (1, {"a": 1})
    assert verify(presented).claims["own"]["list"] == (1, {"a": 1})


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xef\xbb\xbf{}",
        b'{"sub":"a","sub":"b"}',
        b'{"sub":"a","\\u0073ub":"b"}',
        b'{"cnf":{"jkt":"a","jkt":"b"}}',
        b'{"sub":"\xff"}',
        b'{"sub":"\\ud800"}',
        b"{}x",
        b'{"a":' + b"[" * 4000 + b"]" * 1000 + b"}",
    ],
    ids=lambda payload: ascii(payload[:30]),
)
def test_claims_are_strict_json(payload):
    """Claims that are no strict JSON object are malformed, though they were signed."""
    with pytest.raises(MalformedToken, match="payload"):
        verify(token(payload=payload))


@pytest.mark.parametrize("alg", FAMILIES)
def test_a_forged_token_says_so_whatever_else_is_wrong(alg):
    """A token that is forged and expired, or of another type, issuer and audience, has an invalid signature."""
    key = private_key(alg)
    wrong = claims(exp=1, iss="other", aud="other", sub=5)
    presented = token(key, header=header_of(key, typ="x"), payload=wrong, sign=Key.generate(alg, rsa_bits=2048).sign)
    with pytest.raises(InvalidSignature):
        verify(presented, verifying_key(alg))
    honest = token(key, header=header_of(key, typ="x"), payload=wrong)
    with pytest.raises(TokenTypeNotAccepted):
        verify(honest, verifying_key(alg))


def test_claims_are_not_read_before_the_signature(monkeypatch):
    """The reader of claims is never reached with a wrong signature."""
    presented = issue()

    def refuse(name, segment):
        raise AssertionError("claims were read")

    monkeypatch.setattr("tokenkeep.jose.jwt.decode_members", refuse)
    with pytest.raises(InvalidSignature):
        verify(presented, Key.generate("HS256"))
    with pytest.raises(AssertionError):
        verify(presented)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"algorithms": []}, InvalidArgument),
        ({"algorithms": ["none"]}, InvalidArgument),
        ({"algorithms": "HS256"}, WrongType),
        ({"algorithms": None}, WrongType),
        ({"issuer": None}, InvalidArgument),
        ({"issuer": ""}, InvalidArgument),
        ({"audience": []}, InvalidArgument),
        ({"audience": None}, WrongType),
        ({"leeway": 5}, WrongType),
        ({"leeway": float("nan")}, WrongType),
        ({"leeway": timedelta(minutes=2)}, InvalidArgument),
        ({"max_age": 5}, WrongType),
        ({"max_lifetime": timedelta(0)}, InvalidArgument),
        ({"token_type": ""}, InvalidArgument),
        ({"now": "x"}, WrongType),
        ({"now": True}, WrongType),
        ({"now": datetime(2026, 1, 1, tzinfo=UTC)}, WrongType),
        ({"now": float("nan")}, InvalidArgument),
        ({"now": float("inf")}, InvalidArgument),
        ({"now": -1}, InvalidArgument),
        ({"now": MAX_INSTANT + 1}, InvalidArgument),
        ({"max_size": 0}, InvalidArgument),
        ({"max_size": 1.5}, WrongType),
        ({"key": "secret"}, WrongType),
        ({"key": {}}, InvalidArgument),
        ({"key": {ISSUER: HS256}}, InvalidArgument),
        ({"key": {ISSUER: "secret"}, "issuer": None}, WrongType),
        ({"key": {ISSUER: None}, "issuer": None}, KeyRequired),
        ({"key": {"": HS256}, "issuer": None}, InvalidArgument),
        ({"key": {5: HS256}, "issuer": None}, WrongType),
        ({"key": {}, "issuer": None}, InvalidArgument),
    ],
    ids=ascii,
)
def test_mistakes_of_the_caller_come_before_the_token(options, error):
    """Wrong arguments are ValueErrors and TypeErrors, no token errors, and reported whatever the token is."""
    key = options.pop("key", HS256)
    for presented in ("no token", None, issue()):
        with pytest.raises(error) as caught:
            verify(presented, key, **options)
        assert not isinstance(caught.value, TokenError)
    options["key"] = key


@pytest.mark.parametrize("key", ["", b""])
def test_verifying_needs_a_key(key):
    """Without a key the known sentence is said."""
    with pytest.raises(KeyRequired, match=r"^secret or key required$"):
        verify(issue(), key)
    with pytest.raises(KeyRequired):
        jwt.verify(issue(), None, algorithms=["HS256"], issuer=ISSUER, audience=AUDIENCE)


def test_every_failure_of_the_signature_layer_arrives():
    """What jws refuses, jwt refuses with the same error."""
    with pytest.raises(MalformedToken):
        verify("x")
    with pytest.raises(AlgorithmNotAllowed):
        verify(issue(), algorithms=["ES256"])
    with pytest.raises(HeaderNotAccepted):
        verify(token(header=header_of(HS256, crit=["exp"])))
    with pytest.raises(KeyNotFound):
        verify(issue(), KeySet([private_key("HS512")]))
    with pytest.raises(MalformedToken):
        verify(issue(), max_size=10)


def test_one_call_cannot_change_the_next():
    """Alternating policies on the same token give each its own answer."""
    presented = issue()
    for _ in range(3):
        assert verify(presented)
        with pytest.raises(AudienceNotAccepted):
            verify(presented, audience="other")
        with pytest.raises(IssuerNotAccepted):
            verify(presented, issuer="other")
        with pytest.raises(TokenTypeNotAccepted):
            verify(presented, token_type="at+jwt")
        with pytest.raises(TokenExpired):
            verify(presented, max_age=timedelta(seconds=1), now=NOW + 2)


# -------------------------------------------------------------------------------------------------- several issuers

OTHER = "https://other.example"


@pytest.fixture(scope="module")
def bound():
    """Return two issuers with keys of their own, one as a set, and the keys."""
    mine, theirs = Key.generate("ES256", kid="same"), Key.generate("ES256", kid="same")
    return {ISSUER: mine.public(), OTHER: KeySet([theirs.public()])}, mine, theirs


def test_each_issuer_has_its_own_keys(bound):
    """A token is verified with the keys of the issuer it names."""
    keys, mine, theirs = bound
    for key, issuer in ((mine, ISSUER), (theirs, OTHER)):
        assert verify(issue(key, issuer=issuer), keys, issuer=None).claims["iss"] == issuer
        assert verify(issue(key, issuer=issuer), MappingProxyType(keys), issuer=None)


def test_a_key_does_not_speak_for_another_issuer(bound):
    """A token that names one issuer and is signed by the other's key is forged."""
    keys, mine, theirs = bound
    for key, issuer in ((mine, OTHER), (theirs, ISSUER)):
        with pytest.raises(InvalidSignature):
            verify(issue(key, issuer=issuer), keys, issuer=None)


@pytest.mark.parametrize(
    "issuer", ["https://third.example", ISSUER + "/", ISSUER[:-1], "", 5, None, [ISSUER], {ISSUER: 1}], ids=ascii
)
def test_unknown_issuers_are_refused(bound, issuer):
    """An issuer without keys is not accepted, whoever signed."""
    keys, mine, _ = bound
    with pytest.raises(IssuerNotAccepted):
        verify(token(mine, payload={**claims(), "iss": issuer}), keys, issuer=None)


def test_an_issuer_is_required_where_keys_are_bound(bound):
    """A token that names no issuer has no keys."""
    keys, mine, _ = bound
    with pytest.raises(ClaimMissing, match="iss"):
        verify(token(mine, payload=claims(iss=None)), keys, issuer=None)
    with pytest.raises(MalformedToken):
        verify(token(mine, payload=b"x"), keys, issuer=None)


def test_every_other_check_holds_where_keys_are_bound(bound):
    """Algorithm, type, time and audience are checked as with one issuer."""
    keys, mine, _ = bound
    presented = issue(mine)
    with pytest.raises(AlgorithmNotAllowed):
        verify(presented, keys, issuer=None, algorithms=["RS256"])
    with pytest.raises(AudienceNotAccepted):
        verify(presented, keys, issuer=None, audience="other")
    with pytest.raises(TokenExpired):
        verify(presented, keys, issuer=None, now=NOW + 900)
    with pytest.raises(TokenTypeNotAccepted):
        verify(presented, keys, issuer=None, token_type="at+jwt")


# ------------------------------------------------------------------------------------------------------ with a policy


def test_a_policy_made_before_does_the_same():
    """verify_with_policy gives what verify gives, for good tokens and bad."""
    policy = ClaimsPolicy(ISSUER, AUDIENCE, leeway=timedelta(0))
    assert jwt.verify_with_policy(issue(), HS256, policy, algorithms=("HS256",), now=NOW) is not None
    same = issue(token_id="id")
    assert jwt.verify_with_policy(same, KeySet([HS256]), policy, algorithms=["HS256"], now=NOW + 0.5) == verify(same)
    with pytest.raises(TokenExpired):
        jwt.verify_with_policy(same, HS256, policy, algorithms=["HS256"], now=NOW + 900)
    with pytest.raises(MalformedToken):
        jwt.verify_with_policy(same, HS256, policy, algorithms=["HS256"], now=NOW, max_size=10)
    with pytest.raises(InvalidArgument):
        jwt.verify_with_policy(same, HS256, ClaimsPolicy(None, AUDIENCE), algorithms=["HS256"], now=NOW)


@pytest.mark.parametrize("policy", [None, {}, "policy", AUDIENCE])
def test_a_policy_is_a_policy(policy):
    """Anything else is a caller's mistake."""
    with pytest.raises(WrongType, match="ClaimsPolicy"):
        jwt.verify_with_policy(issue(), HS256, policy, algorithms=["HS256"], now=NOW)


# ------------------------------------------------------------------------------------------------------- unverified


def test_anything_well_formed_can_be_looked_at():
    """What a token says is returned without any check, also of an unsigned one, deeply immutable."""
    wrong = token(
        header=header_of(HS256, alg="none", crit=["x"]), payload=claims(exp=1, own=[1, {}]), sign=lambda _: b"x"
    )
    unsigned = assemble(b'{"alg":"none"}', b'{"exp":true,"own":[1,{}]}', lambda _: b"")
    for presented in (wrong, wrong.encode(), unsigned):
        seen = jwt.decode_unverified(presented)
        assert type(seen) is UnverifiedToken
        assert seen.header["alg"] == "none"
        assert seen.claims["own"] == (1, {})
        with pytest.raises(TypeError):
            seen.claims["own"][1]["a"] = 1


@pytest.mark.parametrize(
    "presented",
    [
        "",
        "x",
        "a.b.c",
        "..",
        f"{b64(compact({}))}..",
        f"{b64(b'{}')}.{b64(b'[]')}.",
        f"{b64(b'{}')}.{b64(b'{}')}.=",
        f"{b64(b'{}')}.{b64(b'{}')}.A",
        f"{b64(b'{}')}.{b64(b'{}')}",
        f"{b64(b'{}')}.{b64(b'{}')}.a.b",
        f"{b64(b'[]')}.{b64(b'{}')}.",
        "é.é.é",
    ],
)
def test_what_is_malformed_cannot_be_looked_at(presented):
    """Only the form is checked, and it is checked."""
    with pytest.raises(MalformedToken):
        jwt.decode_unverified(presented)


def test_looking_is_bounded_too():
    """The size limit holds for looking, and wrong arguments are caller's mistakes."""
    with pytest.raises(MalformedToken, match="longer than 20"):
        jwt.decode_unverified(issue(), max_size=20)
    with pytest.raises(MalformedToken, match="longer than 8192"):
        jwt.decode_unverified("x" * 8193)
    with pytest.raises(InvalidArgument):
        jwt.decode_unverified(issue(), max_size=0)
    with pytest.raises(WrongType):
        jwt.decode_unverified(None)


def test_looking_leaves_no_trace(monkeypatch):
    """A header that was only looked at is not remembered for verifying."""
    memory: dict = {}
    monkeypatch.setattr("tokenkeep.jose.compact._remembered", memory)
    jwt.decode_unverified(issue())
    assert memory == {}
