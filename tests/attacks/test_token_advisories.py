"""One test for each published advisory on token libraries that concerns a token engine.

Each is named by the advisory it stands for; where several libraries had the same hole, by the first.
"""

import ast
import json
import socket
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

import tokenkeep.jose
import tokenkeep.jose.compact as compact_module
from tests.attacks.key_forms import certificate, private_object, public_forms, text_mutations
from tests.jose.samples import (
    AUDIENCE,
    DATA,
    FAMILIES,
    ISSUER,
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
from tokenkeep.jose import Key, KeySet, jws, jwt
from tokenkeep.jose.algorithms import ALGORITHMS
from tokenkeep.jose.encoding import decode_object
from tokenkeep.jose.errors import (
    AlgorithmNotAllowed,
    AudienceNotAccepted,
    ClaimError,
    HeaderNotAccepted,
    InvalidArgument,
    InvalidKey,
    InvalidSignature,
    IssuerNotAccepted,
    KeyNotFound,
    MalformedJson,
    MalformedToken,
    TokenError,
    UsageError,
    WrongType,
)

SOURCE = Path(tokenkeep.jose.__file__).parent
HS256 = private_key("HS256")
ALL = list(ALGORITHMS)


def hmac_refuses(data):
    with pytest.raises(InvalidKey, match="reads as a key"):
        Key.from_secret(data)


# --------------------------------------------------------------------------------------- public keys as HMAC secrets


@pytest.mark.parametrize("form", ["PKCS1 PEM", "SPKI PEM", "OpenSSH", "X.509 PEM"])
def test_cve_2017_11424_public_key_text_as_secret(form):
    """PyJWT, also CVE-2022-29217; python-jose CVE-2024-33663; Authlib CVE-2024-37568: public key text signs nothing."""
    data = public_forms("RS256")[form]
    hmac_refuses(data)
    public = private_key("RS256").public()
    forged = token(public, header=header_of(public, alg="HS256"), sign=lambda text: _hmac(data, text))
    with pytest.raises(AlgorithmNotAllowed):
        verify(forged, public, algorithms=["RS256", "HS256"])


def _hmac(secret, data):
    return __import__("hmac").digest(secret, data, "sha256")


def test_cve_2026_102268_mutated_pem_as_secret():
    """PyJWT: PEM with an indented end, with CR alone or on one line is still PEM."""
    for form in ("SPKI PEM", "PKCS1 PEM", "X.509 PEM"):
        pem = public_forms("RS256")[form]
        hmac_refuses(pem.replace(b"-----END", b"  \t-----END"))
        for _, data in text_mutations(pem):
            hmac_refuses(data)


def test_cve_2026_102271_der_as_secret():
    """PyJWT; python-jose CVE-2026-85394: the DER of a public key signs nothing."""
    for alg in ("RS256", "ES256", "ES384", "ES512", "EdDSA"):
        hmac_refuses(public_forms(alg)["SPKI DER"])
        hmac_refuses(public_forms(alg)["X.509 DER"])
    hmac_refuses(public_forms("RS256")["PKCS1 DER"])


def test_cve_2026_102272_marked_jwk_as_secret():
    """PyJWT: a byte order mark before a JWK does not hide it."""
    for form in ("JWK", "JWKS", "JWK compact"):
        hmac_refuses(b"\xef\xbb\xbf" + public_forms("ES256")[form])


def test_cve_2026_48526_jwk_as_secret():
    """PyJWT, also CVE-2026-102273: the JSON of a public JWK or JWK Set signs nothing."""
    for alg in ("RS256", "ES256", "EdDSA"):
        for form in ("JWK", "JWKS", "list of JWK", "escaped JWK"):
            hmac_refuses(public_forms(alg)[form])


def test_cve_2023_48223_spaced_pem_as_secret():
    """fast-jwt, also CVE-2026-34950, GHSA-ww5h-9m49-7xx4: white space before PEM does not hide it."""
    for space in (b" ", b"\n", b"\t\r\n", b"\v\f", b"\0", b"\xef\xbb\xbf"):
        hmac_refuses(space + public_forms("RS256")["SPKI PEM"])


# ----------------------------------------------------------------------------------------------- keys and algorithms


@pytest.mark.parametrize("other", ["PS256", "RS384", "HS256", "ES256"])
def test_cve_2026_48523_algorithm_of_the_key_is_ignored(other):
    """PyJWT: a header that names another algorithm than the key's is refused, even one that is accepted."""
    key = private_key("RS256")
    forged = token(key, header=header_of(key, alg=other), sign=private_key(other).sign)
    for keys in (key.public(), KeySet([key.public()]), KeySet.from_jwks(KeySet([key]).to_jwks())):
        with pytest.raises(AlgorithmNotAllowed):
            verify(forged, keys, algorithms=ALL)


@pytest.mark.parametrize("secret", [b"", None, ""])
def test_cve_2026_102266_empty_secret(secret):
    """PyJWT; joserfc CVE-2026-49852; fast-jwt #609: an empty or absent secret is refused at load, sign and verify."""
    error = InvalidKey if secret == b"" else WrongType
    with pytest.raises(error):
        Key.from_secret(secret)
    with pytest.raises(InvalidKey):
        Key.from_jwk({"kty": "oct", "k": "", "alg": "HS256"})
    with pytest.raises(UsageError, match="secret or key required"):
        jwt.issue({}, secret, issuer=ISSUER, audience=AUDIENCE, lifetime=timedelta(minutes=1))
    with pytest.raises(UsageError, match="secret or key required"):
        jwt.verify(issue(), secret, algorithms=["HS256"], issuer=ISSUER, audience=AUDIENCE)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", " none", "none\0", "", None, 0, False, ["none"], {}])
def test_cve_2026_28802_unsigned_tokens(alg):
    """Authlib; better-auth GHSA-9h47: no spelling of none, no missing algorithm and no empty signature is accepted."""
    header = header_of(HS256, alg=alg)
    absent = {name: value for name, value in header.items() if name != "alg"}
    for head in (header, absent, header_of(HS256)):
        for signature in (b"", b"x", HS256.sign(b"x")):
            for keys in (HS256, KeySet([HS256]), verifying_key("ES256")):
                with pytest.raises((AlgorithmNotAllowed, MalformedToken, InvalidSignature)):
                    verify(assemble(compact(head), compact(claims()), lambda _, s=signature: s), keys)
    assert not any(name.lower() == "none" for name in ALGORITHMS)
    with pytest.raises(InvalidArgument):
        verify(issue(), algorithms=["HS256", "none"])


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["x"], "x": 1},
        {"crit": ["x"]},
        {"crit": []},
        {"crit": "x"},
        {"crit": [None]},
        {"crit": ["alg"]},
        {"crit": ["exp"], "exp": NOW + 900},
        {"crit": ["x", "x"], "x": 1},
        {"crit": ["b64"], "b64": False},
        {"crit": ["b64"], "b64": True},
        {"b64": False},
        {"crit": None},
        {"crit": {"x": 1}},
    ],
    ids=ascii,
)
def test_cve_2025_59420_critical_headers(extra):
    """Authlib; PyJWT CVE-2026-32597; fast-jwt CVE-2026-35042: every crit and every b64 is refused, rightly signed."""
    for alg in FAMILIES:
        key = private_key(alg)
        with pytest.raises(HeaderNotAccepted):
            verify(token(key, header=header_of(key, **extra)), verifying_key(alg))


