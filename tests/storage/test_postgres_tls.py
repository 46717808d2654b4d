"""The way to a PostgreSQL elsewhere: the driver verifies who answers before it says anything.

The PostgreSQL of the wheel speaks no TLS; a front in this process does, with real certificates, before the real server.
`0.0.0.0` is an address that is not this machine's loopback, and leads to it all the same.
"""

from __future__ import annotations

import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.postgres_front import PostgresFront, fronted
from tests.storage.contracts import rows
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.storage.sql.postgres import PostgresDatabase

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("postgres")]

PASSWORD = "canary-password-9f3"
Open = Callable[[ssl.SSLContext | None], PostgresFront]


@pytest.fixture
def front(postgres_socket: str) -> Iterator[Open]:
    """Opens a front before the real server."""
    with ExitStack() as opened:
        yield lambda tls: opened.enter_context(fronted(postgres_socket, tls))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority that the address names."""
    return Authority(tmp_path)


def address(host: str, front: PostgresFront, **parameters: object) -> str:
    """Return the address of a front, by one of the names of this machine."""
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"postgresql://postgres:{PASSWORD}@{host}:{front.port}/postgres?{query}"


async def check_served(url: str) -> None:
    """Connect and ask something."""
    database = PostgresDatabase(url)
    try:
        await database.open()
        assert await rows(database, "SELECT 7::bigint AS seven") == [{"seven": 7}]
    finally:
        await database.close()


async def check_refused(url: str, front: PostgresFront, *words: str) -> None:
    """Connect in vain: the refusal has these words and no password, and the server has not heard who we are."""
    database = PostgresDatabase(url)
    with pytest.raises(StorageUnavailable) as refused:
        await database.open()
    await database.close()
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))
    for word in words:
        assert word in str(refused.value)
    assert front.heard == 0


@pytest.mark.parametrize(
    ("host", "parameters"),
    [("0.0.0.0", {}), ("0.0.0.0", {"sslmode": "verify-full"}), ("localhost", {"sslmode": "verify-full"})],
)
async def test_a_server_that_proves_who_it_is_is_used(front: Open, authority: Authority, host: str, parameters):
    """Elsewhere without being asked to, and here if asked to, the connection is TLS with a verified certificate."""
    opened = front(authority.server("localhost", "0.0.0.0"))
    await check_served(address(host, opened, sslrootcert=authority.file, **parameters))
    assert opened.secured > 0


@pytest.mark.parametrize(
    ("flaw", "word"),
    [
        ("another authority", "unable to get local issuer certificate"),
        ("another name", "0.0.0.0"),
        ("expired", "certificate has expired"),
        ("no TLS", "does not offer TLS"),
    ],
)
async def test_a_server_that_does_not_is_told_nothing(
    front: Open, authority: Authority, tmp_path: Path, flaw: str, word: str
):
    """An impostor hears neither name nor password, and the line says what is wrong with its certificate."""
    (tmp_path / "other").mkdir()
    opened = front(
        {
            "another authority": lambda: Authority(tmp_path / "other", "impostor").server("0.0.0.0"),
            "another name": lambda: authority.server("localhost", "127.0.0.1"),
            "expired": lambda: authority.server("0.0.0.0", until=datetime(2026, 1, 1, tzinfo=UTC)),
            "no TLS": lambda: None,
        }[flaw]()
    )
    for chosen in ({}, {"sslmode": "verify-full"}):
        await check_refused(address("0.0.0.0", opened, sslrootcert=authority.file, **chosen), opened, word, "0.0.0.0")


async def test_an_authority_that_nobody_named_is_not_trusted(front: Open, authority: Authority):
    """Without `sslrootcert` those of the operating system count, which do not know this one."""
    opened = front(authority.server("0.0.0.0"))
    for parameters in ({}, {"sslrootcert": "system"}):
        await check_refused(address("0.0.0.0", opened, **parameters), opened, "certificate", "sslrootcert")


async def test_the_environment_does_not_weaken_it(
    front: Open, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """`PGSSLMODE`, `PGSSLROOTCERT`, `PGHOST` and a service file change nothing: the address alone was judged."""
    (tmp_path / "services").write_text("[other]\nhost=localhost\nsslmode=disable\n")
    (tmp_path / "other").mkdir()
    impostor = Authority(tmp_path / "other", "impostor")
    opened = front(impostor.server("0.0.0.0"))
    for name, value in {
        "PGSSLMODE": "disable",
        "PGSSLROOTCERT": str(impostor.file),
        "PGHOST": "localhost",
        "PGPORT": "1",
        "PGSERVICE": "other",
        "PGSERVICEFILE": str(tmp_path / "services"),
    }.items():
        monkeypatch.setenv(name, value)
    await check_refused(address("0.0.0.0", opened, sslrootcert=authority.file), opened, "certificate")


async def test_verify_ca_leaves_out_the_name_alone(front: Open, authority: Authority, tmp_path: Path):
    """The weaker mode takes a certificate for another name, and still none of another authority."""
    opened = front(authority.server("db.example.com"))
    await check_served(address("0.0.0.0", opened, sslmode="verify-ca", sslrootcert=authority.file))
    (tmp_path / "other").mkdir()
    impostor = front(Authority(tmp_path / "other", "impostor").server("0.0.0.0"))
    url = address("0.0.0.0", impostor, sslmode="verify-ca", sslrootcert=authority.file)
    await check_refused(url, impostor, "certificate")


async def test_a_revoked_certificate_is_refused(front: Open, authority: Authority):
    """With `sslcrl` the list of revoked certificates counts; one that is not on it is accepted."""
    theirs = authority.issue("0.0.0.0")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(theirs)
    opened = front(context)
    url = address("0.0.0.0", opened, sslrootcert=authority.file, sslcrl=authority.revoke(theirs))
    await check_refused(url, opened, "revoked")
    authority.revoke(authority.issue("db.example.com"))
    await check_served(url)


async def test_a_certificate_of_our_own_is_shown(front: Open, authority: Authority):
    """A server that wants one from its clients gets that of `sslcert`; without, it lets nobody in."""
    opened = front(authority.server("0.0.0.0", ask_clients=True))
    await check_refused(address("0.0.0.0", opened, sslrootcert=authority.file), opened, "hangs up")
    ours = authority.issue("tokenkeep")
    await check_served(address("0.0.0.0", opened, sslrootcert=authority.file, sslcert=ours, sslkey=ours))
    closed = authority.issue("tokenkeep", password=b"word")
    await check_served(
        address("0.0.0.0", opened, sslrootcert=authority.file, sslcert=closed, sslkey=closed, sslpassword="word")
    )


@pytest.mark.parametrize("parameter", ["sslrootcert", "sslcrl", "sslcert"])
async def test_files_that_cannot_be_used_are_named(front: Open, authority: Authority, tmp_path: Path, parameter: str):
    """A missing file or a damaged one ends the start with the reason; an encrypted key asks nobody for a password."""
    (tmp_path / "damaged").write_text("no certificate")
    opened = front(authority.server("0.0.0.0"))
    flawed = [tmp_path / "missing", tmp_path / "damaged"]
    if parameter == "sslcert":
        flawed.append(authority.issue("tokenkeep", password=b"word"))
    for file in flawed:
        url = address("0.0.0.0", opened, **{"sslrootcert": authority.file, parameter: file})
        await check_refused(url, opened, "cannot be used", "sslrootcert")
