"""JSON Web Keys in and out."""

import hashlib
import json
from types import MappingProxyType

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.jose.samples import ASYMMETRIC_ALGORITHMS, FAMILIES, SECRET, b64, private_key, unb64
from tokenkeep.jose import Key
from tokenkeep.jose.algorithms import ALGORITHMS
from tokenkeep.jose.errors import InvalidArgument, InvalidKey, TokenError, WrongType

PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
CURVE_ALGORITHMS = ["ES256", "ES384", "ES512", "EdDSA", "Ed25519"]


def jwk_of(alg, /, *, private=True, without=(), **others):
    """Return the JWK of a sample key with members replaced, added or left out."""
    jwk = {**private_key(alg).to_jwk(private=private), **others}
    return {name: value for name, value in jwk.items() if name not in without}


def refused(jwk, **options):
    """Return the message with which a JWK is refused, after checking that it quotes none of it."""
    with pytest.raises(InvalidKey) as caught:
        Key.from_jwk(jwk, **options)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TokenError)
    for value in jwk.values():
        assert not isinstance(value, str) or len(value) < 12 or value not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("alg", list(ALGORITHMS))
def test_private_round_trip(alg):
    """A private JWK is read back as the same key."""
    key = private_key(alg)
    twin = Key.from_jwk(key.to_jwk(private=True))
    assert twin.to_jwk(private=True) == key.to_jwk(private=True)
    assert (twin.alg, twin.kid, twin.is_private) == (alg, key.kid, True)
    assert key.verify(b"data", twin.sign(b"data"))


@pytest.mark.parametrize("alg", ASYMMETRIC_ALGORITHMS)
def test_public_round_trip_and_members(alg):
    """A public JWK has kty, use, alg and kid first, no private member, and is read back as the public half."""
    key = private_key(alg)
    jwk = key.to_jwk()
    assert list(jwk)[:4] == ["kty", "use", "alg", "kid"]
    assert (jwk["use"], jwk["alg"], jwk["kid"], jwk["kty"]) == ("sig", alg, key.kid, key.key_type)
    assert not PRIVATE_MEMBERS & set(jwk)
    assert "key_ops" not in jwk
    twin = Key.from_jwk(jwk)
    assert not twin.is_private
    assert twin.to_jwk() == jwk


def test_a_secret_is_never_published():
    """The public JWK of an HMAC key does not exist; the private one holds the secret."""
    with pytest.raises(InvalidKey, match="published"):
        private_key("HS256").to_jwk()
    assert private_key("HS256").to_jwk(private=True)["k"] == b64(SECRET)


@pytest.mark.parametrize("alg", FAMILIES)
def test_a_new_mapping_each_time(alg):
    """Changing a returned JWK changes no key, and a JWK may be any mapping and is not changed."""
    key = private_key(alg)
    key.to_jwk(private=True).clear()
    assert key.to_jwk(private=True)
    view = MappingProxyType(key.to_jwk(private=True))
    assert Key.from_jwk(view).kid == key.kid


@pytest.mark.parametrize("jwk", ["{}", b"{}", None, [], 5, [("kty", "oct")]])
def test_a_jwk_is_a_mapping(jwk):
    """Text, lists and nothing are a caller's mistake."""
    with pytest.raises(WrongType):
        Key.from_jwk(jwk)


@pytest.mark.parametrize("kty", [None, "", "rsa", "ec", "OCT", "Oct", "AKP", "RSA ", 5, ["RSA"], {}])
def test_unknown_key_types_are_refused(kty):
    """A key type is one of four strings, compared exactly."""
    for alg in FAMILIES:
        assert "key type" in refused(jwk_of(alg, kty=kty))
    refused({})


# ------------------------------------------------------------------------------------------------------- algorithm


@pytest.mark.parametrize("alg", CURVE_ALGORITHMS)
def test_curves_imply_their_algorithm(alg):
    """A JWK on a curve that names no algorithm gets the curve's own; alg names another label of the same."""
    jwk = jwk_of(alg, without=["alg"])
    assert Key.from_jwk(jwk).alg == {"Ed25519": "EdDSA"}.get(alg, alg)
    assert Key.from_jwk({**jwk, "alg": None}).alg == Key.from_jwk(jwk).alg
    assert Key.from_jwk(jwk, alg=alg).alg == alg