def test_cve_2026_27962_keys_in_headers(monkeypatch):
    """Authlib; CVE-2018-0114: no header parameter is a key source, and none is fetched."""

    def refuse(*_args, **_kwargs):
        raise AssertionError("a connection was attempted")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    mine = Key.generate("ES256", kid="mine")
    chain = [b64(certificate(ec.generate_private_key(ec.SECP256R1())).tbs_certificate_bytes)]
    for extra in (
        {"jwk": mine.to_jwk()},
        {"jku": "https://attacker.example/jwks"},
        {"x5u": "https://attacker.example/chain"},
        {"x5c": chain},
        {"x5t": b64(bytes(20))},
        {"x5t#S256": b64(bytes(32))},
    ):
        for kid in (None, "mine", "key-ES256"):
            header = {"alg": "ES256", "typ": "JWT", **extra, **({"kid": kid} if kid else {})}
            for keys in (verifying_key("ES256"), KeySet([verifying_key("ES256")])):
                with pytest.raises((InvalidSignature, KeyNotFound)):
                    verify(token(mine, header=header), keys)
        honest = token(private_key("ES256"), header=header_of(private_key("ES256"), **extra))
        assert verify(honest, verifying_key("ES256"))


# ----------------------------------------------------------------------------------------------------- hostile sizes


