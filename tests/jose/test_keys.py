"""Keys: bound to one algorithm, immutable, silent about what is private."""

import copy
import io
import pickle
import traceback

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.jose.samples import (
    ASYMMETRIC_ALGORITHMS,
    FAMILIES,
    HMAC_ALGORITHMS,
    SECRET,
    private_key,
    verifying_key,
)
from tokenkeep.jose import EcKey, HmacKey, Key, OkpKey, RsaKey
from tokenkeep.jose.algorithms import ALGORITHMS
from tokenkeep.jose.errors import InvalidArgument, InvalidKey, WrongType

CLASSES = {"oct": HmacKey, "RSA": RsaKey, "EC": EcKey, "OKP": OkpKey}


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"])
def test_generated_keys_are_new_and_bound(alg):
    """Each drawn key is another, is private, has the class of its type, and its thumbprint as kid."""
    first, second = Key.generate(alg), Key.generate(alg)
    assert type(first) is CLASSES[first.key_type]
    assert first.key_type == ALGORITHMS[alg].key_type
    assert first.alg == alg
    assert first.is_private
    assert first.kid == first.thumbprint() != second.kid
    assert first.verify(b"data", first.sign(b"data"))
    assert Key.generate(alg, kid="mine").kid == "mine"


@pytest.mark.parametrize("bits", [2048, 3072])
def test_rsa_keys_have_the_length_asked_for(bits):
    """An RSA key has the given number of bits, 3072 unless told otherwise."""
    key = Key.generate("PS256", rsa_bits=bits) if bits != 3072 else Key.generate("PS256")
    assert len(key.sign(b"")) * 8 == bits


@pytest.mark.parametrize("bits", [0, 1024, 2047, 8193, 2048.0, True, None, "2048"])
def test_rsa_lengths_out_of_range_are_not_drawn(bits):
    """Only 2048 to 8192 bits are drawn."""
    with pytest.raises(InvalidArgument):
        Key.generate("RS256", rsa_bits=bits)


def test_the_longest_rsa_key_may_be_drawn(monkeypatch):
    """8192 bits are asked of the library; drawing them for real takes up to a minute."""
    asked, draw = [], rsa.generate_private_key
    monkeypatch.setattr(rsa, "generate_private_key", lambda e, bits: asked.append(bits) or draw(e, 2048))
    Key.generate("RS256", rsa_bits=8192)
    assert asked == [8192]


def test_the_random_source_is_the_systems(monkeypatch):
    """A generated secret is what the system's generator returned, of the hash's length."""
    drawn = []

    def token_bytes(size):
        drawn.append(size)
        return bytes(range(9, 9 + size))

    monkeypatch.setattr("tokenkeep.jose.keys.secrets.token_bytes", token_bytes)
    for alg in HMAC_ALGORITHMS:
        assert Key.generate(alg).to_jwk(private=True) == Key.from_secret(
            bytes(range(9, 9 + drawn[-1])), alg=alg
        ).to_jwk(private=True)
    assert drawn == [32, 48, 64]


@pytest.mark.parametrize("alg", ["none", "", "RS255"])
def test_keys_are_bound_to_known_algorithms(alg):
    """Whatever a key is read from, its algorithm must be in the table."""
    key = private_key("ES256")
    for make in (
        lambda: Key.generate(alg),
        lambda: Key.from_jwk(key.to_jwk(private=True), alg=alg),
        lambda: Key.from_pem(key.to_pem(), alg=alg),
        lambda: Key.from_der(key.to_der(), alg=alg),
        lambda: Key.from_secret(SECRET, alg=alg),
    ):
        with pytest.raises(InvalidArgument):
            make()


