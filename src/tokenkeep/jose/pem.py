"""PEM and DER in (RFC 7468, RFC 5280, RFC 5208, RFC 5915, RFC 8017).

Reads PKCS #8 (encrypted too), PKCS #1 and SEC1 private keys, SPKI and PKCS #1 public keys, and the public part of an
X.509 certificate, whose dates and signature are not looked at.
"""

import binascii
import re
from collections.abc import Callable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tokenkeep.jose.arguments import checked_bytes
from tokenkeep.jose.errors import InvalidKey
from tokenkeep.jose.key_cost import check_cost
from tokenkeep.jose.key_pair import KeyPair

__all__ = ["read_der", "read_pem"]

_MAX_SIZE: Final = 65536
_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_PRIVATE_LABELS: Final = frozenset({b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY"})
# PKCS #1 and SEC1 may have been encrypted as RFC 1421 does it, in the form that OpenSSL gave it.
_OLD_LABELS: Final = frozenset({b"RSA PRIVATE KEY", b"EC PRIVATE KEY"})
_OLD_ENCRYPTION: Final = b"Proc-Type: 4,ENCRYPTED"
_PUBLIC_LABELS: Final = frozenset({b"PUBLIC KEY", b"RSA PUBLIC KEY"})

# An RSA key is parsed first and validated when its length is known to be bearable: see `KeyPair.of`.
_PRIVATE_PEM: Final = serialization.load_pem_private_key
_PRIVATE_DER: Final = serialization.load_der_private_key


def read_pem(pem: bytes | str, password: bytes | None) -> KeyPair:
    """Read the one key or certificate of a PEM text.

    Raises:
        InvalidKey: no such block, more than one, a wrong or missing password, an unsupported key.
        WrongType: the text is neither text nor bytes, or the password is no bytes.
    """
    if isinstance(pem, str):
        if not pem.isascii():
            raise InvalidKey("invalid key: PEM is ASCII text")
        pem = pem.encode("ascii")
    data = _sized("a key in PEM", pem, password)
    # `openssl ecparam -genkey` writes the name of the curve in a block of its own, which the key repeats.
    labels = [label for label in _LABEL.findall(data) if label != b"EC PARAMETERS"]
    if len(labels) != 1:
        raise InvalidKey(f"invalid key: one PEM block expected, found {len(labels)}")
    label = labels[0]
    if label in _PRIVATE_LABELS:
        _check_block(data, label)
        found = _attempt(lambda: _PRIVATE_PEM(data, password, unsafe_skip_rsa_key_validation=True))
    elif label in _PUBLIC_LABELS:
        found = _attempt(lambda: serialization.load_pem_public_key(data))
    elif label == b"CERTIFICATE":
        found = _attempt(lambda: x509.load_pem_x509_certificate(data).public_key())
    else:
        raise InvalidKey("invalid key: this kind of PEM block is not supported")
    return _narrowed(found, password)


def read_der(der: bytes, password: bytes | None) -> KeyPair:
    """Read a key or certificate in DER.

    Raises:
        InvalidKey: none of the readable structures, a wrong or missing password, an unsupported key.
        WrongType: not bytes.
    """
    data = _sized("a key in DER", der, password)
    found = _attempt(lambda: serialization.load_der_public_key(data)) or _attempt(
        lambda: x509.load_der_x509_certificate(data).public_key()
    )
    if found is None:
        check_cost(data)
        found = _attempt(lambda: _PRIVATE_DER(data, password, unsafe_skip_rsa_key_validation=True))
    return _narrowed(found, password)


def _sized(name: str, data: bytes, password: bytes | None) -> bytes:
    checked_bytes(name, data)
    if password is not None:
        checked_bytes("a password", password)
    if len(data) > _MAX_SIZE:
        raise InvalidKey(f"invalid key: longer than {_MAX_SIZE} bytes")
    return data


def _check_block(pem: bytes, label: bytes) -> None:
    """Judge what reading the private key in a PEM block may cost.

    Raises:
        InvalidKey: it costs too much, or the block holds no base64.
    """
    block = re.search(rb"-----BEGIN %b-----(.*?)-----END %b-----" % (label, label), pem, re.DOTALL)
    body = block[1] if block is not None else b""
    if label in _OLD_LABELS and _OLD_ENCRYPTION in body:
        return  # its key takes one round of MD5
    try:
        data = binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
    except binascii.Error:
        data = b""
    check_cost(data)


def _attempt(load: Callable[[], object]) -> object | None:
    try:
        return load()
    except Exception:  # noqa: BLE001 - whatever a parser of foreign bytes may raise; its sentence may quote them
        return None


def _narrowed(found: object | None, password: bytes | None) -> KeyPair:
    if found is not None:
        return KeyPair.of(found)
    if password is None:
        raise InvalidKey("invalid key: unreadable, or encrypted and no password was given")
    raise InvalidKey("invalid key: unreadable, not encrypted, or the password is wrong")
