"""Secrets and keys that anybody can read somewhere are refused, in every form they come in."""

import hashlib
import json
import secrets
from base64 import b64encode, urlsafe_b64encode

import pytest

from tests.jose.samples import ASYMMETRIC_ALGORITHMS, DATA, private_key, unb64
from tokenkeep.jose import Key, KeySet
from tokenkeep.jose.errors import InvalidKey
from tokenkeep.jose.key_encodings import encoding_of_key
from tokenkeep.jose.known_secrets import DIGEST_SIZE, _table, is_known_key, is_known_secret
from tools import build_known_secrets
from tools.build_known_secrets import entries, forms, usable

PUBLISHED = b"my-32-character-ultra-secure-and-ultra-long-secret"
LISTED = (build_known_secrets.SOURCES / "listed.txt").read_bytes().splitlines()
EXAMPLES = entries("examples.txt")


def refused(call, *arguments, **options):
    """Check that a key is refused for being known."""
    with pytest.raises(InvalidKey, match="publicly known"):
        call(*arguments, **options)


def keys_within(value):
    """Yield every JWK in a document."""
    if isinstance(value, dict):
        if "kty" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from keys_within(item)


def printed_keys():
    """Return each key of the published vectors once, of the types that sign, without what it says of its use."""
    found = {}
    for path in sorted(DATA.rglob("*.json")):
        for jwk in keys_within(json.loads(path.read_text())):
            if jwk["kty"] == "oct" or jwk.get("crv", "Ed25519") not in {"X25519", "X448"}:
                bare = {name: value for name, value in jwk.items() if name not in {"use", "key_ops", "alg", "kid"}}
                found[json.dumps(bare, sort_keys=True)] = bare
    return list(found.values())


def algorithms_for(jwk):
    """Return one algorithm for a JWK."""
    by_curve = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
    return {"oct": "HS256", "RSA": "RS256"}.get(jwk["kty"]) or by_curve[jwk["crv"]]


def test_the_table_is_what_its_sources_give():
    """The table that ships is built of the sources in the repository, and its licence is theirs."""
    assert build_known_secrets.table() == _table()
    shipped = build_known_secrets.PACKAGE / "known_secrets.LICENSE"
    assert shipped.read_bytes() == (build_known_secrets.SOURCES / "listed.LICENSE").read_bytes()


def test_the_table_is_sorted_and_whole():
    """The table holds whole digests in order, so that the search finds each."""
    table = _table()
    digests = [table[at : at + DIGEST_SIZE] for at in range(0, len(table), DIGEST_SIZE)]
    assert len(table) % DIGEST_SIZE == 0
    assert digests == sorted(set(digests))
    assert len(digests) > 2500
    assert hashlib.sha256(PUBLISHED).digest()[:DIGEST_SIZE] in digests


def test_every_published_secret_is_refused():
    """Each secret of the sources that no other rule refuses is refused for being known, also filled up with NUL."""
    judged = 0
    for secret in [*LISTED, *EXAMPLES]:
        if encoding_of_key(secret) is None and usable(secret):
            judged += 1
            padding = bytes(max(0, 32 - len(secret)))
            refused(Key.from_secret, secret + padding)
            refused(Key.from_secret, secret + padding + b"\0")
    assert judged > 1900


def test_every_decoded_form_of_a_published_secret_is_refused():
    """Whoever decodes a published base64, base64url or hexadecimal text gets a published secret."""
    judged = 0
    for secret in [*LISTED, *EXAMPLES]:
        for form in forms(secret):
            if form != secret and len(form) >= 32 and usable(form) and encoding_of_key(form) is None:
                judged += 1
                refused(Key.from_secret, form)
    assert judged > 600


@pytest.mark.parametrize(
    "secret",
    [
        b"a-string-secret-at-least-256-bits-long",
        b"a-valid-string-secret-that-is-at-least-384-bits-long",
        b"a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
        b"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        bytes.fromhex("09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"),
        bytes(range(32)),
    ],
)
def test_secrets_of_tools_and_tutorials_are_refused(secret):
    """What a debugger fills in and what a tutorial signs with is refused as text, as bytes and as a JWK."""
    refused(Key.from_secret, secret)
    refused(Key.from_jwk, {"kty": "oct", "k": urlsafe_b64encode(secret).rstrip(b"=").decode()}, alg="HS256")


