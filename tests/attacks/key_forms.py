"""Every form in which a key may come to an attacker, or to a careless configuration file."""

import json
from base64 import b64decode, b64encode, encodebytes
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHCertificate,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_der_private_key,
    pkcs7,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from tests.jose.samples import b64, private_key

SIGNING = ["RS256", "ES256", "ES384", "ES512", "EdDSA"]
POINTS = {"ES256", "ES384", "ES512"}


def private_object(alg: str):
    """Return the private half of a sample key as an object of the underlying library."""
    return load_der_private_key(private_key(alg).to_der(private=True), None)


def certificate(private) -> x509.Certificate:
    """Return a self-signed certificate."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 7, start, start + timedelta(days=1))
    return builder.sign(private, None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def signing_request(private) -> x509.CertificateSigningRequest:
    """Return what a certificate is asked for with."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateSigningRequestBuilder(name)
    return builder.sign(private, None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def ssh_certificate(private) -> SSHCertificate:
    """Return the certificate of OpenSSH for a public key, signed by itself."""
    builder = SSHCertificateBuilder().public_key(private.public_key()).serial(1).type(SSHCertificateType.USER)
    return builder.key_id(b"x").valid_for_all_principals().valid_after(0).valid_before(2**64 - 1).sign(private)


@cache
def public_forms(alg: str) -> dict[str, bytes]:
    """Return every encoding of the public half of a sample key that can be loaded by the underlying library or us."""
    private = private_object(alg)
    public = private.public_key()
    forms = {
        "SPKI PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "SPKI DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "X.509 PEM": certificate(private).public_bytes(Encoding.PEM),
        "X.509 DER": certificate(private).public_bytes(Encoding.DER),
        "PKCS7 PEM": pkcs7.serialize_certificates([certificate(private)], Encoding.PEM),
        "PKCS7 DER": pkcs7.serialize_certificates([certificate(private)], Encoding.DER),
        "OpenSSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "JWK": json.dumps(private_key(alg).to_jwk()).encode(),
        "JWK bare": json.dumps(
            {n: v for n, v in private_key(alg).to_jwk().items() if n in ["kty", "crv", "n", "e", "x", "y"]}
        ).encode(),
        "JWK compact": json.dumps(private_key(alg).to_jwk(), separators=(",", ":")).encode(),
        "JWKS": json.dumps({"keys": [private_key(alg).to_jwk()]}, indent=2).encode(),
        "list of JWK": json.dumps([private_key(alg).to_jwk()]).encode(),
        "repr of JWK": repr(private_key(alg).to_jwk()).encode(),
        "escaped JWK": json.dumps(private_key(alg).to_jwk()).replace('"kty"', '"\\u006bty"').encode(),
    }
    forms["CSR PEM"] = signing_request(private).public_bytes(Encoding.PEM)
    forms["CSR DER"] = signing_request(private).public_bytes(Encoding.DER)
    forms["OpenSSH certificate"] = ssh_certificate(private).public_bytes()
    forms["OpenSSH certificate binary"] = b64decode(forms["OpenSSH certificate"].split()[1])
    forms["OpenSSH with comment"] = forms["OpenSSH"] + b" user@host\n"
    forms["OpenSSH with options"] = b'no-pty,command="x" ' + forms["OpenSSH"]
    forms["OpenSSH binary"] = b64decode(forms["OpenSSH"].split()[1])
    if alg == "RS256":
        forms["PKCS1 PEM"] = public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        forms["PKCS1 DER"] = public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if alg in POINTS:
        forms["uncompressed point"] = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        forms["compressed point"] = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        forms["coordinates"] = forms["uncompressed point"][1:]
    binary = {"OpenSSH binary", "OpenSSH certificate binary", "uncompressed point", "coordinates"}
    for name in [name for name in forms if name.endswith(" DER") or name in binary]:
        forms[f"base64 of {name}"] = b64encode(forms[name])
        forms[f"base64 lines of {name}"] = encodebytes(forms[name])
        forms[f"base64url of {name}"] = b64(forms[name]).encode()
        forms[f"base64 of base64 of {name}"] = b64encode(b64encode(forms[name]))
        forms[f"hexadecimal digits of {name}"] = forms[name].hex().encode()
    forms["base64 of base64 of PEM"] = b64encode(b64encode(forms["SPKI PEM"]))
    forms["base64 of hexadecimal digits"] = b64encode(forms["SPKI DER"].hex().encode())
    forms["base64 of JWK"] = b64encode(forms["JWK"])
    forms["base64 of PEM"] = b64encode(forms["SPKI PEM"])
    forms["JSON text of PEM"] = json.dumps(forms["SPKI PEM"].decode()).encode()
    return forms


def careless_forms(alg: str) -> Iterator[tuple[str, bytes]]:
    """Yield what people make of a public key by hand, or of one in a file of another kind."""
    forms = public_forms(alg)
    lines = forms["SPKI PEM"].strip().split(b"\n")
    body = b"".join(lines[1:-1])
    word, blob = forms["OpenSSH"].split()[:2]
    for blanks in (b" " * 65, b"\t" * 70, b" \t\r\n" * 100, b"\v" * 65, b""):
        yield "OpenSSH far apart", word + blanks + blob
    digits = forms["SPKI DER"].hex(":")
    yield "hexadecimal digits with colons", digits.upper().encode()
    yield "hexadecimal digits of a program", b", ".join(b"0x" + pair.encode() for pair in digits.split(":"))
    yield "hexadecimal digits in lines", "\n".join(digits[at : at + 48] for at in range(0, len(digits), 48)).encode()
    yield "body only", body
    yield "body in lines", b"\n".join(lines[1:-1])
    yield "body in lines with a written break", b"\\n".join(lines[1:-1])
    yield "body in lines with two written breaks", b"\\r\\n".join(lines[1:-1])
    yield "body as a quotation", b"".join(b"> " + line + b"\n" for line in lines[1:-1])
    yield "body in a list", json.dumps([line.decode() for line in lines[1:-1]]).encode()
    yield "body with written slashes", json.dumps(body.decode()).replace("/", "\\/").encode()
    for words in (b"key ", b"KEY=", b"public_key: ", b"my public key ", b"-- "):
        yield f"body after {words!r}", words + body
        yield f"lines after {words!r}", words + b"\n".join(lines[1:-1])
    yield "body as an item", b"-" + body
    yield "body with a dash", body[:40] + b"-" + body[40:]
    yield "body before a word", body + b" user@host"
    yield "armour without dashes", forms["SPKI PEM"].replace(b"-", b"")
    yield "armour without dashes in one line", forms["SPKI PEM"].replace(b"-", b"").replace(b"\n", b" ")
    jwk = private_key(alg).to_jwk()
    yield "YAML", "\n".join(f"{name}: {value}" for name, value in jwk.items()).encode()
    yield "YAML within", "\n".join(["key:", *(f"  {name}: '{value}'" for name, value in jwk.items())]).encode()
    yield "JavaScript", ("{" + ",".join(f'{name}:"{value}"' for name, value in jwk.items()) + "}").encode()
    yield "JWK without a type", json.dumps({name: value for name, value in jwk.items() if name != "kty"}).encode()
    escaped = json.dumps({**jwk, "kid": "\u2028é"}, ensure_ascii=False)
    for spelling in ('"\\u006bty"', '"k\\u0074y"', '"kt\\u0079"', '"\\u006B\\u0074\\u0079"', '"kty"'):
        text = escaped.replace('"kty"', spelling)
        for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"):
            yield f"{spelling} in {encoding}", text.encode(encoding)
        yield f"{spelling} before a comment", text.encode() + b"\n// a comment"
        yield f"base64 of {spelling}", b64encode(text.encode("utf-16"))
    yield "JSON text of JWK", json.dumps(json.dumps(jwk)).encode()
    yield "JSON text of JSON text of JWK", json.dumps(json.dumps(json.dumps(jwk))).encode()
    if alg == "RS256":
        yield "XML", f"<RSAKeyValue><Modulus>{jwk['n']}</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>".encode()


@cache
def private_forms(alg: str) -> dict[str, bytes]:
    """Return every encoding of a whole sample key."""
    private = private_object(alg)
    lock = BestAvailableEncryption(b"password")
    forms = {
        "PKCS8 PEM": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "PKCS8 DER": private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "encrypted PKCS8 PEM": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock),
        "encrypted PKCS8 DER": private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, lock),
        "OpenSSH private": private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        "PKCS12": pkcs12.serialize_key_and_certificates(b"x", private, certificate(private), None, NoEncryption()),
        "private JWK": json.dumps(private_key(alg).to_jwk(private=True)).encode(),
        "private JWKS": json.dumps({"keys": [private_key(alg).to_jwk(private=True)]}).encode(),
    }
    if alg != "EdDSA":
        forms["traditional PEM"] = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        forms["traditional DER"] = private.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    for name in [name for name in forms if name.endswith(" DER")]:
        forms[f"base64 of {name}"] = b64encode(forms[name])
    return forms


