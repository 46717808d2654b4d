"""Sets of keys and the selection from them."""

import json
from types import MappingProxyType

import pytest

from tests.jose.samples import FAMILIES, SECRET, b64, private_key
from tokenkeep.jose import Key, KeySet
from tokenkeep.jose.errors import (
    AlgorithmNotAllowed,
    AmbiguousKey,
    InvalidArgument,
    InvalidKey,
    KeyNotFound,
    KeySelectionError,
    WrongType,
)
from tokenkeep.jose.key_set import MAX_PUBLISHED_KEYS

ASYMMETRIC = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]


def published(*algs):
    """Return a JWK Set of sample keys."""
    return {"keys": [private_key(alg).to_jwk() for alg in algs]}


# ------------------------------------------------------------------------------------------------------ construction


def test_a_set_keeps_its_keys_in_order():
    """A set is iterated in the order of its keys, has their number, and names none of them."""
    keys = [private_key(alg) for alg in ASYMMETRIC]
    key_set = KeySet(iter(keys))
    assert list(key_set) == keys
    assert len(key_set) == len(keys)
    assert repr(key_set) == "<KeySet of 5>"
    assert key_set.skipped == ()


def test_a_set_is_immutable():
    """No attribute of a set can be set, and the list it was made of does not matter afterwards."""
    keys = [private_key("ES256")]
    key_set = KeySet(keys)
    keys.append(private_key("RS256"))
    assert len(key_set) == 1
    for name in ("_keys", "skipped", "new"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(key_set, name, ())
        with pytest.raises(AttributeError):
            delattr(key_set, name)
    assert not hasattr(key_set, "__dict__")


@pytest.mark.parametrize("keys", [[None], ["secret"], [b"secret"], [{"kty": "oct"}], ["ES256"]])
def test_a_set_holds_keys_only(keys):
    """Anything but a key is a caller's mistake."""
    with pytest.raises(WrongType):
        KeySet([private_key("ES256"), *keys])


def test_kids_differ():
    """Two keys of one kid are refused, whatever they are."""
    for other in (private_key("ES256"), private_key("RS256"), private_key("ES384")):
        twin = Key.from_jwk(other.to_jwk(), kid="same")
        with pytest.raises(InvalidKey, match="same kid"):
            KeySet([Key.from_jwk(private_key("ES256").to_jwk(), kid="same"), twin])


def test_symmetric_and_asymmetric_keys_do_not_mix():
    """A set is of one sort, so that no public key stands beside a secret."""
    for order in (1, -1):
        with pytest.raises(InvalidKey, match="mix"):
            KeySet([private_key("HS256"), private_key("ES256")][::order])
    assert len(KeySet([private_key("HS256"), private_key("HS512")])) == 2


def test_an_empty_set_can_be_made_but_selects_nothing():
    """Nothing is in an empty set, with a kid and without."""
    for key_set in (KeySet([]), KeySet.from_jwks({"keys": []})):
        assert len(key_set) == 0
        for kid in (None, "x"):
            with pytest.raises(KeyNotFound):
                key_set.select(kid, "ES256")


# --------------------------------------------------------------------------------------------------------- selection


def test_a_kid_selects_its_key():
    """The kid alone decides, and the algorithm has to be the key's."""
    key_set = KeySet(private_key(alg) for alg in ASYMMETRIC)
    for alg in ASYMMETRIC:
        assert key_set.select(f"key-{alg}", alg) is private_key(alg)
        for other in ["HS256", "none", *ASYMMETRIC]:
            if other != alg:
                with pytest.raises(AlgorithmNotAllowed, match="another"):
                    key_set.select(f"key-{alg}", other)


@pytest.mark.parametrize("kid", ["", "KEY-ES256", "key-ES256 ", "key", "../key-ES256", "x" * 128])
def test_an_unknown_kid_selects_nothing(kid):
    """A kid is compared exactly, and never replaced by the only key there is; the error carries it, the message not."""
    with pytest.raises(KeyNotFound) as caught:
        KeySet([private_key("ES256")]).select(kid, "ES256")
    assert caught.value.kid == kid
    assert caught.value.message == "key not found"
    assert isinstance(caught.value, KeySelectionError)


def test_without_a_kid_the_algorithm_selects():
    """A header without a kid means the only key of its algorithm; none and several are different errors."""
    key_set = KeySet([private_key("ES256"), private_key("RS256"), Key.generate("ES384"), Key.generate("ES384")])
    assert key_set.select(None, "ES256") is private_key("ES256")
    with pytest.raises(KeyNotFound) as missing:
        key_set.select(None, "EdDSA")
    with pytest.raises(AmbiguousKey) as several:
        key_set.select(None, "ES384")
    assert missing.value.kid is several.value.kid is None


def test_keys_that_may_not_verify_are_not_selected():
    """A key whose key_ops allow signing only is not there for verifying."""
    jwk = private_key("ES256").to_jwk(private=True)
    signer = Key.from_jwk({**jwk, "key_ops": ["sign"]}, kid="signer")
    key_set = KeySet([signer, private_key("ES256")])
    assert key_set.select(None, "ES256") is private_key("ES256")
    with pytest.raises(KeyNotFound):
        key_set.select("signer", "ES256")


# -------------------------------------------------------------------------------------------------------- publishing


def test_published_sets_are_public():
    """The published form of a set holds public members only, each key with kty, use, alg and kid."""
    document = KeySet(private_key(alg) for alg in ASYMMETRIC).to_jwks()
    assert document == published(*ASYMMETRIC)
    for jwk in document["keys"]:
        assert {"kty", "use", "alg", "kid"} <= set(jwk)
        assert not {"d", "p", "q", "dp", "dq", "qi", "oth", "k"} & set(jwk)


def test_nothing_of_symmetric_keys_is_published():
    """The published form of a symmetric set is empty."""
    assert KeySet([private_key("HS256")]).to_jwks() == {"keys": []}


def test_a_published_set_is_read_back():
    """What one side publishes the other reads: from a mapping and from JSON, any number of times."""
    document = published(*ASYMMETRIC)
    for form in (document, MappingProxyType(document), json.dumps(document).encode()):
        key_set = KeySet.from_jwks(form)
        assert key_set.to_jwks() == document
        assert key_set.skipped == ()
        assert not any(key.is_private for key in key_set)


def test_rsa_keys_without_an_algorithm_get_the_given_one():
    """rsa_alg is for RSA keys that name none, and RS256 by default; it changes no other."""
    jwks = published("RS256", "PS256", "ES256")
    for jwk in jwks["keys"]:
        if jwk["alg"] == "RS256":
            del jwk["alg"]
    assert [key.alg for key in KeySet.from_jwks(jwks)] == ["RS256", "PS256", "ES256"]
    assert [key.alg for key in KeySet.from_jwks(jwks, rsa_alg="PS512")] == ["PS512", "PS256", "ES256"]
    for alg in ("HS256", "ES256", "none", "RSA"):
        with pytest.raises(InvalidArgument):
            KeySet.from_jwks(jwks, rsa_alg=alg)


UNUSABLE = {
    "no object": "text",
    "null": None,
    "list": [],
    "unknown type": {"kty": "AKP", "kid": "x"},
    "no type": {"kid": "x"},
    "unknown algorithm": {**private_key("RS256").to_jwk(), "alg": "RSA-OAEP-256"},
    "for encryption": {**private_key("ES256").to_jwk(), "use": "enc"},
    "other operations": {**private_key("ES256").to_jwk(), "key_ops": ["deriveKey"]},
    "unknown curve": {**private_key("ES256").to_jwk(), "crv": "secp256k1"},
    "off the curve": {**private_key("ES256").to_jwk(), "x": b64(bytes(32))},
    "broken member": {**private_key("RS256").to_jwk(), "n": "!"},
    "small modulus": {"kty": "RSA", "n": "0zpL", "e": "AQAB"},
    "small exponent": {**private_key("RS256").to_jwk(), "e": "Aw"},
    "symmetric": {"kty": "oct", "k": b64(SECRET), "alg": "HS256", "kid": "x"},
    "private": private_key("ES384").to_jwk(private=True),
    "private RSA": private_key("PS256").to_jwk(private=True),
    "private part only": {**private_key("ES384").to_jwk(), "d": None},
    "a secret in a public key": {**private_key("ES384").to_jwk(), "k": b64(SECRET)},
    "long kid": {**private_key("ES384").to_jwk(), "kid": "x" * 129},
    "no kid text": {**private_key("ES384").to_jwk(), "kid": 5},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_entry_does_not_hide_the_others(name):
    """An entry that cannot be used is left out with a reason, and the good ones before and after it are usable."""
    entry = UNUSABLE[name]
    keys = [private_key("ES256").to_jwk(), entry, private_key("EdDSA").to_jwk()]
    key_set = KeySet.from_jwks({"keys": keys})
    assert [key.alg for key in key_set] == ["ES256", "EdDSA"]
    assert len(key_set.skipped) == 1
    assert key_set.skipped[0].startswith("keys[1]: invalid key: ")


def test_reasons_name_the_rule_and_quote_nothing():
    """The reason why an entry was left out says which rule it broke, and holds none of its values."""
    reasons = KeySet.from_jwks({"keys": list(UNUSABLE.values())}).skipped
    assert len(reasons) == len(UNUSABLE)
    text = " ".join(reasons)
    for word in ("symmetric", "private", "use", "key_ops", "curve", "exponent", "unknown", "kid"):
        assert word in text
    assert b64(SECRET) not in text
    assert private_key("ES384").to_jwk(private=True)["d"] not in text


def test_private_and_symmetric_entries_are_never_usable():
    """Nothing signed with a secret of a published set verifies with that set."""
    key_set = KeySet.from_jwks({"keys": [private_key(alg).to_jwk(private=True) for alg in FAMILIES]})
    assert len(key_set) == 0
    assert len(key_set.skipped) == len(FAMILIES)


def test_duplicate_kids_in_a_published_set_are_refused():
    """Two usable keys with one kid void the set; an unusable one beside a usable one does not."""
    first, second = private_key("ES256").to_jwk(), {**private_key("RS256").to_jwk(), "kid": "key-ES256"}
    with pytest.raises(InvalidKey, match="same kid"):
        KeySet.from_jwks({"keys": [first, second]})
    assert len(KeySet.from_jwks({"keys": [first, {**second, "use": "enc"}]})) == 1


@pytest.mark.parametrize(
    "jwks",
    [
        {},
        {"keys": None},
        {"keys": {}},
        {"keys": "x"},
        {"KEYS": []},
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"keys":1}',
        b"\xef\xbb\xbf{}",
        b'{"keys":[],"keys":[]}',
        b'{"keys":[' + b"[" * 100 + b"]" * 100 + b"]}",
        b"\xff",
        b'{"keys":[NaN]}',
    ],
    ids=ascii,
)
def test_what_is_no_key_set_is_refused(jwks):
    """A document without a list of keys, or one that is no strict JSON, is refused as a whole."""
    with pytest.raises(InvalidKey, match="key set"):
        KeySet.from_jwks(jwks)


@pytest.mark.parametrize("jwks", ["{}", None, [], [{}], 5, bytearray(b"{}")])
def test_a_key_set_is_a_mapping_or_json(jwks):
    """Text, lists and nothing are a caller's mistake."""
    with pytest.raises(WrongType):
        KeySet.from_jwks(jwks)


def test_published_sets_are_bounded():
    """A hundred entries are read and one more is refused before any is."""
    entry = {"kty": "AKP"}
    assert len(KeySet.from_jwks({"keys": [entry] * MAX_PUBLISHED_KEYS}).skipped) == MAX_PUBLISHED_KEYS == 100
    with pytest.raises(InvalidKey, match="more than 100"):
        KeySet.from_jwks({"keys": (entry,) * (MAX_PUBLISHED_KEYS + 1)})
