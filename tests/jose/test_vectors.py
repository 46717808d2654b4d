"""Published vectors: the examples of the RFCs and the JOSE cookbook."""

import hashlib
import json
from base64 import b64decode
from datetime import timedelta

import pytest

from tests.jose.samples import DATA, b64, unb64
from tokenkeep.jose import Key, KeySet, jws, jwt
from tokenkeep.jose.algorithms import ALGORITHMS
from tokenkeep.jose.errors import (
    AlgorithmNotAllowed,
    ClaimMissing,
    HeaderNotAccepted,
    InvalidKey,
    InvalidSignature,
    MalformedToken,
    TokenTypeNotAccepted,
)
from tokenkeep.jose.key_material import thumbprint_of

ALL = list(ALGORITHMS)
VECTORS = {vector["id"]: vector for vector in json.loads((DATA / "rfc-examples.json").read_text())["vectors"]}
COOKBOOK = DATA / "rfc7520"


def vectors(kind, result="valid"):
    return [name for name, vector in VECTORS.items() if vector["kind"] == kind and vector.get("result") == result]


def cookbook(path):
    return json.loads((COOKBOOK / path).read_text())


@pytest.fixture(autouse=True)
def known_keys_are_accepted(monkeypatch):
    """The keys of the examples are publicly known, and refused everywhere but here."""
    monkeypatch.setattr("tokenkeep.jose.known_secrets._table", lambda: b"")


# --------------------------------------------------------------------------------------------------- RFC 7515, 8037


@pytest.mark.parametrize("name", vectors("jws-compact"))
def test_compact_examples_verify(name):
    """Each compact example of the RFCs verifies with its key and gives its payload."""
    vector = VECTORS[name]
    key = Key.from_jwk(vector["key"], alg=vector["alg"])
    assert jws.verify(vector["token"], key, algorithms=[vector["alg"]]).payload == unb64(vector["payload_b64u"])


@pytest.mark.parametrize("name", vectors("jws-compact"))
def test_reproducible_examples_are_signed_to_the_byte(name):
    """Where the algorithm leaves no choice, our signature over the example is the printed one."""
    vector = VECTORS[name]
    key = Key.from_jwk(vector["key"], alg=vector["alg"])
    signed, _, signature = vector["token"].rpartition(".")
    ours = b64(key.sign(signed.encode()))
    if vector["deterministic"]:
        assert ours == signature
    assert key.verify(signed.encode(), unb64(ours))


@pytest.mark.parametrize("name", [*vectors("jws-compact", "policy"), *vectors("jws-compact", "invalid")])
def test_unsigned_and_invalid_examples_are_refused(name):
    """The unsecured example and the one to be rejected are refused whatever is accepted."""
    with pytest.raises((AlgorithmNotAllowed, MalformedToken, HeaderNotAccepted)):
        jws.verify(VECTORS[name]["token"], Key.generate("HS256"), algorithms=ALL)


@pytest.mark.parametrize(
    "name", [name for name, v in VECTORS.items() if v["kind"] in {"jws-json-general", "jws-json-flattened"}]
)
def test_other_serializations_are_refused(name):
    """The JSON serializations are not read, as text or as an object."""
    document = VECTORS[name]["token"]
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(MalformedToken):
        jws.verify(text, Key.generate("HS256"), algorithms=ALL)
    with pytest.raises(TypeError):
        jws.verify(json.loads(text), Key.generate("HS256"), algorithms=ALL)


@pytest.mark.parametrize("name", [name for name, v in VECTORS.items() if v["kind"] in {"jwe-compact", "nested-jwt"}])
def test_encrypted_tokens_are_refused(name):
    """A token of five segments is malformed to us, whatever its key."""
    with pytest.raises(MalformedToken, match="found 5"):
        jws.verify(VECTORS[name]["token"], Key.generate("HS256"), algorithms=ALL)


def test_the_unencoded_example_is_refused():
    """The example of an unencoded payload demands b64, which is not supported."""
    vector = next(v for v in VECTORS.values() if v["kind"] == "jws-compact-detached-unencoded")
    with pytest.raises(HeaderNotAccepted):
        jws.verify(vector["token"], Key.from_jwk(vector["key"], alg="HS256"), algorithms=ALL)


# ------------------------------------------------------------------------------------------------------- RFC 7517 ff.