def foreign_forms() -> Iterator[tuple[str, bytes]]:
    """Yield encodings of keys that sign none of our algorithms."""
    for name, private in (
        ("DSA", dsa.generate_private_key(2048)),
        ("Ed448", ed448.Ed448PrivateKey.generate()),
        ("X25519", x25519.X25519PrivateKey.generate()),
        ("secp256k1", ec.generate_private_key(ec.SECP256K1())),
        ("RSA-1024", rsa.generate_private_key(65537, 1024)),
    ):
        public = private.public_key()
        for encoding in (Encoding.PEM, Encoding.DER):
            yield f"{name} SPKI", public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
            yield f"{name} PKCS8", private.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())


def mutations(form: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a form and what files, editors and environment variables make of it."""
    yield "as it is", form
    yield "with a final line break", form + b"\n"
    yield "stripped", form.strip() if form.isascii() else form
    yield "indented", b" \t" + form
    yield "after empty lines", b"\r\n\n\n" + form
    yield "with white space around", b"\t\v\f \n" + form + b" \r\n\t"
    yield "with a mark", b"\xef\xbb\xbf" + form
    yield "with a mark and white space", b"\n\xef\xbb\xbf " + form + b"\n"
    yield "ended by NUL", form + b"\0"


def text_mutations(form: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what can happen to a form that is text."""
    text = form.decode()
    yield "CR only", text.replace("\n", "\r").encode()
    yield "CR LF", text.replace("\n", "\r\n").encode()
    yield "one line", text.replace("\n", "").encode()
    yield "one line of words", text.replace("\n", " ").encode()
    yield "indented lines", text.replace("\n", "\n    ").encode()
    yield "in UTF-16", text.encode("utf-16")
    yield "in UTF-32", text.encode("utf-32")
    yield "in big-endian UTF-16", b"\xfe\xff" + text.encode("utf-16-be")


def inner_mutations(form: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a form with white space inside of its words, as mail and terminals break lines."""
    for blank in (b" ", b"\t", b"\n", b"\r\n", b"\v", b"\f", b"\0"):
        for width in (1, 3, 7, 64, 76):
            pieces = [form[at : at + width] for at in range(0, len(form), width)]
            yield f"{blank!r} after every {width}", blank.join(pieces)
            yield f"{blank!r} many times after every {width}", (blank * 5).join(pieces)


def case_mutations(form: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield other spellings of what has names: PEM labels and JWK members."""
    yield "lower case", form.lower()
    yield "upper case", form.upper()
    yield "swapped case", form.swapcase()
    yield "title case", form.title()