def test_every_key_of_the_published_vectors_is_refused():
    """Each key of the standards that could sign or verify here is refused, its private and its public half."""
    keys = printed_keys()
    assert len(keys) > 20
    for jwk in keys:
        alg = algorithms_for(jwk)
        if jwk["kty"] == "oct" and len(unb64(jwk["k"])) < 32:
            continue
        refused(Key.from_jwk, jwk, alg=alg)
        public = {name: value for name, value in jwk.items() if name in {"kty", "crv", "n", "e", "x", "y"}}
        if jwk["kty"] != "oct":
            refused(Key.from_jwk, public, alg=alg)
            skipped = KeySet.from_jwks({"keys": [public]}).skipped
            assert len(skipped) == 1
            assert "publicly known" in skipped[0]


def test_known_keys_are_refused_in_every_encoding(monkeypatch):
    """A key of the standards is refused as PEM and DER too, whatever its algorithm and its name."""
    for jwk in printed_keys():
        if jwk["kty"] != "oct":
            alg = algorithms_for(jwk)
            with monkeypatch.context() as patch:
                patch.setattr("tokenkeep.jose.known_secrets._table", lambda: b"")
                key = Key.from_jwk(jwk, alg=alg)
            for private in {False, key.is_private}:
                refused(Key.from_pem, key.to_pem(private=private), alg=alg, kid="mine")
                refused(
                    Key.from_der, key.to_der(private=private), alg={"RS256": "PS512", "EdDSA": "Ed25519"}.get(alg, alg)
                )


