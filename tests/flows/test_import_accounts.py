"""Importing accounts: everything is checked first, and what is written is whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator

import pytest

from tests.flows.stage import Stage
from tests.settable_clock import START
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import InvalidField, NameTaken
from tokenkeep.flows import import_accounts
from tokenkeep.flows.import_accounts import MOST_COMPLAINTS, NO_PASSWORD, Complaint, ImportRow, Rows, Stored

BCRYPT = "$2b$12$XsdlX6i3vkUEBtHcTvHk7eBHSFGqQ3v/FEBk6Srr.eKZ3hGmbdtd6"
ARGON2 = "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$cqEcKKNc1Z4nkKzqjTtfw6V8xNXvSGUQ9Ggw7Wb0I0k"


def rows(*names: str) -> Rows:
    """Return one row for each name, in lines of their own."""
    return lambda: [ImportRow(line, name) for line, name in enumerate(names, 1)]


async def store(
    stage: Stage, given: Rows, *, skip_existing: bool = False, told: list[Stored] | None = None
) -> list[Stored]:
    """Import rows and return what was told on the way; `told` holds it also if the import stops."""
    told = [] if told is None else told
    async for each in stage.parts.import_accounts.store(given, actor="operator", skip_existing=skip_existing):
        told.append(each)
    return told


async def complaints(stage: Stage, given: Rows, *, skip_existing: bool = False) -> list[tuple[int, str]]:
    """Return line and sentence of what a survey complains about."""
    survey = await stage.parts.import_accounts.survey(given, skip_existing=skip_existing)
    return [(complaint.line, complaint.sentence) for complaint in survey.complaints]


async def test_accounts_are_stored_as_their_rows_say(stage: Stage):
    """Name, role, hash and state are those of the row, and each account has an event of its own."""
    given = [
        ImportRow(1, "Ada@Example.org", "admin", BCRYPT),
        ImportRow(2, "Grace", password_hash=ARGON2, disabled=True),
        ImportRow(3, "Alan"),
    ]
    assert await store(stage, lambda: given) == [Stored(3, 3)]
    accounts = await stage.rows("SELECT * FROM accounts ORDER BY name_key")
    members = ("name", "name_key", "role", "password_hash", "password_kind", "disabled_at")
    assert [tuple(account[member] for member in members) for account in accounts] == [
        ("Ada@Example.org", "ada@example.org", "admin", BCRYPT, "bcrypt 12", None),
        ("Alan", "alan", "user", None, None, None),
        ("Grace", "grace", "user", ARGON2, "argon2id m=65536,t=3,p=4", START),
    ]
    for account in accounts:
        assert (account["token_version"], account["created_at"], account["last_login_at"]) == (1, START, None)
    ids = {account["name"]: account["id"] for account in accounts}
    assert len(set(ids.values())) == 3
    events = await stage.events("account_imported")
    assert [(event["account_id"], event["actor"], event["detail"]) for event in events] == [
        (ids["Ada@Example.org"], "operator", "admin"),
        (ids["Grace"], "operator", "user, disabled"),
        (ids["Alan"], "operator", "user"),
    ]


async def test_survey_counts_and_writes_nothing(stage: Stage):
    """A look at the rows tells how many accounts of which kind there are, and leaves the database alone."""
    before = await stage.contents()
    given = [ImportRow(1, "Ada", password_hash=BCRYPT), ImportRow(2, "Alan"), ImportRow(3, "Grace", disabled=True)]
    survey = await stage.parts.import_accounts.survey(lambda: given)
    assert (survey.accounts, survey.disabled, survey.existing) == (3, 1, 0)
    assert survey.kinds == {"bcrypt 12": 1, NO_PASSWORD: 2}
    assert (survey.complaints, survey.more_complaints) == ([], 0)
    assert await stage.contents() == before


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (ImportRow(7, ""), "name: The name must not be empty"),
        (ImportRow(7, "A\0da"), "name: The name must not contain control"),
        (ImportRow(7, "\u0430dmin"), "name: "),  # a Cyrillic letter among Latin ones
        (ImportRow(7, "x" * 129), "name: The name must have at most 128"),
        (ImportRow(7, "Ada", "Admin"), "role: The role must be 1 to 32 lower-case"),
        (ImportRow(7, "Ada", password_hash=""), "password_hash: The hash must be Argon2id in PHC form, or bcrypt"),
        (
            ImportRow(7, "Ada", password_hash="secret"),
            "password_hash: The hash must be Argon2id in PHC form, or bcrypt",
        ),
        (ImportRow(7, "Ada", password_hash=BCRYPT.replace("$12$", "$15$")), "password_hash: The hash costs too much"),
        (ImportRow(7, "Ada", password_hash=ARGON2.replace("65536", "2097152")), "password_hash: The hash costs too"),
        (Complaint(7, "it is no row"), "it is no row"),
    ],
)
async def test_wrong_row_is_told_by_line_and_rule(stage: Stage, row: ImportRow | Complaint, sentence: str):
    """What breaks a rule is complained of with its line, and a hash is not repeated."""
    [(line, said)] = await complaints(stage, lambda: [row])
    assert line == 7
    assert said.startswith(sentence)
    assert not isinstance(row, ImportRow) or not row.password_hash or row.password_hash not in said
    assert "password_hash" not in repr(row)


async def test_name_that_occurs_twice_is_told_with_both_lines(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Names that read the same in one file are found, in whichever batches they are."""
    monkeypatch.setattr(import_accounts, "BATCH", 2)
    given = rows("Ada", "Grace", "Alan", "ADA", "Charles", "ａｄａ", "grace")
    assert await complaints(stage, given) == [
        (4, "name: The name reads the same as that of line 1"),
        (6, "name: The name reads the same as that of line 1"),
        (7, "name: The name reads the same as that of line 2"),
    ]