def test_cve_2025_61920_oversized_tokens():
    """Authlib; PyJWT CVE-2026-48525; joserfc CVE-2026-48990; golang-jwt CVE-2025-30204: size is checked first."""
    big = "A" * 10_000_000
    head, body, signature = issue().split(".")
    shapes = [
        big,
        "." * 1_000_000,
        f"{big}.{body}.{signature}",
        f"{head}.{big}.{signature}",
        f"{head}.{body}.{big}",
        "é" * 5_000_000,
    ]
    tracemalloc.start()
    started = time.process_time()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for presented in shapes:
            for call in (verify, jwt.decode_unverified, lambda t: jws.verify(t, HS256, algorithms=["HS256"])):
                with pytest.raises(MalformedToken, match="longer than"):
                    call(presented)
        assert tracemalloc.get_traced_memory()[1] - before < 1_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 5


def test_many_dots_are_counted_in_linear_time():
    """A caller who allows megabytes still gets an answer at once, whatever they hold."""
    started = time.process_time()
    for unit in (".", "a.", "A", "=", "-", "é", "\0", "..a"):
        with pytest.raises(TokenError):
            verify(unit * (2_000_000 // len(unit)), max_size=10_000_000)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("depth", [33, 500, 1500])
def test_cve_2026_102265_nested_header(opening, depth):
    """PyJWT: a deeply nested header is malformed; no recursion error leaks."""
    text = '{"alg":"HS256","typ":"JWT","x":' + opening * depth
    for presented in (text, text + "]" * depth + "}"):
        for call in (verify, jwt.decode_unverified):
            with pytest.raises(MalformedToken):
                call(token(header=presented[:1536].encode()))


@pytest.mark.parametrize("depth", [33, 1000, 5000])
def test_cve_2026_101918_nested_payload(depth):
    """PyJWT: a deeply nested payload is malformed; no recursion error leaks, near the stack's end either."""
    payload = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    presented = token(payload=payload)
    with pytest.raises(MalformedToken):
        verify(presented, max_size=100_000)

    def deeper(levels):
        if levels:
            return deeper(levels - 1)
        with pytest.raises(MalformedToken):
            return verify(presented, max_size=100_000)

    deeper(100)


def test_cve_2026_102270_slow_key_detection():
    """PyJWT: judging the longest secret and reading hostile PEM take linear time."""
    started = time.process_time()
    for unit in (
        b"-----BEGIN ",
        b"-----BEGIN PUBLIC KEY-----\n",
        b"-",
        b"-----",
        b"A" * 64 + b"\n",
        b" ",
        b"----- BEGIN",
    ):
        with pytest.raises((InvalidKey, UsageError)):
            Key.from_pem((unit * 65536)[:65536], alg="RS256")
        with pytest.raises(InvalidKey):
            Key.from_secret((unit * 8192)[:8192])
    assert time.process_time() - started < 5


# ----------------------------------------------------------------------------------------------------------- encryption


def test_cve_2024_33664_compressed_encrypted_tokens():
    """python-jose; Authlib CVE-2025-62706; jwcrypto CVE-2024-28102; jose CVE-2024-28176: nothing is decompressed."""
    bomb = ".".join(
        [
            b64(compact({"alg": "dir", "enc": "A128GCM", "zip": "DEF"})),
            "",
            b64(bytes(12)),
            b64(bytes(2000)),
            b64(bytes(16)),
        ]
    )
    with pytest.raises(MalformedToken, match="found 5"):
        verify(bomb)
    with pytest.raises(AlgorithmNotAllowed):
        verify(token(header=header_of(HS256, alg="dir", enc="A128GCM", zip="DEF")))
    assert not any("zlib" in path.read_text() for path in SOURCE.glob("*.py"))


@pytest.mark.parametrize("alg", ["PBES2-HS256+A128KW", "PBES2-HS512+A256KW"])
def test_cve_2023_6681_password_based_encryption(alg):
    """jwcrypto; joserfc CVE-2026-27932; jose CVE-2022-36083: no iteration count is ever obeyed."""
    header = {"alg": alg, "p2c": 2**31, "p2s": b64(bytes(16)), "enc": "A128GCM"}
    started = time.process_time()
    with pytest.raises(MalformedToken):
        verify(".".join([b64(compact(header)), b64(bytes(24)), b64(bytes(12)), b64(b"x"), b64(bytes(16))]))
    with pytest.raises(AlgorithmNotAllowed):
        verify(token(header={**header_of(HS256), **header}))
    assert time.process_time() - started < 1


def test_cve_2026_28490_rsa_decryption():
    """Authlib; jwcrypto CVE-2016-6298: there is no RSA decryption, so no oracle for it."""
    examples = json.loads((DATA / "rfc-examples.json").read_text())["vectors"]
    encrypted = [v for v in examples if v["kind"] in {"jwe-compact", "nested-jwt"}]
    assert encrypted
    for vector in encrypted:
        with pytest.raises(MalformedToken):
            jws.verify(vector["token"], verifying_key("RS256"), algorithms=ALL)
    assert not any(name.startswith("RSA") for name in ALGORITHMS)


# ---------------------------------------------------------------------------------------------- echoes and spellings


def test_cve_2025_65015_echoed_tokens():
    """joserfc: no message, argument, cause or context of an error holds a piece of the token or of a claim."""
    marker = "sesame-open-yourself"
    presented = [
        marker * 1000,
        f"{marker}.{marker}.{marker}",
        token(header=header_of(HS256, alg=marker)),
        token(header=header_of(HS256, typ=marker)),
        token(header=header_of(HS256, kid=marker), sign=lambda _: bytes(32)),
        token(header={**header_of(HS256), "crit": [marker], marker: 1}),
        token(payload=claims(iss=marker)),
        token(payload=claims(aud=marker)),
        token(payload=claims(sub=[marker])),
        token(payload=claims(exp=marker)),
        token(payload=b'{"' + marker.encode()),
        token(payload=(f'{{"{marker}":1,"{marker}":2}}').encode()),
        token(header=b'{"alg":"HS256","kid":"' + marker.encode() + b"\xff"),
        token(payload=b'{"' + marker.encode() + b'":"\xff"}'),
        token(payload=b'{"' + marker.encode() + b'":"\\ud800"}'),
        token(payload=b"[" * 5000 + b'"' + marker.encode()),
        f"{marker}é",
        f"{marker}é.{marker}.{marker}",
        token() + f"{marker}é",
        token().replace(".", f"+{marker}."),
        token() + f"={marker}",
    ]
    for text in presented:
        for keys in (HS256, KeySet([HS256])):
            with pytest.raises(TokenError) as caught:
                verify(text, keys)
            assert marker not in everything_said(caught.value)
    for call in (
        lambda: Key.from_pem(f"-----BEGIN PRIVATE KEY-----\n{marker}é", alg="ES256"),
        lambda: Key.from_pem(f"-----BEGIN PRIVATE KEY-----\n{marker}\n-----END PRIVATE KEY-----", alg="ES256"),
        lambda: Key.from_jwk({"kty": "oct", "k": f"{marker}é", "alg": "HS256"}),
        lambda: Key.from_jwk({"kty": "oct", "k": f"{marker}=", "alg": "HS256"}),
        lambda: Key.from_jwk({**verifying_key("ES256").to_jwk(), "kid": f"{marker}\ud800"}),
        lambda: KeySet.from_jwks(b'{"keys":["' + marker.encode() + b"\xff"),
        lambda: Key.from_secret(b'{"kty":"' + marker.encode()),
        lambda: jwt.issue({"own": f"{marker}\ud800"}, HS256, issuer="i", audience="a", lifetime=timedelta(1)),
        lambda: Key.generate("ES256", kid=f"{marker}\ud800"),
    ):
        with pytest.raises((TokenError, UsageError)) as refused:
            call()
        assert marker not in everything_said(refused.value)


def everything_said(error):
    """Return all text of an error and of those before it, shown in a traceback or not."""
    said = ""
    while error is not None:
        assert type(error).__module__ == "tokenkeep.jose.errors", "an error of a library, which may hold the input"
        said += str(error) + repr(error) + repr(error.args)
        assert error.__cause__ is None
        error = error.__context__
    assert len(said) < 1000
    return said


def test_cve_2026_102269_other_spellings_of_a_signature():
    """PyJWT: padding, white space, stray bits and the other alphabet are refused in every segment."""
    for alg in FAMILIES:
        head, body, signature = issue(private_key(alg)).split(".")
        for at, segment in enumerate((head, body, signature)):
            spellings = [segment + "=", segment + "==", segment + "\n", " " + segment, segment[:5] + "\n" + segment[5:]]
            spellings += [segment.replace("-", "+").replace("_", "/")] if set(segment) & set("-_") else []
            if len(segment) % 4:
                alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                spellings += [
                    segment[:-1] + last
                    for last in alphabet
                    if last != segment[-1] and unb64(segment[:-1] + last) == unb64(segment)
                ]
                assert len(spellings) > 5
            for spelling in spellings:
                parts = [head, body, signature]
                parts[at] = spelling
                with pytest.raises((MalformedToken, InvalidSignature)):
                    verify(".".join(parts), verifying_key(alg))


def test_cve_2026_35039_one_token_for_another():
    """fast-jwt: what is remembered about one token never answers for another, nor past its time or its key."""
    first, second = issue(subject="1"), issue(subject="2")
    for _ in range(3):
        assert verify(first).claims["sub"] == "1"
        assert verify(second).claims["sub"] == "2"
        for mixed in (
            first.rpartition(".")[0] + second[second.rindex(".") :],
            second.rpartition(".")[0] + first[first.rindex(".") :],
        ):
            with pytest.raises(InvalidSignature):
                verify(mixed)
        with pytest.raises(InvalidSignature):
            verify(first, Key.generate("HS256"))
        with pytest.raises(KeyNotFound):
            verify(first, KeySet([]))
        with pytest.raises(ClaimError):
            verify(first, now=NOW + 900)


def test_cve_2026_103001_options_leak_between_calls():
    """PyJWT: verifying one token cannot change the checks of the next, in any order and in many threads."""
    presented = issue()
    options = {"audience": [AUDIENCE], "algorithms": ["HS256"]}
    before = json.dumps(options)
    barrier = threading.Barrier(8)

    def strict():
        with pytest.raises(AudienceNotAccepted):
            verify(presented, audience=["other"], algorithms=["HS256"])

    def lenient():
        verify(presented, **options)

    def run(number):
        barrier.wait()
        for turn in range(200):
            (strict if (number + turn) % 2 else lenient)()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    assert json.dumps(options) == before


@pytest.mark.parametrize(
    "value", [ISSUER[:-1], ISSUER[1:], ISSUER + "x", "", [ISSUER], 0, None, True, {}, ISSUER.upper()], ids=ascii
)
def test_cve_2024_53861_parts_of_an_issuer(value):
    """PyJWT; fast-jwt CVE-2025-30144: issuer and audience are compared whole, never by substring or membership."""
    with pytest.raises(IssuerNotAccepted):
        verify(token(payload={**claims(), "iss": value}))
    if value != [ISSUER]:
        with pytest.raises(ClaimError) as caught:
            verify(token(payload={**claims(), "aud": value}), audience=[ISSUER])
        assert caught.value.claim == "aud"


def test_cve_2024_53861_list_of_its_issuer():
    """PyJWT: a list that holds the audience is the only list that is accepted anywhere."""
    assert verify(token(payload=claims(aud=[AUDIENCE])))
    with pytest.raises(IssuerNotAccepted):
        verify(token(payload=claims(iss=[ISSUER])))


def test_cve_2026_102275_halves_of_different_keys():
    """PyJWT: a key whose public part is not that of its private part is refused, so a thumbprint names the key used."""
    for alg in ("EdDSA", "ES256", "RS256"):
        mine, theirs = private_key(alg).to_jwk(private=True), Key.generate(alg, rsa_bits=2048).to_jwk(private=True)
        public = {"EdDSA": ["x"], "ES256": ["x", "y"], "RS256": ["n"]}[alg]
        with pytest.raises(InvalidKey):
            Key.from_jwk({**mine, **{name: theirs[name] for name in public}})
    with pytest.raises(InvalidKey):
        KeySet.from_jwks({"keys": "x"})
    assert KeySet.from_jwks({"keys": [private_key("EdDSA").to_jwk(private=True)]}).skipped


def test_cve_2026_102274_one_broken_key():
    """PyJWT: one malformed key of a set does not void the set."""
    broken = [
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {"kty": "EC"},
        None,
        5,
        {"kty": ["RSA"]},
        {"kty": "OKP", "crv": {}},
    ]
    keys = [*broken, private_key("ES256").to_jwk(), *broken]
    key_set = KeySet.from_jwks({"keys": keys})
    assert len(key_set) == 1
    assert len(key_set.skipped) == 2 * len(broken)
    assert verify(issue(private_key("ES256")), key_set)


def test_cve_2026_48522_the_engine_fetches_nothing():
    """PyJWT, also CVE-2026-102267: the engine has no network, so no address in a token or a key is followed."""
    modules = {"socket", "http", "urllib", "ssl", "httpx", "httpx2", "requests", "asyncio", "aiohttp", "ftplib"}
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & modules


def test_cve_2026_48524_a_flood_of_unknown_kids(monkeypatch):
    """PyJWT, also CVE-2026-101917: unknown kids cost no fetch, are not remembered, and disturb no known one."""

    def refuse(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    key = verifying_key("ES256")
    known, keys = issue(private_key("ES256")), KeySet([key])
    verify(known, keys)
    remembered = dict(compact_module._remembered)
    started = time.process_time()
    for n in range(3000):
        flood = token(private_key("ES256"), header=header_of(key, kid=f"unknown-{n}"), sign=lambda _: bytes(64))
        with pytest.raises(KeyNotFound) as caught:
            verify(flood, keys)
        assert caught.value.kid == f"unknown-{n}"
    assert time.process_time() - started < 3
    assert compact_module._remembered == remembered
    assert verify(known, keys).header["kid"] == key.kid
    assert [each.kid for each in keys] == [key.kid]


@pytest.mark.parametrize("alg", FAMILIES)
def test_cve_2022_39227_polyglot_tokens(alg):
    """python-jwt: JSON serializations, text that is both JSON and compact, and duplicate members are refused."""
    key = private_key(alg)
    head, body, signature = issue(key).split(".")
    fake = b64(compact(claims(sub="admin")))
    flattened = {"protected": head, "payload": body, "signature": signature}
    polyglots = [
        json.dumps(flattened),
        json.dumps({"payload": body, "signatures": [{"protected": head, "signature": signature}]}),
        f'{{"  {head}.{fake}.":"","protected":"{head}", "payload":"{body}","signature":"{signature}"}}',
        f'{{"{head}.{fake}.{signature}":1}}',
        f"{head}.{fake}.{signature}",
        f"{head}.{body}.{signature}.{fake}",
        f"{head}.{fake}.{body}.{signature}",
    ]
    for text in polyglots:
        with pytest.raises((MalformedToken, InvalidSignature)):
            verify(text, verifying_key(alg))
    twice = b'{"iss":"x","iss":"' + ISSUER.encode() + b'"}'
    with pytest.raises(MalformedToken):
        verify(token(key, payload=twice), verifying_key(alg))
    with pytest.raises(MalformedToken):
        verify(token(key, header=b'{"alg":"none","alg":"' + alg.encode() + b'"}'), verifying_key(alg))
    with pytest.raises(MalformedJson):
        decode_object(twice)


ORDERS = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    "ES512": (1 << 521) - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7,
}


@pytest.mark.parametrize("alg", list(ORDERS))
def test_cve_2022_21449_psychic_signatures(alg):
    """Java: r and s of zero, of the order, beyond it, in DER or of another length verify nothing."""
    key, order = private_key(alg), ORDERS[alg]
    size = ALGORITHMS[alg].signature_size // 2
    head = f"{b64(compact(header_of(key)))}.{b64(compact(claims()))}".encode()
    right = key.sign(head)
    r, s = int.from_bytes(right[:size], "big"), int.from_bytes(right[size:], "big")
    numbers = [0, 1, order - 1, order, order + 1, 256**size - 1]
    pairs = [(a, b) for a in numbers for b in numbers] + [(r, n) for n in numbers] + [(n, s) for n in numbers]
    pairs += [(s, r), (r, (s + order) % 256**size), ((r + order) % 256**size, s)]
    for a, b in pairs:
        signature = (a % 256**size).to_bytes(size, "big") + (b % 256**size).to_bytes(size, "big")
        with pytest.raises(InvalidSignature):
            verify(f"{head.decode()}.{b64(signature)}", key.public())
    der = private_object(alg).sign(head, ec.ECDSA(ALGORITHMS[alg].hash))
    assert decode_dss_signature(der)
    for wrong in (der, right[:-1], right + b"\0", b"\0" + right, right[:size], b"", right * 2, right[1:]):
        with pytest.raises((InvalidSignature, MalformedToken)):
            verify(f"{head.decode()}.{b64(wrong)}", key.public())
    assert verify(f"{head.decode()}.{b64(right)}", key.public())


@pytest.mark.parametrize(
    ("alg", "curve"), [("ES256", ec.SECP384R1()), ("ES384", ec.SECP256R1()), ("ES512", ec.SECP256R1())]
)
def test_cve_2022_21449_wrong_curves(alg, curve):
    """PyJWT 2.11: a key of another curve is not bound to an algorithm, so the curve cannot be swapped."""
    other = {"secp256r1": "ES256", "secp384r1": "ES384"}[curve.name]
    with pytest.raises(InvalidKey):
        Key.from_der(private_key(other).to_der(), alg=alg)
    with pytest.raises(AlgorithmNotAllowed):
        verify(token(private_key(other), header=header_of(private_key(other), alg=alg)), verifying_key(other))


def test_salts_of_another_length_are_refused():
    """A PSS signature whose salt is not as long as the hash is refused (RFC 7518 §3.5)."""
    key, private = private_key("PS256"), private_object("PS256")

    def sign(data, length):
        return private.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), length), hashes.SHA256())

    assert verify(token(key, sign=lambda data: sign(data, 32)), key.public())
    for length in (0, 20, 31, 33, padding.PSS.MAX_LENGTH):
        with pytest.raises(InvalidSignature):
            verify(token(key, sign=lambda data, size=length: sign(data, size)), key.public())


