"""What calling code may hand over and do with what it gets: values that change their mind, subclasses, copies."""

import copy
import enum
import json
import pickle
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pytest

from tests.jose.samples import (
    AUDIENCE,
    FAMILIES,
    ISSUER,
    NOW,
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
from tokenkeep.jose import ClaimsPolicy, Key, KeySet, UnverifiedToken, VerifiedToken, jws, jwt
from tokenkeep.jose.encoding import decode_base64url, encode_array, encode_base64url, encode_object
from tokenkeep.jose.errors import (
    AudienceNotAccepted,
    InvalidArgument,
    IssuerNotAccepted,
    MalformedToken,
    ReservedName,
    TokenTypeNotAccepted,
    UsageError,
    WrongType,
)

HS256 = private_key("HS256")
SIGNER = Key.from_jwk({**private_key("ES256").to_jwk(private=True), "key_ops": ["sign"]})


class Role(enum.StrEnum):
    """Text as an enumeration has it."""

    ADMIN = "admin"
    AUDIENCE = AUDIENCE
    ISSUER = ISSUER
    TYPE = "at+jwt"
    ALGORITHM = "HS256"


class OldRole(str, enum.Enum):  # noqa: UP042 - its str() is not its value, which is the point
    """Text as older programs have it in an enumeration."""

    ADMIN = "admin"
    AUDIENCE = AUDIENCE
    ISSUER = ISSUER
    TYPE = "at+jwt"
    ALGORITHM = "HS256"


class Changing(Mapping):
    """A mapping that says something else from the second time on."""

    def __init__(self, first, later):
        self.first, self.later, self.asked = first, later, 0

    def now(self):
        return self.first if self.asked < 2 else self.later

    def __iter__(self):
        self.asked += 1
        return iter(self.now())

    def __getitem__(self, name):
        return self.now()[name]

    def __len__(self):
        return len(self.now())


class Names(Sequence):
    """A sequence that can be hashed, and changed all the same."""

    def __init__(self, *names):
        self.names = list(names)

    def __getitem__(self, at):
        return self.names[at]

    def __len__(self):
        return len(self.names)


def written(presented, part):
    """Return the header or the claims inside a token."""
    return json.loads(unb64(presented.split(".")[part]))


# -------------------------------------------------------------------------------------------------- changing one's mind


def test_a_sequence_of_audiences_is_read_each_time():
    """What a sequence of the caller's says at a call is accepted at that call, and not what it said before."""
    audiences = Names(AUDIENCE)
    presented = issue()
    verify(presented, audience=audiences)
    audiences.names[:] = ["other"]
    with pytest.raises(AudienceNotAccepted):
        verify(presented, audience=audiences)
    audiences.names[:] = []
    with pytest.raises(InvalidArgument, match="audience is empty"):
        verify(presented, audience=audiences)
    algorithms = Names("HS256")
    verify(presented, algorithms=algorithms)
    algorithms.names[:] = []
    with pytest.raises(InvalidArgument, match="algorithms is empty"):
        verify(presented, algorithms=algorithms)


@pytest.mark.parametrize("audience", [[AUDIENCE], (AUDIENCE,), {AUDIENCE}, frozenset({AUDIENCE}), Names("x", AUDIENCE)])
def test_audiences_come_as_any_list(audience):
    """A list, a tuple, a set and any other sequence of audiences do the same."""
    assert verify(issue(), audience=audience).claims["aud"] == AUDIENCE
    assert ClaimsPolicy(ISSUER, audience).audience == tuple(audience)


@pytest.mark.parametrize(
    "audience", [b"api", b"", iter([AUDIENCE]), {AUDIENCE: 1}, 5, [5], (b"x",), [[AUDIENCE]], [None], Names(5)]
)
def test_other_things_are_no_audience(audience):
    """Bytes, iterators, mappings and lists of what is no text are refused as arguments."""
    with pytest.raises(WrongType, match="audience"):
        verify(issue(), audience=audience)


@pytest.mark.parametrize("name", ["issuer", "token_type", "leeway", "max_age", "max_lifetime"])
def test_what_cannot_be_hashed_is_named(name):
    """A list where one value belongs is refused with the name of the argument."""
    with pytest.raises(WrongType, match=name) as caught:
        verify(issue(), **{name: ["x"]})
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize("name", ["sub", "iss", "aud", "exp", "nbf", "iat", "jti"])
def test_claims_are_read_once(name):
    """A mapping that shows a registered claim only when it is read again shadows nothing."""
    presented = issue(custom=Changing({"own": 1}, {name: "admin"}))
    assert written(presented, 1) == {**written(presented, 1), "own": 1, "sub": "1"}
    assert verify(presented).claims["sub"] == "1"

    class Claims(dict):
        def keys(self):
            return [name]

        def __getitem__(self, _):
            return "admin"

    assert verify(issue(custom=Claims(own=1))).claims["sub"] == "1"
    with pytest.raises(ReservedName):
        issue(custom=Changing({name: 1}, {}))


@pytest.mark.parametrize("name", ["alg", "kid", "crit", "jwk", "typ"])
def test_header_parameters_are_read_once(name):
    """A mapping that shows a reserved parameter only when it is read again changes no header."""
    presented = issue(header=Changing({"x": 1}, {name: "other"}))
    assert written(presented, 0) == {"alg": "HS256", "typ": "JWT", "kid": HS256.kid, "x": 1}
    assert written(jws.sign(b"", HS256, header=Changing({"x": 1}, {name: "other"})), 0).get(name) != "other"


def test_names_of_claims_are_plain_text():
    """A name that only compares like another cannot bring a registered claim in."""

    class Hidden(str):
        __slots__ = ()

        def __hash__(self):
            return 1

        def __eq__(self, other):
            return self is other

    with pytest.raises(WrongType, match="names in JSON are strings"):
        issue(custom={Hidden("sub"): "admin"})
    with pytest.raises(WrongType, match="names in JSON are strings"):
        issue(header={Hidden("alg"): "none"})


def test_keys_of_an_issuer_are_looked_at_again():
    """A mapping of keys that answers something else than it listed is a mistake, and verifies nothing."""

    class Keys(dict):
        def get(self, name, default=None):
            return self.later

    keys = Keys({ISSUER: HS256})
    for later, error in (("secret", WrongType), (SIGNER, InvalidArgument), (None, IssuerNotAccepted)):
        keys.later = later
        with pytest.raises(error):
            verify(issue(), keys, issuer=None)
    assert verify(issue(), defaultdict(lambda: HS256, {ISSUER: HS256}), issuer=None)
    with pytest.raises(IssuerNotAccepted):
        verify(issue(issuer="other"), defaultdict(lambda: HS256, {ISSUER: HS256}), issuer=None)


# ------------------------------------------------------------------------------------------------- subclasses of text


@pytest.mark.parametrize("kind", [Role, OldRole])
def test_members_of_enumerations_are_text(kind):
    """An enumeration of texts may name issuer, audience, type, algorithm and values, and is written as its value."""
    presented = issue(
        custom={"role": kind.ADMIN, "roles": [kind.ADMIN], "deep": {"role": kind.ADMIN}},
        issuer=kind.ISSUER,
        audience=kind.AUDIENCE,
        subject=kind.ADMIN,
        token_type=kind.TYPE,
        token_id=kind.ADMIN,
        header={"cty": kind.ADMIN},
    )
    assert written(presented, 0) == {"alg": "HS256", "typ": "at+jwt", "kid": HS256.kid, "cty": "admin"}
    expected = {"iss": ISSUER, "sub": "admin", "aud": AUDIENCE, "jti": "admin", "role": "admin", "roles": ["admin"]}
    assert written(presented, 1) == {**written(presented, 1), **expected, "deep": {"role": "admin"}}
    for audience in (kind.AUDIENCE, [kind.AUDIENCE], {kind.AUDIENCE}):
        assert issue(audience=audience)
        verified = verify(
            presented, issuer=kind.ISSUER, audience=audience, token_type=kind.TYPE, algorithms=[kind.ALGORITHM]
        )
        assert verified.claims["role"] == "admin"
    policy = ClaimsPolicy(kind.ISSUER, kind.AUDIENCE, kind.TYPE)
    assert [type(each) for each in (policy.issuer, policy.audience, policy.token_type)] == [str, str, str]
    key = Key.generate(kind.ALGORITHM, kid=kind.ADMIN)
    assert type(key.kid) is type(key.alg) is str
    assert key.kid == "admin"


# ------------------------------------------------------------------------------------------------- copies and pickles


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_results_can_be_copied_and_pickled(twin_of):
    """What verifying returns can be copied and sent to another process, and is as immutable there."""
    presented = issue(custom={"own": {"list": [1, {"a": 1.5}], "big": 2**70}})
    for result, kind in ((verify(presented), VerifiedToken), (jwt.decode_unverified(presented), UnverifiedToken)):
        twin = twin_of(result)
        assert type(twin) is kind
        assert twin == result
        assert twin.claims["own"]["list"] == (1, {"a": 1.5})
        for value in (twin.header, twin.claims, twin.claims["own"], twin.claims["own"]["list"][1]):
            assert type(value) is MappingProxyType
    content = jws.verify(jws.sign(b"\0bytes", HS256), HS256, algorithms=["HS256"])
    twin = twin_of(content)
    assert twin == content
    assert type(twin.header) is MappingProxyType
    policy = ClaimsPolicy(ISSUER, [AUDIENCE])
    assert twin_of(policy) == policy
    assert jwt.verify_with_policy(issue(), HS256, twin_of(policy), algorithms=["HS256"], now=NOW)


def test_key_sets_are_copied_and_not_pickled():
    """A copy of a set is the set itself, and a pickle, which might travel, is refused as for keys."""
    key_set = KeySet([HS256])
    assert copy.copy(key_set) is copy.deepcopy(key_set) is key_set
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(WrongType, match="not pickled"):
            pickle.dumps(key_set, protocol)


# ------------------------------------------------------------------------------------------------- mistakes are named


@pytest.mark.parametrize(
    "call",
    [
        lambda: decode_base64url(None),
        lambda: decode_base64url(5),
        lambda: decode_base64url(memoryview(b"QQ")),
        lambda: encode_base64url("text"),
        lambda: encode_base64url(None),
        lambda: encode_array(5),
        lambda: encode_array(None),
        lambda: encode_array("text"),
        lambda: KeySet(None),
        lambda: KeySet(5),
        lambda: KeySet(HS256),
        lambda: KeySet("text"),
        lambda: verify(issue(), max_size=8192.0),
        lambda: verify(issue(), max_size=4096.0),
        lambda: verify(issue(), max_size=True),
        lambda: jws.verify(jws.sign(b"", HS256), HS256, algorithms=["HS256"], max_size=8192.0),
        lambda: Key.generate("ES256", kid=5),
    ],
)
def test_wrong_types_are_named(call):
    """Whatever has the wrong type is refused with the documented error, never with one of a library."""
    with pytest.raises(WrongType):
        call()


@pytest.mark.parametrize("alg", [*FAMILIES, "ES512", "Ed25519"])
def test_signing_and_verifying_need_bytes(alg):
    """Text, numbers and nothing are refused with the documented error by the keys of every algorithm."""
    key = private_key(alg)
    signature = key.sign(b"data")
    for wrong in ("y" * len(signature), None, 5):
        with pytest.raises(WrongType):
            key.sign(wrong)
        with pytest.raises(WrongType):
            key.verify(wrong, signature)
        with pytest.raises(WrongType):
            key.verify(b"data", wrong)


@pytest.mark.parametrize("presented", ["no token", "x" * 9000, issue(private_key("ES256"))])
def test_a_key_that_may_only_sign_is_a_mistake(presented):
    """A key whose key_ops allow signing only is refused as an argument, alone and bound to an issuer."""
    for keys, issuer in ((SIGNER, ISSUER), ({ISSUER: SIGNER}, None), ({"other": HS256, ISSUER: SIGNER}, None)):
        with pytest.raises(InvalidArgument, match="may only sign"):
            verify(presented, keys, issuer=issuer)
    assert verify(issue(SIGNER), SIGNER.public())


@pytest.mark.parametrize("alg", FAMILIES)
def test_the_type_comes_before_the_claims(alg):
    """A token of another type is refused for its type, whatever its payload is."""
    key = private_key(alg)
    for payload in (b"[]", b"\xff", b"", compact(claims(exp=1))):
        presented = token(key, header=header_of(key, typ="x"), payload=payload)
        with pytest.raises(TokenTypeNotAccepted):
            verify(presented, verifying_key(alg))
    with pytest.raises(TokenTypeNotAccepted):
        verify(token(key, header=header_of(key, typ="x"), payload=compact(claims(exp=1))), {ISSUER: key}, issuer=None)
    with pytest.raises(MalformedToken, match="payload"):
        verify(token(key, payload=b"[]"), verifying_key(alg))


@pytest.mark.parametrize("digits", range(4296, 4303))
def test_integers_that_could_not_be_read_are_not_written(digits):
    """An integer of thousands of digits is written only if it is read back, alone and amid other values."""
    for value in (10**digits, -(10**digits), -(10**digits) + 1):
        for mapping in ({"a": value}, {"a": [1, {"b": value}], "c": "x" * 10_000}):
            try:
                data = encode_object(mapping)
            except InvalidArgument:
                assert digits >= 4299
                continue
            assert json.loads(data) == mapping
            assert read_back(data) == mapping


def read_back(data):
    """Return what a token with these claims would give back."""
    return json.loads(encode_object(jwt.decode_unverified(token(payload=data), max_size=100_000).claims))
