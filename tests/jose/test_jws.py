"""The compact form: signing, verifying, headers."""

import json
from types import MappingProxyType

import pytest

from tests.jose.samples import FAMILIES, assemble, b64, compact, header_of, private_key, unb64, verifying_key
from tokenkeep.jose import JwsContent, Key, KeySet, jws
from tokenkeep.jose import compact as compact_form
from tokenkeep.jose.algorithms import ALGORITHMS
from tokenkeep.jose.errors import (
    AlgorithmNotAllowed,
    AmbiguousKey,
    HeaderNotAccepted,
    InvalidArgument,
    InvalidKey,
    InvalidSignature,
    KeyNotFound,
    KeyRequired,
    MalformedToken,
    ReservedName,
    WrongType,
)

ALL = list(ALGORITHMS)
HS256 = private_key("HS256")
RESERVED = ["alg", "kid", "crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"]


def verify(token, key=HS256, **options):
    return jws.verify(token, key, **{"algorithms": ALL, **options})


def signed(header, payload=b"payload", key=HS256):
    """Return a correctly signed token with any header, as a mapping or raw."""
    return assemble(header if isinstance(header, bytes) else compact(header), payload, key.sign)


# ------------------------------------------------------------------------------------------------------------- good


@pytest.mark.parametrize("alg", ALL)
@pytest.mark.parametrize("payload", [b"", b"payload", b"\0\xff" * 500])
def test_round_trip(alg, payload):
    """What is signed is verified: by the key, by a set, as text and as bytes, with the header the key demands."""
    token = jws.sign(payload, private_key(alg))
    assert json.loads(unb64(token.split(".")[0])) == {"alg": alg, "kid": f"key-{alg}"}
    for presented in (token, token.encode()):
        for keys in (verifying_key(alg), private_key(alg), KeySet([verifying_key(alg)])):
            content = jws.verify(presented, keys, algorithms=[alg])
            assert content == JwsContent({"alg": alg, "kid": f"key-{alg}"}, payload)


def test_extra_header_parameters_are_signed_and_returned():
    """Further parameters stand after the engine's own, and the caller's mapping is not changed."""
    extra = {"typ": "x", "cty": "y", "own": [1, {"a": None}]}
    before = json.dumps(extra)
    token = jws.sign(b"", HS256, header=MappingProxyType(extra))
    assert json.dumps(extra) == before
    header = verify(token).header
    assert list(header) == ["alg", "kid", "typ", "cty", "own"]
    assert header["own"] == (1, {"a": None})


def test_headers_are_deeply_immutable():
    """Nobody can change the header of a verified token, which others may get to see."""
    token = jws.sign(b"", HS256, header={"own": {"list": [1, {}]}})
    for _ in range(2):
        header = verify(token).header
        with pytest.raises(TypeError):
            header["alg"] = "none"
        with pytest.raises(TypeError):
            header["own"]["new"] = 1
        with pytest.raises(TypeError):
            header["own"]["list"][1]["new"] = 1
        assert type(header["own"]["list"]) is tuple
        with pytest.raises(AttributeError):
            verify(token).payload = b""


# ---------------------------------------------------------------------------------------------------------- signing


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_header_parameters_cannot_be_set(name):
    """The engine alone writes alg and kid, and nobody writes what could be taken for a key or an extension."""
    for value in ("x", None):
        with pytest.raises(ReservedName, match=name):
            jws.sign(b"", HS256, header={"own": 1, name: value})


@pytest.mark.parametrize("header", [[], "x", 5, [("typ", "x")]])
def test_a_header_is_a_mapping(header):
    """Anything but a mapping of extra parameters is a caller's mistake."""
    with pytest.raises(WrongType):
        jws.sign(b"", HS256, header=header)


@pytest.mark.parametrize("typ", [None, 5, [], b"x"])
def test_the_type_in_a_header_is_text(typ):
    """A typ that no verifier would accept is not written."""
    with pytest.raises(WrongType):
        jws.sign(b"", HS256, header={"typ": typ})


def test_header_values_are_json():
    """What JSON does not have is refused in a header as in claims."""
    with pytest.raises(WrongType):
        jws.sign(b"", HS256, header={"own": object()})
    with pytest.raises(InvalidArgument):
        jws.sign(b"", HS256, header={"own": float("nan")})