@pytest.mark.parametrize("name", [name for name, v in VECTORS.items() if v["kind"] == "thumbprint"])
def test_thumbprint_examples(name):
    """Each printed thumbprint is ours, for the JWK as printed and without its optional members."""
    vector = VECTORS[name]
    jwk = vector["jwk"]
    alg = {"RSA": "RS256"}.get(jwk["kty"])
    required = {member: value for member, value in jwk.items() if member in {"kty", "crv", "n", "e", "x", "y"}}
    for form in (jwk, required, dict(reversed(jwk.items()))):
        assert Key.from_jwk(form, alg=None if "alg" in form else alg).thumbprint() == vector["thumbprint"]


def test_published_sets_of_the_rfc():
    """Of the printed key sets only what is public and for signatures becomes usable."""
    public = KeySet.from_jwks(VECTORS["rfc7517-A.1"]["jwks"])
    assert [(key.kid, key.alg) for key in public] == [("2011-04-29", "RS256")]
    assert "use" in public.skipped[0]
    assert len(KeySet.from_jwks(VECTORS["rfc7517-A.2"]["jwks"])) == 0
    assert len(KeySet.from_jwks(VECTORS["rfc7517-A.3"]["jwks"])) == 0


def test_keys_of_the_rfc():
    """Private keys of the printed sets are read one by one; those for encryption are refused."""
    for jwk in VECTORS["rfc7517-A.2"]["jwks"]["keys"]:
        if jwk.get("use") == "enc":
            with pytest.raises(InvalidKey, match="use"):
                Key.from_jwk(jwk)
        else:
            assert Key.from_jwk(jwk).is_private
    certificate = VECTORS["rfc7517-B"]["jwk"]
    key = Key.from_jwk(certificate, alg="RS256")
    der = b64decode(certificate["x5c"][0])
    assert Key.from_der(der, alg="RS256").thumbprint() == key.thumbprint()


@pytest.mark.parametrize("name", vectors("dpop-proof", "valid-at-iat"))
def test_proofs_are_signed_but_are_no_jwts(name):
    """A DPoP proof has a right signature under its own key, and jwt.verify refuses it for its type."""
    vector = VECTORS[name]
    key = Key.from_jwk(vector["key"], alg="ES256")
    assert jws.verify(vector["token"], key, algorithms=["ES256"]).header["typ"] == "dpop+jwt"
    with pytest.raises(TokenTypeNotAccepted):
        jwt.verify(vector["token"], key, algorithms=["ES256"], issuer="x", audience="x", leeway=timedelta(0), now=0)


# ---------------------------------------------------------------------------------------------------------- cookbook

COMPACT_FILES = [
    "4_1.rsa_v15_signature",
    "4_2.rsa-pss_signature",
    "4_3.ecdsa_signature",
    "4_4.hmac-sha2_integrity_protection",
]


@pytest.mark.parametrize("name", COMPACT_FILES)
def test_cookbook_signatures(name):
    """Each compact example of the cookbook verifies, alone and from a set, and is reproduced where it can be."""
    example = cookbook(f"jws/{name}.json")
    alg, token = example["input"]["alg"], example["output"]["compact"]
    key = Key.from_jwk(example["input"]["key"], alg=alg)
    payload = example["input"]["payload"].encode()
    for keys in (key, KeySet([key])):
        assert jws.verify(token, keys, algorithms=[alg]).payload == payload
    if example.get("reproducible"):
        assert jws.sign(payload, key) == token
    assert jws.verify(jws.sign(payload, key), key, algorithms=[alg]).payload == payload
    for form in (example["output"]["json"], example["output"]["json_flat"]):
        with pytest.raises(MalformedToken):
            jws.verify(json.dumps(form), key, algorithms=[alg])


def test_cookbook_nested_token():
    """Of the token that was signed and then encrypted, the inner one is verified, and the outer one is not read."""
    example = cookbook("6.nesting_signatures_and_encryption.json")
    inner, outer = example["sign"], example["encrypt"]
    key = Key.from_jwk(inner["input"]["key"], alg="PS256")
    token = inner["output"]["compact"]
    assert token == outer["input"]["plaintext"]
    assert jws.verify(token, key, algorithms=["PS256"]).payload == inner["input"]["payload"].encode()
    expected = json.loads(inner["input"]["payload"])
    assert jwt.decode_unverified(token).claims == expected
    with pytest.raises(ClaimMissing, match="aud"):
        jwt.verify(token, key, algorithms=["PS256"], issuer=expected["iss"], audience="x", now=expected["exp"] - 1)
    with pytest.raises(MalformedToken, match="found 5"):
        jws.verify(outer["output"]["compact"], key, algorithms=ALL)
    with pytest.raises(InvalidKey, match="use"):
        Key.from_jwk(outer["input"]["key"], alg="RS256")


