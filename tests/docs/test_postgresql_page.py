"""docs/postgresql.md: its numbers are those of the code, its roles are enough, and its lines are understood."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from tests.postgres_server import PostgresSchema
from tokenkeep.domain.sessions import Client, Delivery
from tokenkeep.flows.login import Credentials
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.sql import postgres
from tokenkeep.storage.sql.migrate import EXPANDING
from tokenkeep.storage.sql.postgres_address import PostgresAddress

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs/postgresql.md").read_text("utf-8")
SERVER_SECRET: Final = Secret("a-server-secret-for-tests-1f2e3d4c5b")
PASSWORD: Final = "correct-horse-battery"


def block(language: str) -> str:
    """Return what stands in the block of a language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_the_numbers_are_those_of_the_code():
    """Timeouts, runs and connections are as the page says."""
    rows = dict(re.findall(r"^\| ([^|]+) \| ([\d]+ s)[^|]* \|", PAGE, re.MULTILINE))
    assert list(rows.values()) == [
        f"{seconds:.0f} s"
        for seconds in (
            postgres.CONNECT_TIMEOUT,
            postgres.STATEMENT_TIMEOUT,
            postgres.IDLE_TIMEOUT,
            postgres.LOCK_TIMEOUT,
        )
    ]
    for words in (
        f"up to {postgres.ALONE_RUNS} times",
        f"up to {postgres.MOST_RUNS} times in all",
        "up to 10, and keeps",
    ):
        assert words in PAGE
    assert postgres.PostgresDatabase("")._connections == 10
    assert f"`0007_example{EXPANDING}`" in PAGE


def test_the_address_of_a_pooler_is_understood():
    """The address in the section about PgBouncer says that there is one."""
    [url] = re.findall(r"^postgresql://.*$", PAGE, re.MULTILINE)
    assert PostgresAddress.parse(url).pooled


@pytest.fixture
async def roles(postgres_schema: PostgresSchema) -> AsyncIterator[dict[str, str]]:
    """The two roles of the page, made by its statements; by name, the address with which each gets in."""
    names = {"tokenkeep_owner": f"{postgres_schema.name}_owner", "tokenkeep": postgres_schema.name}
    statements = block("sql").replace("SCHEMA public", f"SCHEMA {postgres_schema.name}").replace("…", PASSWORD)
    statements = re.sub(r"tokenkeep(_owner)?", lambda found: names[found[0]], statements)
    await postgres_schema.run_all(statements)
    yield {
        name: re.sub(r"//[^@/]*@", f"//{role}:{PASSWORD}@", postgres_schema.url, count=1)
        for name, role in names.items()
    }
    for role in names.values():
        await postgres_schema.run_all(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
async def test_the_role_that_serves_need_not_own_the_tables(roles: dict[str, str], tmp_path: Path):
    """With the rights on the page one role migrates, the other serves, and cannot change the schema."""
    settings = {
        name: Settings(data_dir=tmp_path / name, database_url=Secret(url), secret=SERVER_SECRET, hash_concurrency=1)
        for name, url in roles.items()
    }
    (tmp_path / "tokenkeep_owner").mkdir(0o700)
    assert await AuthServer(settings["tokenkeep_owner"]).migrate() != []
    client = Client("Firefox", "192.0.2.1")
    async with AuthServer(settings["tokenkeep"]) as server:
        await server.accounts.create("Ada", PASSWORD, role="user", actor="operator")
        services = server.graph.services
        pair = await services.login.login(
            Credentials("Ada", PASSWORD), client, delivery=Delivery.COOKIE, audience=None, replaces=None
        )
        pair = await services.refresh.refresh(pair.refresh_token, client, delivery=Delivery.COOKIE)
        assert await services.logout.logout(pair.refresh_token, client)
        await server.accounts.delete("Ada", actor="operator")
        await server.graph.purge.purge()
    connection = await asyncpg.connect(roles["tokenkeep"])
    try:
        for statement in ("CREATE TABLE own (id BIGINT)", "ALTER TABLE accounts ADD own BIGINT", "DROP TABLE sessions"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()
