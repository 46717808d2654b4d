"""A self-signed certificate for a name of this machine, made by whoever needs one."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.authority import general_name


class Certificate:
    """The files of a self-signed certificate for one name, which can be replaced by another."""

    def __init__(self, directory: Path, name: str = "127.0.0.1") -> None:
        """Write them into a directory; `name` is an address, or the name of a host."""
        self._name = name
        self.cert = directory / "cert.pem"
        self.key = directory / "key.pem"
        self.serial = 0
        self.replace()

    def replace(self) -> None:
        """Write a new certificate with a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._name)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([general_name(self._name)]), False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
            .sign(key, hashes.SHA256())
        )
        self.serial = certificate.serial_number
        self.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.key.chmod(0o600)

    def context(self) -> ssl.SSLContext:
        """Return what trusts the certificate as it is now, and nothing else."""
        return ssl.create_default_context(cafile=self.cert)
