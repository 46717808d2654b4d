"""The address of a Redis: what it says, and that nothing of it is repeated."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.certificate import Certificate
from tokenkeep.storage.address_error import AddressError
from tokenkeep.storage.redis_address import PORT, RedisAddress


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://localhost", ("localhost", PORT, "", 0, None, None, False)),
        ("redis://localhost:7000/5", ("localhost", 7000, "", 5, None, None, False)),
        ("redis://:secret@[::1]/", ("::1", PORT, "", 0, None, "secret", False)),
        ("rediss://tk:p%40s%2Fs%23@redis.example.com/1", ("redis.example.com", PORT, "", 1, "tk", "p@s/s#", True)),
        ("unix:///run/redis.sock", ("", PORT, "/run/redis.sock", 0, None, None, False)),
        ("unix://tk:secret@/run/redis.sock?db=2", ("", PORT, "/run/redis.sock", 2, "tk", "secret", False)),
    ],
)
def test_an_address_is_read(url: str, told: tuple[object, ...]):
    """Each part is found in its place, and escapes are undone."""
    read = RedisAddress.parse(url)
    assert (read.host, read.port, read.socket, read.database, read.user, read.password, read.tls) == told


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://tk:canary@host/1", "host:6379"),
        ("redis://tk:canary@[::1]:7000", "[::1]:7000"),
        ("unix://tk:canary@/run/r.sock", "/run/r.sock"),
    ],
)
def test_a_place_is_named_without_the_password(url: str, where: str):
    """Neither the name of the place nor the repr of the address tell user or password."""
    address = RedisAddress.parse(url)
    assert address.where == where
    assert "canary" not in repr(address)


@pytest.mark.parametrize("url", ["redis://canary:b@d@host", "redis://host?canary=1", "redis://host:canary/0"])
def test_a_refusal_repeats_nothing(url: str):
    """What cannot be read may hold the password anywhere."""
    with pytest.raises(AddressError) as refused:
        RedisAddress.parse(url)
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_tls_trusts_the_authority_that_is_named_and_no_other(tmp_path: Path):
    """The context demands a certificate for the host, at least TLS 1.2, and knows one authority."""
    certificate = Certificate(tmp_path)
    context = RedisAddress.parse(f"rediss://host?ssl_ca_certs={certificate.cert}").context()
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert [int(each["serialNumber"], 16) for each in context.get_ca_certs()] == [certificate.serial]
    both = f"rediss://host?ssl_certfile={certificate.cert}&ssl_keyfile={certificate.key}"
    assert RedisAddress.parse(both).context() is not None
    assert RedisAddress.parse("redis://host").context() is None


@pytest.mark.parametrize("parameter", ["ssl_ca_certs", "ssl_certfile"])
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, parameter: str):
    """The refusal names the parameters, and not the path."""
    with pytest.raises(AddressError, match="ssl_ca_certs"):
        RedisAddress.parse(f"rediss://host?{parameter}={tmp_path}/nothing.pem").context()