@pytest.mark.parametrize("alg", ["HS256", "RS256"])
def test_other_types_need_to_be_told(alg):
    """A symmetric or RSA JWK that names no algorithm needs one from the caller."""
    jwk = jwk_of(alg, without=["alg"])
    assert "pass alg" in refused(jwk)
    assert Key.from_jwk(jwk, alg=alg).alg == alg


@pytest.mark.parametrize(
    ("alg", "wanted"),
    [("RS256", "PS256"), ("HS256", "HS512"), ("EdDSA", "Ed25519"), ("ES256", "ES384"), ("RS256", "HS256")],
)
def test_a_jwk_that_names_another_algorithm_is_refused(alg, wanted):
    """The algorithm a JWK names is binding; the caller cannot rename it."""
    assert "not the one asked for" in refused(jwk_of(alg), alg=wanted)
    assert Key.from_jwk(jwk_of(alg), alg=alg).alg == alg


@pytest.mark.parametrize("stated", ["", "none", "RSA-OAEP", "ES256K", "rs256", 5, ["RS256"], True])
def test_unknown_algorithms_in_a_jwk_are_refused(stated):
    """An algorithm that is not in the table, or no string, is refused, even if the caller names a good one."""
    refused(jwk_of("RS256", alg=stated))
    refused(jwk_of("RS256", alg=stated), alg="RS256")


def test_the_callers_algorithm_is_checked_first():
    """An unknown algorithm from the caller is the caller's mistake, whatever the JWK."""
    with pytest.raises(InvalidArgument):
        Key.from_jwk({}, alg="none")


# ------------------------------------------------------------------------------------------------- use and key_ops


@pytest.mark.parametrize("use", ["enc", "", "SIG", "signature", 5, ["sig"]])
def test_keys_for_another_use_are_refused(use):
    """A use other than sig is refused; an absent one is fine."""
    for alg in FAMILIES:
        assert "use" in refused(jwk_of(alg, use=use))
        Key.from_jwk(jwk_of(alg, without=["use"]))


@pytest.mark.parametrize("alg", FAMILIES)
@pytest.mark.parametrize("operations", [["sign"], ["verify"], ["sign", "verify"], ("verify", "sign")])
def test_key_operations_are_honoured(alg, operations):
    """A key does what its key_ops allow and refuses the rest, and says so in its private JWK."""
    key = Key.from_jwk(jwk_of(alg, key_ops=operations))
    whole = private_key(alg)
    for name, act in (
        ("sign", lambda: key.sign(b"data")),
        ("verify", lambda: key.verify(b"data", whole.sign(b"data"))),
    ):
        assert key.allows(name) is (name in operations)
        if name in operations:
            assert act()
        else:
            with pytest.raises(InvalidKey, match=f"may not {name}"):
                act()
    written = key.to_jwk(private=True)
    assert written.get("key_ops", ["sign", "verify"]) == sorted(operations)
    assert Key.from_jwk(written).to_jwk(private=True) == written


def test_the_public_half_of_a_signing_key_verifies():
    """key_ops of the private half speak of that half: the public one verifies."""
    key = Key.from_jwk(jwk_of("ES256", key_ops=["sign"]))
    assert key.public().allows("verify")
    assert key.public().verify(b"data", key.sign(b"data"))


@pytest.mark.parametrize(
    "operations",
    [
        [],
        ["encrypt"],
        ["verify", "encrypt"],
        ["verify", "verify"],
        ["VERIFY"],
        "verify",
        ["verify", 5],
        [["verify"]],
        {"verify": 1},
        5,
    ],
)
def test_senseless_operations_are_refused(operations):
    """key_ops is a list of different strings, of signing and verifying only."""
    for alg in FAMILIES:
        assert "key_ops" in refused(jwk_of(alg, key_ops=operations))


