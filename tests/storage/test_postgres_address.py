"""How an address of PostgreSQL is read, and that nothing of an unreadable one is repeated."""

from __future__ import annotations

import pytest

from tokenkeep.storage.address_error import AddressError
from tokenkeep.storage.sql.postgres_address import PORT, SOCKETS, PostgresAddress

PASSWORD = "canary-password-9f3"

READ = [
    ("postgresql://", tuple((each, PORT) for each in SOCKETS), ""),
    ("postgresql:///name", tuple((each, PORT) for each in SOCKETS), "name"),
    ("postgresql://host/name", (("host", PORT),), "name"),
    ("postgresql://user:word@host:5433/name", (("host", 5433),), "name"),
    ("postgresql://user@one,two:1,three/", (("one", PORT), ("two", 1), ("three", PORT)), ""),
    ("postgresql://one,two/name?port=1,2", (("one", 1), ("two", 2)), "name"),
    ("postgresql://one:7,two/name?port=9", (("one", 9), ("two", 9)), "name"),
    ("postgresql://[::1]/name", (("::1", PORT),), "name"),
    ("postgresql://user@[2001:db8::5]:5433/name", (("2001:db8::5", 5433),), "name"),
    ("postgresql://user@/name?host=/run/pg", (("/run/pg", PORT),), "name"),
    ("postgresql://user@/?host=/run/pg&port=5433&dbname=name", (("/run/pg", 5433),), "name"),
    ("postgresql://user@/?host=/run/pg&database=name", (("/run/pg", PORT),), "name"),
    ("postgresql://%2Frun%2Fpg/na%20me", (("/run/pg", PORT),), "na me"),
    ("postgresql://host/name?host=other", (("host", PORT),), "name"),
    ("postgresql://user:a%40b%2Fc%3Fd%23e:f@host/name", (("host", PORT),), "name"),
]


@pytest.mark.parametrize(("url", "hosts", "database"), READ)
def test_hosts_and_database_are_read(url: str, hosts: tuple[tuple[str, int], ...], database: str):
    """Names, addresses and sockets are found wherever PostgreSQL's own clients let them stand."""
    address = PostgresAddress.parse(url)
    assert (address.hosts, address.database) == (hosts, database)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:{password}/more@host/name",
        "postgresql://user:1/{password}@host/name",
        "postgresql://user:1?{password}@host/name",
        "postgresql://user:{password}#@host/name",
        "postgresql://user:1#{password}@host/name",
        "postgresql://user:{password}@more@host/name",
        "postgresql://user:1@{password}@host/name",
        "postgresql://user:{password}@host:five/name",
        "postgresql://user:{password}@host:0/name",
        "postgresql://user:{password}@host:65536/name",
        "postgresql://user:{password}@host:-1/name",
        "postgresql://user:{password}@[::1/name",
        "postgresql://user:{password}@[::1]5432/name",
        "postgresql://user:{password}@host,/name",
        "postgresql://user:{password}@one,two/name?port=1,2,3",
        "postgresql://user:{password}@host/name?port=x",
        "postgresql://user:{password}@host/name?nothing",
        "postgresql://user:{password}@ho st/name",
        "postgresql://user:{password}@ho%0Ast/name",
        "postgresql://user:{password}@ho\nst/name",
        "postgresql://user:{password}@host/name?sslmode={password}",
        "postgresql://user:{password}@host/name?sslmode=",
        "postgresql://user:{password}@host/name?ssl_min_protocol_version=TLSv1",
        "postgresql://user:{password}@host/name?service=other",
        "postgresql://user:{password}@host/name?pgbouncer={password}",
        "postgresql://user:{password}@host/name?pgbouncer=true&search_path={password}",
    ],
)
def test_what_cannot_be_read_is_refused_without_being_repeated(url: str):
    """An address that could be read in two ways, or in none, is refused with the way to write it, and not shown."""
    with pytest.raises(AddressError) as refused:
        PostgresAddress.parse(url.format(password=PASSWORD))
    assert refused.value.found
    assert refused.value.fix
    for part in (PASSWORD, "more", "host/", "five"):
        assert part not in refused.value.found


def test_an_address_does_not_show_its_password():
    """Neither its repr nor what a person is shown of it holds the password, wherever it stands."""
    address = PostgresAddress.parse(f"postgresql://user:{PASSWORD}@127.0.0.1,host,%2Frun/name?password={PASSWORD}")
    assert PASSWORD not in repr(address)
    assert address.where == "127.0.0.1:5432, host:5432, /run"


@pytest.mark.parametrize(
    ("url", "local", "mode", "verified"),
    [
        ("postgresql:///name", True, "prefer", False),
        ("postgresql://localhost/name", True, "prefer", False),
        ("postgresql://localhost/name?sslmode=verify-full", True, "verify-full", True),
        ("postgresql://127.0.0.1,localhost/name", True, "prefer", False),
        ("postgresql://user@/name?host=/run/pg", True, "prefer", False),
        ("postgresql://db/name", False, "verify-full", True),
        ("postgresql://localhost,db/name", False, "verify-full", True),
        ("postgresql://user@/name?host=/run/pg,db", False, "verify-full", True),
        ("postgresql://db/name?sslmode=verify-ca", False, "verify-ca", False),
        ("postgresql://db/name?sslmode=disable", False, "disable", False),
    ],
)
def test_what_leaves_the_machine_is_verified(url: str, local: bool, mode: str, verified: bool):
    """Where the address does not say, TLS is verified as soon as one host is not this machine."""
    address = PostgresAddress.parse(url)
    assert (address.local, address.mode, address.verified) == (local, mode, verified)


@pytest.mark.parametrize(
    ("url", "pooled", "read_by_driver"),
    [
        ("postgresql:///name", False, "postgresql:///name"),
        ("postgresql:///name?pgbouncer=true", True, "postgresql:///name?"),
        (
            "postgresql://host/name?pgbouncer=false&application_name=x",
            False,
            "postgresql://host/name?application_name=x",
        ),
        (
            "postgresql://u:p%40@h/n?sslmode=require&pgbouncer=true&port=6432",
            True,
            "postgresql://u:p%40@h/n?sslmode=require&port=6432",
        ),
    ],
)
def test_that_a_pooler_lies_between_is_not_told_to_the_server(url: str, pooled: bool, read_by_driver: str):
    """`pgbouncer` is for us alone; nothing else of the address is touched."""
    address = PostgresAddress.parse(url)
    assert (address.pooled, address.url) == (pooled, read_by_driver)


def test_what_a_pooler_would_not_keep_is_refused():
    """A setting of the session would be somebody else's after the next transaction: it belongs to the role."""
    PostgresAddress.parse("postgresql://host/name?search_path=own")
    with pytest.raises(AddressError, match="ALTER ROLE"):
        PostgresAddress.parse("postgresql://host/name?search_path=own&pgbouncer=true")