@pytest.mark.parametrize("alg", list(ALGORITHMS))
@pytest.mark.parametrize("other", list(ALGORITHMS))
def test_material_suits_its_algorithm_or_is_refused(alg, other):
    """Every kind of material is bound to the algorithms of its type and curve, and to no other."""
    key = private_key(alg)
    row, wanted = ALGORITHMS[alg], ALGORITHMS[other]
    suits = (row.key_type, row.curve) == (wanted.key_type, wanted.curve)
    jwk = key.to_jwk(private=True)
    del jwk["alg"]
    makers = [lambda: Key.from_jwk(jwk, alg=other)]
    if alg not in HMAC_ALGORITHMS:
        makers += [
            lambda: Key.from_pem(key.to_pem(), alg=other),
            lambda: Key.from_pem(key.to_pem(private=True), alg=other),
            lambda: Key.from_der(key.to_der(private=True), alg=other),
        ]
    for make in makers:
        if suits:
            assert make().alg == other
        else:
            with pytest.raises(InvalidKey):
                make()


@pytest.mark.parametrize("alg", FAMILIES)
def test_a_class_makes_its_own_kind_only(alg):
    """The classes of single types make keys of their type and refuse the others."""
    jwk = private_key(alg).to_jwk(private=True)
    for cls in CLASSES.values():
        if cls is CLASSES[private_key(alg).key_type]:
            assert type(cls.from_jwk(jwk)) is cls
        else:
            with pytest.raises(InvalidArgument, match=cls.__name__):
                cls.from_jwk(jwk)


@pytest.mark.parametrize("cls", [Key, *CLASSES.values()])
def test_keys_are_not_made_by_calling_the_class(cls):
    """There is no constructor that leaves a key without an algorithm."""
    with pytest.raises(WrongType):
        cls()


@pytest.mark.parametrize("alg", FAMILIES)
def test_public_halves_verify_and_do_nothing_else(alg):
    """The public half keeps algorithm and kid, verifies, and cannot sign or give away what it has not."""
    key = private_key(alg)
    if alg in HMAC_ALGORITHMS:
        with pytest.raises(InvalidKey, match="no public half"):
            key.public()
        return
    public = key.public()
    assert (public.alg, public.kid, type(public)) == (key.alg, key.kid, type(key))
    assert not public.is_private
    assert public.verify(b"data", key.sign(b"data"))
    assert public.public().to_jwk() == public.to_jwk() == key.to_jwk()
    assert (public.allows("verify"), public.allows("sign")) == (True, False)
    for refused in (
        lambda: public.sign(b"data"),
        lambda: public.to_jwk(private=True),
        lambda: public.to_pem(private=True),
        lambda: public.to_der(private=True),
    ):
        with pytest.raises(InvalidKey):
            refused()