@pytest.mark.parametrize("operations", [["sign"], ["sign", "verify"]])
def test_a_public_key_cannot_claim_to_sign(operations):
    """key_ops of a public key that allow signing are refused."""
    assert "key_ops" in refused(jwk_of("ES256", private=False, key_ops=operations))


# --------------------------------------------------------------------------------------------------------- members


def number_members(alg):
    return {"RSA": ["n", "e", "d", "p", "q", "dp", "dq", "qi"], "EC": ["x", "y", "d"], "OKP": ["x", "d"], "oct": ["k"]}[
        private_key(alg).key_type
    ]


@pytest.mark.parametrize("alg", FAMILIES)
def test_members_are_canonical_base64url(alg):
    """Every number is spelt in canonical base64url, without padding, white space or the other alphabet."""
    for name in number_members(alg):
        good = jwk_of(alg)[name]
        for bad in (
            good + "=",
            good + "==",
            good + "\n",
            " " + good,
            good[:-1] + "+",
            good[:-1] + "/",
            good[:-1] + "é",
            good[:4] + "." + good[4:],
        ):
            assert f"'{name}'" in refused(jwk_of(alg, **{name: bad}))
        stray = {2: "B", 3: "B"}.get(len(good) % 4)
        if stray:
            assert f"'{name}'" in refused(jwk_of(alg, **{name: good[:-1] + stray}))


@pytest.mark.parametrize("alg", FAMILIES)
@pytest.mark.parametrize("bad", [None, 5, True, [], {}, b"AQAB"], ids=ascii)
def test_members_are_strings(alg, bad):
    """A member of another type is refused, and so is a missing one where the key needs it."""
    for name in number_members(alg):
        if name == "d" and bad is None and alg != "RS256":
            continue
        assert f"'{name}'" in refused(jwk_of(alg, **{name: bad}))
    for name in set(number_members(alg)) - {"d"}:
        assert f"'{name}'" in refused(jwk_of(alg, without=[name]))


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_a_null_private_part_is_not_an_absent_one(alg):
    """A member d that is null is malformed, not a public key."""
    assert "'d'" in refused(jwk_of(alg, d=None))


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "EdDSA"])
def test_coordinates_have_their_full_length(alg):
    """Coordinates and private values on a curve have exactly its size, leading zeros included."""
    for name in number_members(alg):
        raw = bytes(48)
        for size in (0, 1, 31, 33, 47, 49, 65, 67):
            assert f"'{name}'" in refused(jwk_of(alg, **{name: b64(raw[:size].ljust(size, b"\1"))}))


def test_numbers_have_no_leading_zeros():
    """RSA numbers are spelt with as few octets as possible, and none is zero."""
    for name in number_members("RS256"):
        good = unb64(jwk_of("RS256")[name])
        assert f"'{name}'" in refused(jwk_of("RS256", **{name: b64(b"\0" + good)}))
        assert f"'{name}'" in refused(jwk_of("RS256", **{name: "AA"}))
        assert f"'{name}'" in refused(jwk_of("RS256", **{name: ""}))


@pytest.mark.parametrize("alg", FAMILIES)
def test_members_are_not_boundless(alg):
    """A member of a megabyte is refused by its length alone."""
    for name in number_members(alg):
        assert f"'{name}'" in refused(jwk_of(alg, **{name: "AQAB" * 250_000}))
    assert "'k' is too long" in refused(jwk_of("HS256", k="A" * 16385))
    assert "'n' is too long" in refused(jwk_of("RS256", n="A" * 1367))


def test_secrets_in_a_jwk_are_held_to_the_rules():
    """An oct JWK with an empty, short, dull or published secret is refused like the secret itself."""
    for secret in (b"", SECRET[:31], b"a" * 64, b"my-32-character-ultra-secure-and-ultra-long-secret"):
        refused(jwk_of("HS256", k=b64(secret)))


# ------------------------------------------------------------------------------------------------------------- RSA


def spell(number):
    return b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def rsa_jwk(n, e, **others):
    return {"kty": "RSA", "alg": "RS256", "n": spell(n), "e": spell(e), **others}


