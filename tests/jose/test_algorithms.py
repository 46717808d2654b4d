"""The table of algorithms."""

import dataclasses

import pytest

from tests.jose.samples import ASYMMETRIC_ALGORITHMS, HMAC_ALGORITHMS, private_key, verifying_key
from tokenkeep.jose.algorithms import ALGORITHMS, accepted_algorithms, algorithm_named
from tokenkeep.jose.errors import InvalidArgument, WrongType

NAMES = [*HMAC_ALGORITHMS, *ASYMMETRIC_ALGORITHMS]


def test_the_table_is_complete_and_closed():
    """Exactly the fourteen signature algorithms are there, and nothing can be added."""
    assert set(ALGORITHMS) == {
        *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
    }
    with pytest.raises(TypeError):
        ALGORITHMS["none"] = ALGORITHMS["HS256"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        ALGORITHMS["HS256"].name = "none"


@pytest.mark.parametrize("name", NAMES)
def test_a_row_describes_its_algorithm(name):
    """Name, key type, curve, hash and signature size of a row are those of RFC 7518 §3.1 and RFC 8037 §3.1."""
    row = ALGORITHMS[name]
    family, bits = (name, None) if name.startswith("Ed") else (name[:2], int(name[2:]))
    assert row.name == name
    assert row.key_type == {"HS": "oct", "RS": "RSA", "PS": "RSA", "ES": "EC"}.get(family, "OKP")
    assert (row.hash.digest_size * 8 if row.hash else None) == bits
    assert row.curve == {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}.get(
        name, "Ed25519" if bits is None else None
    )
    sizes = {"ES256": 64, "ES384": 96, "ES512": 132, "EdDSA": 64, "Ed25519": 64, "HS256": 32, "HS384": 48, "HS512": 64}
    assert row.signature_size == sizes.get(name)


@pytest.mark.parametrize("name", NAMES)
def test_signatures_verify_and_nothing_else_does(name):
    """A signature is right for its bytes and its key only, and a wrong one is an answer, not an exception."""
    key, other = private_key(name), verifying_key(name)
    signature = key.sign(b"data")
    size = ALGORITHMS[name].signature_size or 256
    assert len(signature) == size
    assert other.verify(b"data", signature) is True
    assert other.verify(b"datb", signature) is False
    assert other.verify(b"", signature) is False
    for wrong in (
        b"",
        b"\0" * size,
        b"\xff" * size,
        signature[:-1],
        signature[1:],
        signature + b"\0",
        b"\0" + signature,
        signature[: size // 2] + b"\0" + signature[size // 2 :],  # both halves still the same numbers
        bytes([signature[0] ^ 1]) + signature[1:],
        signature[:-1] + bytes([signature[-1] ^ 1]),
        signature * 100,
    ):
        assert other.verify(b"data", wrong) is False


@pytest.mark.parametrize("name", NAMES)
def test_algorithms_of_one_key_do_not_mix(name):
    """A signature is right under its own algorithm only, even where others take the same key."""
    signature = private_key(name).sign(b"data")
    same = {"EdDSA", "Ed25519"}
    for other in NAMES:
        expected = other == name or {name, other} == same
        assert verifying_key(other).verify(b"data", signature) is expected


@pytest.mark.parametrize("name", ["none", "None", "hs256", "HS256 ", "", "ES256K", "RSA-OAEP", "Ed448"])
def test_unknown_algorithms_cannot_be_named(name):
    """There is no unsigned algorithm, no unknown one, and case matters."""
    with pytest.raises(InvalidArgument):
        algorithm_named(name)
    with pytest.raises(InvalidArgument):
        accepted_algorithms(["ES256", name])


@pytest.mark.parametrize("name", [None, 1, b"HS256", ["HS256"]])
def test_algorithms_are_named_by_strings(name):
    """A name of another type is a caller's mistake."""
    with pytest.raises(WrongType):
        algorithm_named(name)
    with pytest.raises(WrongType):
        accepted_algorithms([name])


def test_the_type_of_a_wrong_name_is_told():
    """Whoever lists something else than names reads which of them is none."""
    with pytest.raises(WrongType, match="not by int"):
        accepted_algorithms(["ES256", 1])


def test_accepted_algorithms_become_a_set():
    """A list, tuple or set of names is accepted, as often as one likes."""
    for names in (["ES256", "RS256"], ("RS256", "ES256"), {"RS256", "ES256"}, frozenset({"ES256", "RS256"})):
        for _ in range(2):
            assert accepted_algorithms(names) == frozenset({"ES256", "RS256"})


@pytest.mark.parametrize("names", ["HS256", b"HS256", None, 5, {"HS256": 1}.items, iter(["HS256"]), [["HS256"]], [{}]])
def test_accepted_algorithms_are_a_list_of_names(names):
    """A single string, above all, is not a list of algorithms."""
    with pytest.raises(WrongType):
        accepted_algorithms(names)


@pytest.mark.parametrize("names", [[], (), set()])
def test_accepting_no_algorithm_is_a_mistake(names):
    """An empty list accepts nothing, so nobody can mean it."""
    with pytest.raises(InvalidArgument, match="empty"):
        accepted_algorithms(names)