# ------------------------------------------------------------------------------------------------- comparing, secrets


def _is_length(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "len"


def test_cve_2016_7036_secrets_are_compared_in_constant_time():
    """python-jose: no digest, signature, MAC or secret is compared with an operator in the engine."""
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Compare) or not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                continue
            compared = [part for part in [node.left, *node.comparators] if not _is_length(part)]
            names = {ast.unparse(part) for part in compared}
            words = ("secret", "signature", "mac", "digest", "private", "token")
            names = {name for name in names if not name.endswith("public_key()")}
            assert not {name for name in names if any(word in name for word in words)}, f"{path.name}:{node.lineno}"
    assert "copy.verify(signature)" in (SOURCE / "algorithms.py").read_text()
    for wrong in (b"", b"\0", bytes(31), bytes(33), bytes(64)):
        assert HS256.verify(b"data", wrong) is False


@pytest.mark.parametrize(
    "secret",
    [
        b"secret",
        b"changeme",
        bytes(range(31)),
        b"x" * 32,
        b"0" * 64,
        b"my-32-character-ultra-secure-and-ultra-long-secret",
    ],
)
def test_weak_secrets(secret):
    """Secrets under 32 bytes, of few different bytes, or on the public list are refused, as bytes and as a JWK."""
    with pytest.raises(InvalidKey):
        Key.from_secret(secret)
    with pytest.raises(InvalidKey):
        Key.from_jwk({"kty": "oct", "k": b64(secret), "alg": "HS256"})