@pytest.mark.parametrize("alg", list(ALGORITHMS))
def test_keys_are_immutable(alg):
    """No attribute of a key can be set, added or deleted."""
    key = private_key(alg)
    for name in ("alg", "kid", "_algorithm", "_kid", "_operations", "_source", "new"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(key, name, "other")
        with pytest.raises(AttributeError, match="immutable"):
            delattr(key, name)
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize("alg", FAMILIES)
def test_copies_are_the_key_itself(alg):
    """Copying an immutable key gives the key."""
    key = private_key(alg)
    assert copy.copy(key) is key
    assert copy.deepcopy([key])[0] is key


@pytest.mark.parametrize("alg", FAMILIES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_keys_are_not_pickled(alg, protocol):
    """No protocol writes a key into a pickle, private or not."""
    for key in (private_key(alg), verifying_key(alg)):
        with pytest.raises(TypeError):
            pickle.dumps(key, protocol)


@pytest.mark.parametrize("alg", list(ALGORITHMS))
def test_repr_names_the_key_and_shows_nothing_private(alg):
    """repr tells type, algorithm, whether it is private and the kid; no private member is in it, at any depth."""
    key = private_key(alg)
    text = repr(key)
    assert text == f"<{type(key).__name__} {alg} private kid='key-{alg}'>"
    assert str(key) == text
    if alg not in HMAC_ALGORITHMS:
        assert "public" in repr(key.public())
    jwk = key.to_jwk(private=True)
    inner = repr(key._source) + repr([key]) + repr(vars(type(key)))
    for name in {"d", "p", "q", "dp", "dq", "qi", "k"} & set(jwk):
        assert jwk[name] not in text + inner
    assert repr(SECRET)[2:20] not in text + inner


@pytest.mark.parametrize("alg", FAMILIES)
def test_tracebacks_of_the_engine_show_nothing_private(alg):
    """A traceback with every local variable of the engine's frames holds no private member."""
    key = private_key(alg)
    jwk = key.to_jwk(private=True)
    shown = io.StringIO()
    try:
        key.sign("no bytes")
    except TypeError as error:
        lines = traceback.TracebackException.from_exception(error, capture_locals=True)
        lines.stack = traceback.StackSummary.from_list(
            [frame for frame in lines.stack if "tokenkeep" in frame.filename]
        )
        shown.write("".join(lines.format()))
    for name in {"d", "p", "q", "dp", "dq", "qi", "k"} & set(jwk):
        assert jwk[name] not in shown.getvalue()
    assert "sign" in shown.getvalue()


@pytest.mark.parametrize("kid", ["", "x" * 129, "\ud800", 5, b"x", ["x"], True])
def test_kids_are_short_text(kid):
    """A kid is a string of 1 to 128 characters that can be written: a rule for callers, and for what a JWK says."""
    jwk = private_key("ES256").to_jwk()
    with pytest.raises(InvalidKey, match=r"kid") as caught:
        Key.from_jwk({**jwk, "kid": kid})
    assert caught.value.__context__ is None
    if isinstance(kid, str):
        assert Key.from_jwk({**jwk, "kid": kid}, kid="given").kid == "given"
    for make in (
        lambda: Key.from_secret(SECRET, kid=kid),
        lambda: Key.from_jwk(jwk, kid=kid),
        lambda: Key.from_pem(private_key("ES256").to_pem(), alg="ES256", kid=kid),
        lambda: Key.from_der(private_key("ES256").to_der(), alg="ES256", kid=kid),
        lambda: Key.generate("ES256", kid=kid),
    ):
        with pytest.raises(InvalidArgument if isinstance(kid, str) else WrongType, match=r"kid"):
            make()


@pytest.mark.parametrize("kid", ["x", "x" * 128, "ключ", "../etc/passwd", "a\0b", "'; --"])
def test_kids_are_any_text(kid):
    """Any text of at most 128 characters is a kid, kept as it is."""
    assert Key.from_secret(SECRET, kid=kid).kid == kid
    assert Key.from_jwk(private_key("ES256").to_jwk(), kid=kid).kid == kid


def test_the_given_kid_wins():
    """A kid that is given replaces the one in a JWK; without either it is the thumbprint."""
    jwk = {**private_key("ES256").to_jwk(), "kid": "inside"}
    assert Key.from_jwk(jwk).kid == "inside"
    assert Key.from_jwk(jwk, kid="given").kid == "given"
    del jwk["kid"]
    key = Key.from_jwk(jwk)
    assert key.kid == key.thumbprint()


@pytest.mark.parametrize("alg", ASYMMETRIC_ALGORITHMS)
def test_thumbprints_are_those_of_the_public_half(alg):
    """The thumbprint does not depend on private members, kid, algorithm name or encoding."""
    key = private_key(alg)
    prints = {
        key.thumbprint(),
        key.public().thumbprint(),
        Key.from_pem(key.to_pem(), alg=alg).kid,
        Key.from_der(key.to_der(private=True), alg=alg).kid,
        Key.from_jwk(dict(reversed(key.to_jwk(private=True).items())), kid="x").thumbprint(),
    }
    assert len(prints) == 1


def test_signing_needs_bytes():
    """Text is not signed by accident."""
    for alg in FAMILIES:
        with pytest.raises(TypeError):
            private_key(alg).sign("text")


@pytest.mark.parametrize("alg", ["HS256", "ES256"])
def test_a_key_for_everything_names_no_operations(alg):
    """A private JWK names its operations only where they are fewer than the key could do."""
    assert "key_ops" not in Key.generate(alg).to_jwk(private=True)