def test_headers_that_verify_would_refuse_are_not_written():
    """A header of 2048 encoded bytes is written and read; a longer one is refused when signing."""
    room = 2048 * 3 // 4 - len('{"alg":"HS256","kid":"key-HS256","own":""}')
    token = jws.sign(b"", HS256, header={"own": "x" * room})
    assert len(token.split(".")[0]) == 2048
    assert verify(token).header["own"] == "x" * room
    with pytest.raises(InvalidArgument, match="2048"):
        jws.sign(b"", HS256, header={"own": "x" * (room + 1)})


@pytest.mark.parametrize("payload", ["text", None, {}, bytearray(b"x"), 5])
def test_a_payload_is_bytes(payload):
    """Text and objects are a caller's mistake."""
    with pytest.raises(WrongType):
        jws.sign(payload, HS256)


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_public_keys_do_not_sign(alg):
    """A public key, and one that may not sign, is refused."""
    with pytest.raises(InvalidKey, match="may not sign"):
        jws.sign(b"", verifying_key(alg))
    with pytest.raises(InvalidKey, match="may not sign"):
        jws.sign(b"", Key.from_jwk({**private_key(alg).to_jwk(private=True), "key_ops": ["verify"]}))


NO_KEYS = [None, "", b""]
WRONG_KEYS = ["secret" * 9, b"secret" * 9, {}, [], [HS256], HS256.to_jwk(private=True), 5, object()]


@pytest.mark.parametrize("key", NO_KEYS)
def test_no_key_is_said_to_be_none(key):
    """Without a key both ways say that one is required."""
    for act in (lambda: jws.sign(b"", key), lambda: verify("whatever", key)):
        with pytest.raises(KeyRequired, match=r"^secret or key required$"):
            act()


@pytest.mark.parametrize("key", WRONG_KEYS, ids=lambda key: type(key).__name__)
def test_keys_are_keys(key):
    """Text, bytes and mappings are not taken for keys, and the message says how to make one."""
    for act in (lambda: jws.sign(b"", key), lambda: verify("whatever", key)):
        with pytest.raises(WrongType, match=r"Key.from_secret") as caught:
            act()
        assert not isinstance(caught.value, KeyRequired)


def test_a_set_does_not_sign():
    """One key signs; a set cannot choose."""
    with pytest.raises(WrongType):
        jws.sign(b"", KeySet([HS256]))


# -------------------------------------------------------------------------------------------------- shape and sizes


@pytest.mark.parametrize("token", [None, 5, [], {}, bytearray(b"a.b.c"), memoryview(b"a.b.c")])
def test_a_token_is_text_or_bytes(token):
    """Another type is a caller's mistake."""
    with pytest.raises(WrongType):
        verify(token)


TOKEN = jws.sign(b"payload", HS256)
HEAD, BODY, SIGNATURE = TOKEN.split(".")


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a.b.",
        ".b.c",
        "a..",
        f"{HEAD}.{BODY}",
        f"{HEAD}.{BODY}.",
        f".{BODY}.{SIGNATURE}",
        f"{TOKEN}.",
        f".{TOKEN}",
        f"{TOKEN}.x",
        f"{HEAD}..{BODY}.{SIGNATURE}",
        f"{HEAD}.{SIGNATURE}.{BODY}.x.y",
        f"{HEAD}.{BODY}.{SIGNATURE}.{SIGNATURE}",
        f" {TOKEN}",
        f"{TOKEN} ",
        f"{TOKEN}\n",
        f"\n{TOKEN}",
        f"{TOKEN}\x00",
        f"Bearer {TOKEN}",
        f'"{TOKEN}"',
        TOKEN.replace(".", " .", 1),
        TOKEN.replace(".", "。"),
        TOKEN + "é",
        "\ufeff" + TOKEN,
        f"{HEAD}=.{BODY}.{SIGNATURE}",
        f"{HEAD}.{BODY}.{SIGNATURE}=",
        f"{HEAD}A.{BODY}.{SIGNATURE}",
    ],
    ids=lambda token: f"{len(token)} characters",
)
def test_other_shapes_are_malformed(token):
    """Anything but three segments of canonical base64url with a header and a signature is malformed."""
    for presented in (token, token.encode()):
        with pytest.raises(MalformedToken) as caught:
            verify(presented)
        assert caught.value.message.startswith("malformed token: ")