@pytest.mark.parametrize("bits", [1, 512, 1024, 2047, 8193])
def test_rsa_sizes_out_of_range_are_refused(bits):
    """A modulus has 2048 to 8192 bits."""
    assert "8192 bits" in refused(rsa_jwk((1 << bits - 1) | 1, 65537)) or bits > 8192


@pytest.mark.parametrize("bits", [2048, 4096, 8192])
def test_rsa_sizes_in_range_are_read(bits):
    """The limits of the size are inside."""
    assert Key.from_jwk(rsa_jwk((1 << bits - 1) | 1, 65537)).alg == "RS256"


def test_rsa_modulus_is_odd():
    """An even modulus is refused."""
    assert "odd" in refused(rsa_jwk(1 << 2047, 65537))


@pytest.mark.parametrize("exponent", [1, 2, 3, 17, 65535, 65536, 65538, 2**64 + 1, 2**100 + 1])
def test_rsa_exponents_out_of_range_are_refused(exponent):
    """The exponent is odd, at least 65537 and at most 64 bits long."""
    assert "exponent" in refused(rsa_jwk((1 << 2047) | 1, exponent))


@pytest.mark.parametrize("exponent", [65537, 65539, 2**63 + 1, 2**64 - 1])
def test_rsa_exponents_in_range_are_read(exponent):
    """The limits of the exponent are inside."""
    Key.from_jwk(rsa_jwk((1 << 2047) | 1, exponent))


def test_an_rsa_key_brings_its_primes():
    """A private key of n, e and d alone is refused: nobody can tell how long the search for its primes takes."""
    assert "'p'" in refused(jwk_of("RS256", without=["p", "q", "dp", "dq", "qi"]))


@pytest.mark.parametrize("name", ["p", "q", "dp", "dq", "qi"])
def test_the_primes_come_together_and_with_the_rest(name):
    """A private key with some of the primes' members is refused, and so are these without d."""
    assert f"'{name}'" in refused(jwk_of("RS256", without=[name]))
    refused(jwk_of("RS256", without=list({"p", "q", "dp", "dq", "qi"} - {name})))
    public = jwk_of("RS256", private=False)
    assert "'d'" in refused({**public, name: jwk_of("RS256")[name]})


def test_rsa_members_agree():
    """Numbers of different keys do not make one key."""
    other = Key.generate("RS256", rsa_bits=2048).to_jwk(private=True)
    for name in ("n", "d", "p", "q", "dp", "dq", "qi"):
        assert "contradict" in refused(jwk_of("RS256", **{name: other[name]}))


def test_a_prime_of_exactly_a_third_is_long_enough():
    """A modulus of 2049 bits may have a prime of 683; the rule says "at least a third"."""
    p, q = (3 << 681) + 155, (3 << 1364) + 605
    d = pow(65537, -1, (p - 1) * (q - 1))
    private = {"d": d, "p": p, "q": q, "dp": d % (p - 1), "dq": d % (q - 1), "qi": pow(q, -1, p)}
    assert Key.from_jwk(rsa_jwk(p * q, 65537, **{name: spell(number) for name, number in private.items()})).is_private


def test_more_than_two_primes_are_refused():
    """Member oth is not supported, with d and without."""
    assert "two primes" in refused(jwk_of("RS256", oth=[]))
    refused(jwk_of("RS256", private=False, oth=[]))


# ---------------------------------------------------------------------------------------------------------- curves


@pytest.mark.parametrize("crv", [None, "", "p-256", "P-256K", "secp256k1", "Ed25519", 5, ["P-256"]])
def test_unknown_curves_are_refused(crv):
    """A curve of ECDSA is P-256, P-384 or P-521, compared exactly."""
    refused(jwk_of("ES256", crv=crv))
    refused(jwk_of("ES256", crv=crv, without=["alg"]))