@pytest.mark.parametrize(
    ("alg", "coordinates"),
    [
        (
            "RS256",
            """u1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gunVTLw7onLRnrq0_IzW7yWR7QkrmBL7jTKEn5u-qKhbwKfBstIs-bMY2Zk
            p18gnTxKLxoS2tFczGkPLPgizskuemMghRniWaoLcyehkd3qqGElvW_VDL5AaWTg0nLVkjRo9z-40RQzuVaE8AkAFmxZzow3x-VJYKdjyk
            kJ0iT9wCS0DRTXu269V264Vf_3jvredZiKRkgwlL9xNAwxXFg0x_XFw005UWVRIkdgcKWTjpBP2dPwVZ4WWC-9aGVd-Gyn1o0CLelf4rEj
            GoXbAAEgAqeGUxrcIlbjXfbcmw""",
        ),
        (
            "RS256",
            """nzyis1ZjfNB0bBgKFMSvvkTtwlvBsaJq7S5wA-kzeVOVpVWwkWdVha4s38XM_pa_yr47av7-z3VTmvDRyAHcaT92whREFpLv9cj5lTeJ
            Sibyr_Mrm_YtjCZVWgaOYIhwrXwKLqPr_11inWsAkfIytvHWTxZYEcXLgAXFuUuaS3uF9gEiNQwzGTU1v0FqkqTBr4B8nW3HCN47XUu0t8
            Y0e-lf4s4OxQawWD79J9_5d3Ry0vbV3Am1FtGJiJvOwRsIfVChDpYStTcHTCMqtvWbV6L11BWkpzGXSW4Hv43qa-GSYOD2QU68Mb59oSk2
            OB-BtOLpJofmbGEGgvmwyCI9Mw""",
        ),
        ("ES256", "EVs_o5-uQbTjL3chynL4wXgUg2R9q9UU8I5mEovUf84 kGe5DgSIycKp8w9aJmoHhB1sB3QTugfnRWm5nU_TzsY"),
        (
            "ES384",
            """C1uWSXj2czCDwMTLWV5BFmwxdM6PX9p-Pk9Yf9rIf374m5XP1U8q79dBhLSIuaoj
            svOT39UUcPJROSD1FqYLued0rXiooIii1D3jaW6pmGVJFhodzC31cy5sfOYotrzF""",
        ),
        (
            "ES512",
            """AYHOB2c_v3wWwu5ZhMMNADtzSvcFWTw2dFRJ7GlBSxGKU82_dJyE7SVHD1G7zrHWSGdUPH526rgGIMVy-VIBzKMs
            AIm-O-jJMsmID5NAV2at5quMyJk0TbmlPbJY_U1Sd0nE9y9W18FbjyQ86a-RjhaWo_lsDAJfBuwqsKCTrFuynXZ7""",
        ),
    ],
)
def test_keys_of_a_debugger_are_refused(alg, coordinates):
    """The key pairs that a much used debugger fills in verify nothing here."""
    numbers = coordinates.split()
    if alg == "RS256":
        jwk = {"kty": "RSA", "e": "AQAB", "n": "".join(numbers)}
    else:
        jwk = {"kty": "EC", "crv": {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[alg]}
        jwk["x"], jwk["y"] = numbers
    refused(Key.from_jwk, jwk, alg=alg)


def test_unpublished_secrets_and_keys_are_not_in_the_table():
    """Random secrets and drawn keys are not taken for published ones."""
    assert not any(is_known_secret(secrets.token_bytes(32)) for _ in range(200))
    assert not is_known_secret(b"")
    assert not is_known_secret(PUBLISHED + b"x")
    assert not any(is_known_key(private_key(alg).thumbprint()) for alg in ASYMMETRIC_ALGORITHMS)


def test_the_first_and_last_of_the_table_are_found(monkeypatch):
    """The search finds the first and last entry, and nothing beyond either end or in an empty table."""
    names = [b"a" * 32, b"b" * 32, b"c" * 32]
    digests = sorted(hashlib.sha256(name).digest()[:DIGEST_SIZE] for name in names)
    monkeypatch.setattr("tokenkeep.jose.known_secrets._table", lambda: b"".join(digests))
    assert all(is_known_secret(name) for name in names)
    assert not any(is_known_secret(bytes([n]) * 32) for n in range(100, 200))
    monkeypatch.setattr("tokenkeep.jose.known_secrets._table", lambda: b"")
    assert not is_known_secret(names[0])


def test_the_sources_hold_no_more_than_is_needed():
    """What another rule refuses is not kept: each secret, or what it spells, would pass it, and stands there once."""
    assert all(any(map(usable, forms(secret))) for secret in [*LISTED, *EXAMPLES])
    assert sorted(set(LISTED)) == LISTED
    assert len(set(EXAMPLES)) == len(EXAMPLES)


def test_a_renewed_list_keeps_what_is_of_use(tmp_path, monkeypatch):
    """Taking over a list drops what is short or plain, white space and repetitions, and does not mind its order."""
    monkeypatch.setattr(build_known_secrets, "SOURCES", tmp_path)
    monkeypatch.setattr(build_known_secrets, "PACKAGE", tmp_path / "package")
    (tmp_path / "package").mkdir()
    long = secrets.token_urlsafe(32).encode()
    for name, text in (("list", b"short\n" + b"a" * 64 + b"\n  " + long + b"\r\n" + long), ("licence", b"terms")):
        (tmp_path / name).write_bytes(text)
    for name in ("examples.txt", "example_keys.txt"):
        (tmp_path / name).write_bytes(b"# nothing\n\n")
    assert build_known_secrets.main([str(tmp_path / "list"), str(tmp_path / "licence")]) == 0
    assert (tmp_path / "listed.txt").read_bytes() == long + b"\n"
    assert (tmp_path / "package" / "known_secrets.LICENSE").read_bytes() == b"terms"
    table = (tmp_path / "package" / "known_secrets.bin").read_bytes()
    assert hashlib.sha256(long).digest()[:DIGEST_SIZE] in table
    assert build_known_secrets.main(["one"]) == 2


def test_forms_are_every_reading_of_a_text():
    """A text is read as base64 with and without its padding, as base64url and as hexadecimal digits."""
    raw = b"\xfb\xff" + secrets.token_bytes(30)
    for spelt in (b64encode(raw), b64encode(raw).rstrip(b"="), urlsafe_b64encode(raw), raw.hex().encode()):
        assert raw in list(forms(spelt))
    assert raw in list(forms(b"!".join(b64encode(raw)[at : at + 9] for at in range(0, 99, 9))))
    assert set(forms(b"?!?!?")) == {b"?!?!?", b""}