def test_what_is_no_text_at_all_is_malformed():
    """Half a character outside of the basic plane, which cannot be encoded, is refused like any other foreign one."""
    for presented in (f"{TOKEN}\ud800", "\udfff"):
        with pytest.raises(MalformedToken, match=r"not ASCII$"):
            verify(presented)


def test_an_empty_header_is_told():
    """Nothing before the first dot is no header, and said to be none."""
    with pytest.raises(MalformedToken, match=r"no header$"):
        verify(f".{BODY}.{SIGNATURE}")


@pytest.mark.parametrize(("dots", "said"), [(0, 1), (1, 2), (3, 4), (4, 5), (9, 10)])
def test_the_number_of_segments_is_said(dots, said):
    """The message counts the segments, five of which an encrypted token has."""
    with pytest.raises(MalformedToken, match=f"three segments expected, found {said}$"):
        verify("a" + ".a" * dots)


@pytest.mark.parametrize("alg", FAMILIES)
def test_a_malformed_payload_under_a_right_signature_is_malformed(alg):
    """The payload's spelling is checked though its bytes were signed."""
    head = b64(compact(header_of(private_key(alg))))
    for body in ("A", "AB", "AA==", "A+AA", "A A", "é"):
        text = f"{head}.{body}".encode()
        token = text + b"." + b64(private_key(alg).sign(text)).encode()
        with pytest.raises(MalformedToken, match="payload"):
            verify(token, private_key(alg))


def test_the_empty_payload_is_a_payload():
    """A JWS may sign nothing."""
    assert verify(jws.sign(b"", HS256)).payload == b""


@pytest.mark.parametrize("size", [len(TOKEN) - 1, 1])
def test_tokens_over_the_limit_are_refused(size):
    """The limit itself is inside, one byte more is not, and the message names the limit."""
    assert verify(TOKEN, max_size=len(TOKEN))
    for presented in (TOKEN, TOKEN.encode()):
        with pytest.raises(MalformedToken, match=f"longer than {size} bytes"):
            verify(presented, max_size=size)


