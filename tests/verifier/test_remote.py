"""Which addresses may be written down, and which machines may answer for them."""

from __future__ import annotations

import pytest

from tokenkeep.verifier.remote import Target

PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]
PRIVATE = [
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "100.64.0.1",
    "fd12:3456::1",
    "fec0::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
]
NOBODY = [
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "localhost",
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "239.1.1.1",
    "ff02::1",
    "no",
]


def test_public_addresses_may_answer():
    """A host on the network is reached at public addresses, and at no others."""
    target = Target.parse("https://auth.example/jwks.json")
    assert target.permitted([*PRIVATE, *PUBLIC, *LOOPBACK, *NOBODY]) == PUBLIC


def test_private_addresses_may_answer_if_that_is_asked_for():
    """Then private addresses are as good as public ones, but never this machine, nor the metadata of a cloud."""
    target = Target.parse("https://auth.example/jwks.json", private_network=True)
    assert target.permitted([*PRIVATE, *PUBLIC, *LOOPBACK, *NOBODY]) == [*PRIVATE, *PUBLIC]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
@pytest.mark.parametrize("private_network", [False, True])
def test_loopback_is_answered_by_loopback(host: str, private_network: bool):
    """A loopback host, which may be asked in clear text, is this machine whatever its name resolves to."""
    target = Target.parse(f"http://{host}:8000/jwks.json", private_network=private_network)
    assert target.permitted([*PRIVATE, *PUBLIC, *LOOPBACK, *NOBODY]) == LOOPBACK


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "[fd12:3456::1]", "100.64.0.1", "[::ffff:10.0.0.1]"])
def test_private_address_is_written_down_on_purpose_only(address: str):
    """An address of a private network is refused at once, and the refusal names what allows it."""
    with pytest.raises(ValueError, match="private_network"):
        Target.parse(f"https://{address}/jwks.json")
    assert Target.parse(f"https://{address}/jwks.json", private_network=True).url


@pytest.mark.parametrize("address", ["169.254.169.254", "[fe80::1]", "0.0.0.0", "224.0.0.1", "[::]"])
def test_what_is_no_service_is_never_written_down(address: str):
    """Metadata services, and what stands for no machine or for many, are refused even in a private network."""
    with pytest.raises(ValueError, match="key set"):
        Target.parse(f"https://{address}/jwks.json", private_network=True)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://auth.example/.well-known/jwks.json", "auth.example", 443),
        ("https://AUTH.example:8443/jwks.json?tenant=blue", "auth.example", 8443),
        ("http://localhost:8000/jwks.json", "localhost", 8000),
        ("http://[::1]/jwks.json", "::1", 80),
    ],
)
def test_target_is_where_the_address_says(url: str, host: str, port: int):
    """Host and port are those of the address, the usual port included."""
    target = Target.parse(url)
    assert (target.url, target.host, target.port) == (url, host, port)


@pytest.mark.parametrize(
    "url",
    [
        "https://auth.example\\@evil.example/jwks.json",
        "https://auth.example\\.evil.example/jwks.json",
        "https://auth.example/jwks.json\nHost: evil.example",
        "https://auth.example/a b",
        "https://auth.example/\x00",
        "https://bücher.example/jwks.json",
        "https://auth.example:99999/jwks.json",
        "https://auth.example:port/jwks.json",
        "https://auth.example:0/jwks.json",
        "https://[::1/jwks.json",
        "https://@auth.example/jwks.json",
        "https://auth.example/jwks.json#",
    ],
    ids=repr,
)
def test_ambiguous_address_is_refused(url: str):
    """What two libraries might read in two ways is not read at all."""
    with pytest.raises(ValueError, match="key set"):
        Target.parse(url)


@pytest.mark.parametrize("url", [None, 7, b"https://auth.example/jwks.json", ["https://auth.example/jwks.json"]])
def test_address_is_text(url: object):
    """Anything but text is a mistake of the caller."""
    with pytest.raises(TypeError, match="key set"):
        Target.parse(url)  # type: ignore[arg-type]