async def test_names_of_one_digest_are_not_one_name(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Names are compared themselves before it is said that they are alike."""
    monkeypatch.setattr(import_accounts, "_digest", lambda _name_key: 7)
    assert await complaints(stage, rows("Ada", "Grace", "ada")) == [
        (3, "name: The name reads the same as that of line 1")
    ]


async def test_existing_name_is_complained_of_or_passed_over(stage: Stage, ada: Account):
    """An account that is there already is never changed: it is a complaint, unless it is to be skipped."""
    assert await complaints(stage, rows("Grace", "ADA")) == [(2, "name: Name already taken")]
    survey = await stage.parts.import_accounts.survey(rows("Grace", "ADA"), skip_existing=True)
    assert (survey.accounts, survey.existing, survey.complaints) == (1, 1, [])
    before = await stage.account()
    assert await store(stage, rows("Grace", "ADA"), skip_existing=True) == [Stored(2, 1)]
    assert await stage.account() == before


async def test_complaints_are_bounded_and_in_order(stage: Stage, ada: Account):
    """The first complaints are told, the others counted: a file of the wrong form is no flood."""
    given = rows("Ada", *["" for _ in range(MOST_COMPLAINTS + 30)])
    survey = await stage.parts.import_accounts.survey(given)
    assert len(survey.complaints) == MOST_COMPLAINTS
    assert survey.more_complaints == 31
    assert [complaint.line for complaint in survey.complaints] == sorted(each.line for each in survey.complaints)


async def test_batches_are_whole(stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch):
    """When a name turns out to be taken, nothing of its batch is stored, and everything before it is."""
    monkeypatch.setattr(import_accounts, "BATCH", 2)
    told: list[Stored] = []
    with pytest.raises(NameTaken, match="line 4"):
        await store(stage, rows("One", "Two", "Three", "ada", "Five"), told=told)
    assert told == [Stored(2, 2)]
    assert [row["name"] for row in await stage.rows("SELECT name FROM accounts ORDER BY name")] == ["Ada", "One", "Two"]
    assert len(await stage.events("account_imported")) == 2
    assert await store(stage, rows("One", "Two", "Three", "Four"), skip_existing=True) == [Stored(2, 0), Stored(4, 2)]


async def test_rows_that_changed_since_the_survey_are_refused(stage: Stage):
    """Rows are held to the rules again when they are written."""
    with pytest.raises(InvalidField, match="line 1"):
        await store(stage, lambda: [ImportRow(1, "Ada", password_hash="plain text")])
    assert await stage.rows("SELECT * FROM accounts") == []


async def test_progress_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Both passes say how far they are after each batch."""
    monkeypatch.setattr(import_accounts, "BATCH", 2)
    seen: list[int] = []
    await stage.parts.import_accounts.survey(rows("One", "Two", "Three"), progress=seen.append)
    assert seen == [2, 3]
    assert [stored.line for stored in await store(stage, rows("One", "Two", "Three"))] == [2, 3]


async def test_memory_does_not_grow_with_the_rows(stage: Stage):
    """Twenty times as many rows take no more memory than a few bytes for each."""

    def many(count: int) -> Iterator[ImportRow]:
        return (ImportRow(number, f"name-{number}", password_hash=BCRYPT) for number in range(1, count + 1))

    async def peak(count: int) -> int:
        tracemalloc.start()
        await stage.parts.import_accounts.survey(lambda: many(count))
        [_, most] = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, lots = await peak(1_000), await peak(20_000)
    assert lots - few < 19_000 * 100


def test_rows_are_not_read_ahead():
    """A batch is taken from the file when it is needed, not the whole file."""
    read: list[int] = []

    def lines() -> Iterable[ImportRow]:
        for number in range(1, 10_000):
            read.append(number)
            yield ImportRow(number, f"name-{number}")

    batch = next(import_accounts._batches(lines()))
    assert len(batch) == len(read) == import_accounts.BATCH