@pytest.mark.parametrize("crv", [None, "", "ed25519", "Ed448", "X25519", "P-256", 5])
def test_unknown_edwards_curves_are_refused(crv):
    """The curve of an OKP key is Ed25519, compared exactly."""
    refused(jwk_of("EdDSA", crv=crv))


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512"])
def test_points_lie_on_the_curve(alg):
    """The origin, the zero point, swapped and foreign coordinates are refused, with d and without."""
    size = ALGORITHMS[alg].signature_size // 2
    good = jwk_of(alg, private=False)
    zero, one = b64(bytes(size)), b64(bytes(size - 1) + b"\1")
    for x, y in ((zero, zero), (one, one), (good["y"], good["x"]), (b64(b"\xff" * size), good["y"]), (zero, good["y"])):
        assert "curve" in refused({**good, "x": x, "y": y})
        assert "curve" in refused(jwk_of(alg, x=x, y=y))


def test_a_point_of_another_curve_is_refused():
    """A P-256 key under the name of P-384 is refused, whatever the length."""
    point = jwk_of("ES256", private=False)
    refused({**point, "crv": "P-384"})
    padded = {name: b64(bytes(16) + unb64(point[name])) for name in "xy"}
    refused({**point, "crv": "P-384", "alg": "ES384", **padded})


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "EdDSA"])
def test_the_halves_belong_together(alg):
    """A private part whose public part is another is refused."""
    other = Key.generate(alg).to_jwk(private=True)
    assert "together" in refused(jwk_of(alg, d=other["d"]))


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512"])
def test_private_values_are_in_range(alg):
    """Zero, the order of the group and more are refused."""
    size = ALGORITHMS[alg].signature_size // 2
    for value in (bytes(size), b"\xff" * size):
        assert "'d'" in refused(jwk_of(alg, d=b64(value)))


P = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7


@pytest.mark.parametrize("y", [0, 1, P - 1, ORDER_8, P - ORDER_8, P, P + 1, 2**255 - 1])
@pytest.mark.parametrize("sign", [0, 1])
def test_points_of_low_order_are_refused(y, sign):
    """All points of order 1, 2, 4 and 8 are refused, in canonical and in other encodings."""
    raw = (y | sign << 255).to_bytes(32, "little")
    assert "Ed25519 point" in refused({"kty": "OKP", "crv": "Ed25519", "x": b64(raw)})


def test_points_outside_of_ed25519_are_refused():
    """About half of all y belong to no point; exactly those are refused."""
    read = 0
    for y in range(2, 60):
        try:
            Key.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": b64(y.to_bytes(32, "little"))})
            read += 1
        except InvalidKey:
            pass
    on_curve = 0
    d = -121665 * pow(121666, -1, P) % P
    for y in range(2, 60):
        square = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
        root = pow(square, (P + 3) // 8, P)
        on_curve += any(pow(candidate, 2, P) == square for candidate in (root, root * pow(2, (P - 1) // 4, P) % P))
    assert read == on_curve
    assert 10 < read < 50


def test_real_keys_of_ed25519_are_points():
    """No real key is taken for a point of low order or off the curve."""
    for _ in range(50):
        raw = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        Key.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": b64(raw)})


# ----------------------------------------------------------------------------------------------------- thumbprints


def test_thumbprint_is_taken_of_required_members_only():
    """The thumbprint is the SHA-256 of the required members in lexicographic order (RFC 7638 §3.2)."""
    for alg, names in (("RS256", "e kty n"), ("ES256", "crv kty x y"), ("EdDSA", "crv kty x"), ("HS256", "k kty")):
        jwk = private_key(alg).to_jwk(private=True)
        text = json.dumps({name: jwk[name] for name in names.split()}, separators=(",", ":"))
        assert private_key(alg).thumbprint() == b64(hashlib.sha256(text.encode()).digest())


def test_numbers_are_written_as_they_are_read():
    """A coordinate that starts with zeros keeps them."""
    short = next(
        d for d in range(1, 5000) if ec.derive_private_key(d, ec.SECP256R1()).public_key().public_numbers().x < 2**248
    )
    private = ec.derive_private_key(short, ec.SECP256R1())
    key = Key.from_der(private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), alg="ES256")
    jwk = key.to_jwk(private=True)
    assert unb64(jwk["x"])[0] == unb64(jwk["d"])[0] == 0
    assert len(unb64(jwk["x"])) == len(unb64(jwk["d"])) == 32
    assert Key.from_jwk(jwk).kid == key.kid