def test_the_default_limit_is_eight_kibibytes():
    """8192 bytes are accepted and 8193 are not, unless the caller says so."""
    room = 8192 - len(HEAD) - len(SIGNATURE) - 2
    exact = jws.sign(b"x" * (room * 3 // 4), HS256)
    assert 8190 <= len(exact) <= 8192
    assert verify(exact)
    longer = jws.sign(b"x" * (room * 3 // 4 + 3), HS256)
    with pytest.raises(MalformedToken, match="8192"):
        verify(longer)
    assert verify(longer, max_size=len(longer))


@pytest.mark.parametrize(
    ("size", "error"), [(0, InvalidArgument), (-1, InvalidArgument), (1.5, WrongType), ("9", WrongType)]
)
def test_a_limit_is_a_positive_number(size, error):
    """A limit that is none is a caller's mistake, a boolean and None too."""
    for wrong in (size,) if error is InvalidArgument else (size, True, None):
        with pytest.raises(error, match="max_size"):
            verify(TOKEN, max_size=wrong)


def test_long_headers_are_refused():
    """A header of 2048 encoded bytes is read and a longer one is not, though the token is short enough."""
    start = len(compact(header_of(HS256, x="")))
    assert verify(signed(header_of(HS256, x="x" * (1536 - start))))
    with pytest.raises(MalformedToken, match="header longer than 2048"):
        verify(signed(header_of(HS256, x="x" * (1537 - start))))


# ----------------------------------------------------------------------------------------------------------- header


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xef\xbb\xbf{}",
        b'{"alg":"HS256","alg":"HS256"}',
        b'{"alg":"HS256","\\u0061lg":"none"}',
        b'{"alg":"HS256","x":{"a":1,"a":2}}',
        b'{"alg":"HS256","x":NaN}',
        b'{"alg":"HS256","x":"\\ud800"}',
        b'{"alg":"HS256"}x',
        b'{"alg":"HS256","x":"\xff"}',
        b'{"alg":"HS256","x":' + b"[" * 500 + b"]" * 500 + b"}",
        '{"alg":"HS256"}'.encode("utf-16"),
    ],
    ids=ascii,
)
def test_headers_are_strict_json(header):
    """A header that is no strict JSON object is malformed, though it was signed."""
    with pytest.raises(MalformedToken, match="header"):
        verify(signed(header))


@pytest.mark.parametrize(
    "alg", ["none", "None", "nOnE", "NONE", "", "hs256", "HS256 ", "HS256\0", "HS384", "RS256", "ES256", "x"]
)
def test_other_algorithms_are_not_allowed(alg):
    """An algorithm that is not accepted, unknown or spelt otherwise is refused with one error."""
    with pytest.raises(AlgorithmNotAllowed, match=r"^algorithm not allowed$"):
        verify(signed(header_of(HS256, alg=alg)), algorithms=["HS256"])


@pytest.mark.parametrize("alg", [None, 0, 5, True, ["HS256"], {"HS256": 1}], ids=ascii)
def test_an_algorithm_that_is_no_text_is_not_allowed(alg):
    """A missing algorithm and one of another type are refused with the same error."""
    header = header_of(HS256, alg=alg)
    with pytest.raises(AlgorithmNotAllowed):
        verify(signed(header))
    del header["alg"]
    with pytest.raises(AlgorithmNotAllowed):
        verify(signed(header))


def test_the_key_decides_the_algorithm():
    """An accepted algorithm that is not the key's is refused, even if the signature is right under it."""
    other = Key.from_secret(HS256._source.value, alg="HS512", kid=HS256.kid)
    token = jws.sign(b"", other)
    assert verify(token, other)
    with pytest.raises(AlgorithmNotAllowed, match="another"):
        verify(token, HS256, algorithms=["HS256", "HS512"])
    with pytest.raises(AlgorithmNotAllowed, match="another"):
        verify(token, KeySet([HS256]), algorithms=["HS256", "HS512"])


def test_labels_of_ed25519_are_different_algorithms():
    """EdDSA and Ed25519 name the same signature, but a key has one of the names and a token needs that one."""
    for alg, other in (("EdDSA", "Ed25519"), ("Ed25519", "EdDSA")):
        with pytest.raises(AlgorithmNotAllowed):
            verify(jws.sign(b"", private_key(alg)), verifying_key(other))


@pytest.mark.parametrize(
    "value", [["x"], [], "x", None, ["exp"], ["alg"], ["b64"], [None], ["x", "x"], {}, True, 0], ids=ascii
)
def test_critical_parameters_are_refused(value):
    """No extension is understood, so any crit is refused, well-formed or not."""
    with pytest.raises(HeaderNotAccepted, match="crit"):
        verify(signed(header_of(HS256, crit=value, x=1, b64=False)))
    with pytest.raises(HeaderNotAccepted, match="crit"):
        verify(signed(header_of(HS256, crit=value)))


@pytest.mark.parametrize("value", [False, True, None, "false", 0], ids=ascii)
def test_unencoded_payloads_are_refused(value):
    """b64 is refused in any form, also when it changes nothing (RFC 7797)."""
    with pytest.raises(HeaderNotAccepted, match="b64"):
        verify(signed(header_of(HS256, b64=value)))


@pytest.mark.parametrize("kid", [None, 5, True, [], {}, ["key-HS256"], "x" * 129], ids=ascii)
def test_a_kid_is_short_text(kid):
    """A kid of another type or of more than 128 characters is malformed, whether it would be used or not."""
    for keys in (HS256, KeySet([HS256])):
        with pytest.raises(MalformedToken, match="kid"):
            verify(signed(header_of(HS256, kid=kid)), keys)


@pytest.mark.parametrize("typ", [None, 5, True, [], {}], ids=ascii)
def test_a_type_is_text(typ):
    """A typ of another type is malformed."""
    with pytest.raises(MalformedToken, match="typ"):
        verify(signed(header_of(HS256, typ=typ)))


@pytest.mark.parametrize("kid", ["x", "", "../../etc/passwd", "' OR 1=1 --", "a\0b", "a\r\nb", "x" * 128])
def test_a_single_key_does_not_ask_for_a_kid(kid):
    """With one key the kid is not consulted; in a set it must be there."""
    token = signed(header_of(HS256, kid=kid))
    assert verify(token, HS256)
    with pytest.raises(KeyNotFound) as caught:
        verify(token, KeySet([HS256]))
    assert caught.value.kid == kid
    assert kid == "" or kid not in caught.value.message or kid == "x"


def test_without_a_kid_a_set_needs_one_candidate():
    """A header without a kid verifies with the only key of its algorithm and is refused where there are two."""
    header = header_of(HS256)
    del header["kid"]
    token = signed(header)
    assert verify(token, HS256)
    assert verify(token, KeySet([HS256, private_key("HS512")]))
    other = Key.generate("HS256")
    with pytest.raises(AmbiguousKey):
        verify(token, KeySet([HS256, other]))
    with pytest.raises(KeyNotFound):
        verify(token, KeySet([private_key("HS512")]))


@pytest.mark.parametrize("alg", ["HS256", "ES256"])
def test_a_key_that_may_not_verify_is_a_mistake(alg):
    """A single key whose key_ops allow signing only is refused as an argument, before the token is looked at."""
    signer = Key.from_jwk({**private_key(alg).to_jwk(private=True), "key_ops": ["sign"]})
    for presented in (jws.sign(b"", signer), "no token", "x" * 9000, 5):
        with pytest.raises(InvalidArgument, match="may only sign"):
            verify(presented, signer)
    with pytest.raises(KeyNotFound):
        verify(jws.sign(b"", signer), KeySet([signer]))


# ------------------------------------------------------------------------------------------------------------ order


def test_mistakes_of_the_caller_come_before_the_token():
    """Wrong arguments are reported whatever the token is."""
    for options in ({"algorithms": []}, {"algorithms": ["none"]}, {"max_size": 0}):
        with pytest.raises(InvalidArgument):
            verify("no token", **options)
    with pytest.raises(WrongType):
        verify("no token", algorithms="HS256")


def test_checks_run_in_order():
    """Size and shape, header, algorithm, extensions, key and signature: the first that fails is reported."""
    bad_signature = b64(bytes(32))

    def presented(header):
        return f"{b64(compact(header))}.{b64(b'x')}.{bad_signature}"

    everything = header_of(HS256, alg="ES256", crit=["x"], kid="unknown")
    with pytest.raises(MalformedToken):
        verify(presented({**everything, "kid": 5}), algorithms=["HS256"])
    with pytest.raises(AlgorithmNotAllowed):
        verify(presented(everything), KeySet([HS256]), algorithms=["HS256"])
    with pytest.raises(HeaderNotAccepted):
        verify(presented({**everything, "alg": "HS256"}), KeySet([HS256]), algorithms=["HS256"])
    del everything["crit"]
    with pytest.raises(KeyNotFound):
        verify(presented({**everything, "alg": "HS256"}), KeySet([HS256]), algorithms=["HS256"])
    with pytest.raises(InvalidSignature, match=r"^invalid signature$"):
        verify(presented({**everything, "alg": "HS256", "kid": HS256.kid}), KeySet([HS256]), algorithms=["HS256"])


# ------------------------------------------------------------------------------------------------- remembered headers


@pytest.fixture
def remembered(monkeypatch):
    """Give the test an empty memory of headers."""
    memory: dict = {}
    monkeypatch.setattr(compact_form, "_remembered", memory)
    return memory


def test_headers_are_remembered_after_a_right_signature_only(remembered):
    """A stranger's header is never remembered, and a remembered one is used by its exact text."""
    forged = f"{HEAD}.{BODY}.{b64(bytes(32))}"
    for _ in range(3):
        with pytest.raises(InvalidSignature):
            verify(forged)
    assert remembered == {}
    first = verify(TOKEN).header
    assert list(remembered) == [HEAD.encode()]
    assert verify(TOKEN).header is first
    with pytest.raises(InvalidSignature):
        verify(forged)
    with pytest.raises(AlgorithmNotAllowed):
        verify(TOKEN, algorithms=["ES256"])
    with pytest.raises(KeyNotFound):
        verify(TOKEN, KeySet([Key.generate("HS256")]))


def test_the_memory_of_headers_is_bounded(remembered):
    """However many different headers are correctly signed, few are remembered, and all verify."""
    for number in range(600):
        assert verify(signed(header_of(HS256, n=number))).header["n"] == number
        assert 1 <= len(remembered) <= 256