def test_cookbook_ed25519():
    """The Ed25519 example of the cookbook verifies and is reproduced to the byte."""
    example = cookbook("curve25519/jws.json")
    key = Key.from_jwk(example["input"]["key"])
    assert key.alg == "EdDSA"
    token = example["output"]["compact"]
    assert jws.verify(token, key, algorithms=["EdDSA"]).payload == example["input"]["payload"].encode()
    assert b64(key.sign(token.rpartition(".")[0].encode())) == example["signing"]["sig"]


@pytest.mark.parametrize(
    "name",
    [
        "4_5.signature_with_detached_content",
        "4_6.protecting_specific_header_fields",
        "4_7.protecting_content_only",
        "4_8.multiple_signatures",
    ],
)
def test_cookbook_forms_we_do_not_read(name):
    """Detached content, unprotected headers and several signatures are refused."""
    example = cookbook(f"jws/{name}.json")
    key = Key.from_jwk(cookbook("jwk/3_5.symmetric_key_mac_computation.json"))
    for form in example["output"].values():
        with pytest.raises((MalformedToken, InvalidSignature)):
            jws.verify(form if isinstance(form, str) else json.dumps(form), key, algorithms=["HS256"])


def test_cookbook_unencoded():
    """Examples with b64 false are refused by their header, one of which is printed with a member without a value."""
    for path in sorted((COOKBOOK / "rfc7797").iterdir()):
        example = json.loads(path.read_text())
        key = Key.from_jwk(example["input"]["key"])
        header = example["signing"]["protected_b64u"]
        token = f"{header}.{b64(example['input']['payload'])}.{example['signing']['sig']}"
        with pytest.raises((HeaderNotAccepted, MalformedToken), match="header"):
            jws.verify(token, key, algorithms=["HS256"])


def test_cookbook_keys():
    """The keys of the cookbook are read, private and public belong together, and the one for encryption is refused."""
    public = Key.from_jwk(cookbook("jwk/3_1.ec_public_key.json"))
    private = Key.from_jwk(cookbook("jwk/3_2.ec_private_key.json"))
    assert (public.alg, public.thumbprint()) == ("ES512", private.thumbprint())
    public = Key.from_jwk(cookbook("jwk/3_3.rsa_public_key.json"), alg="PS384")
    private = Key.from_jwk(cookbook("jwk/3_4.rsa_private_key.json"), alg="PS384")
    assert public.thumbprint() == private.thumbprint()
    assert public.verify(b"data", private.sign(b"data"))
    assert Key.from_jwk(cookbook("jwk/3_5.symmetric_key_mac_computation.json")).alg == "HS256"
    with pytest.raises(InvalidKey):
        Key.from_jwk(cookbook("jwk/3_6.symmetric_key_encryption.json"))


def test_key_agreement_keys_are_refused():
    """Keys of X25519 have a thumbprint and sign nothing; what was encrypted with them is not read."""
    example = cookbook("curve25519/ecdh-es.json")
    keys = [
        example["input"]["key"],
        example["encrypting_key"]["epk"],
        example["encrypting_content"]["protected"]["epk"],
    ]
    for jwk in keys:
        required = json.dumps({name: jwk[name] for name in ("crv", "kty", "x")}, separators=(",", ":"))
        assert thumbprint_of(jwk) == b64(hashlib.sha256(required.encode()).digest())
        for form in (jwk, {**jwk, "use": "sig", "alg": "EdDSA"}):
            with pytest.raises(InvalidKey, match="curve"):
                Key.from_jwk(form)
        assert "curve" in KeySet.from_jwks({"keys": [{n: v for n, v in jwk.items() if n != "d"}]}).skipped[0]
    with pytest.raises(MalformedToken, match="found 5"):
        jws.verify(example["output"]["compact"], Key.generate("EdDSA"), algorithms=ALL)
