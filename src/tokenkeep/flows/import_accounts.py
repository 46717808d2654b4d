"""Import accounts of another system with their password hashes: every row is checked before the first is written.

Rows are read as they come, twice, and never held all at once. Not here: the file they are in (`cli`).
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeAlias

from tokenkeep.domain.accounts import DEFAULT_ROLE, Account, check_new_name, parse_role
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.errors import InvalidField, NameTaken
from tokenkeep.domain.identifiers import ID_SIZE, account_id
from tokenkeep.domain.password_hashes import cost_of, read_hash
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.ports import Storage, Transaction

BATCH: Final = 500
"""Accounts written in one transaction: all of them, or none."""
MOST_COMPLAINTS: Final = 20
"""Complaints that are kept; more are counted."""
NO_PASSWORD: Final = "without a password"
"""The kind of accounts that nobody can log in to until a password is set."""


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One account to import, and the line it stands in."""

    line: int
    name: str
    role: str = DEFAULT_ROLE
    password_hash: str | None = field(default=None, repr=False)
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with a line."""

    line: int
    sentence: str


Rows: TypeAlias = Callable[[], Iterable[ImportRow | Complaint]]
"""Begins to read the rows from the first one, each time it is called; a line that is no row is a complaint."""


@dataclass(slots=True)
class Survey:
    """What a look at all rows found. Nothing may be imported while there are complaints."""

    accounts: int = 0
    existing: int = 0
    disabled: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    complaints: list[Complaint] = field(default_factory=list)
    more_complaints: int = 0

    def complain(self, line: int, sentence: str) -> None:
        """Keep a complaint, or count it."""
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(Complaint(line, sentence))
        else:
            self.more_complaints += 1


@dataclass(frozen=True, slots=True)
class Stored:
    """How far an import has come, durably: up to which line, and how many accounts were added."""

    line: int
    accounts: int


class ImportAccounts:
    """Adds accounts that bring their password hashes along."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def survey(
        self, rows: Rows, *, skip_existing: bool = False, progress: Callable[[int], None] = lambda _line: None
    ) -> Survey:
        """Look at every row, and write nothing.

        Args:
            skip_existing: whether a name that an account here has is passed over, or complained about.
            progress: called with the last line of each batch.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        survey = Survey()
        # Eight bytes of each name: enough to suspect those that occur twice, whatever the length of the file.
        seen = array("Q")
        for batch in _batches(rows()):
            checked = list(_checked(batch, survey))
            seen.extend(_digest(account.name_key) for _, account in checked)
            existing = await self._storage.read(_existing, [account.name_key for _, account in checked])
            for row, account in checked:
                if account.name_key not in existing:
                    survey.accounts += 1
                    survey.disabled += row.disabled
                    survey.kinds[_kind(account)] += 1
                elif skip_existing:
                    survey.existing += 1
                else:
                    survey.complain(row.line, "name: Name already taken")
            progress(batch[-1].line)
        _complain_of_repetitions(rows, seen, survey)
        survey.complaints.sort(key=lambda complaint: complaint.line)
        return survey

    async def store(self, rows: Rows, *, actor: str, skip_existing: bool = False) -> AsyncIterator[Stored]:
        """Add the accounts in batches, each all or nothing, and tell after each how far everything is stored.

        To be called when a survey of the same rows had no complaint.

        Raises:
            InvalidField: the rows have changed since they were looked at; their batch is not stored.
            NameTaken: a name was taken since; its batch is not stored.
            StorageUnavailable: the database did not answer; what was told as stored is.
        """
        add_all = partial(_add_all, actor=actor, skip_existing=skip_existing)
        stored = 0
        for batch in _batches(rows()):
            survey = Survey()
            checked = list(_checked(batch, survey))
            for complaint in survey.complaints:
                raise InvalidField(f"line {complaint.line}", f"{complaint.sentence} (the file has changed)")
            stored += await self._storage.transact(add_all, checked)
            yield Stored(batch[-1].line, stored)


def _batches(rows: Iterable[ImportRow | Complaint]) -> Iterator[list[ImportRow | Complaint]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, BATCH)):
        yield batch


def _checked(batch: Iterable[ImportRow | Complaint], survey: Survey) -> Iterator[tuple[ImportRow, Account]]:
    """Yield the rows that obey the rules, each with its account, and complain of the others."""
    for row in batch:
        if isinstance(row, Complaint):
            survey.complain(row.line, row.sentence)
            continue
        try:
            name = check_new_name(row.name)
            role = parse_role(row.role)
            if row.password_hash is not None:
                read_hash(row.password_hash)
        except InvalidField as error:
            survey.complain(row.line, f"{error.field}: {error.sentence}")
            continue
        raw_id = secrets.token_bytes(ID_SIZE)
        yield row, Account(account_id(raw_id), name.display, name.key, role, 1, 0, row.password_hash)


def _complain_of_repetitions(rows: Rows, seen: array[int], survey: Survey) -> None:
    suspects = {one for one, next_one in itertools.pairwise(sorted(seen)) if one == next_one}
    if not suspects:
        return
    first: dict[str, int] = {}
    for row, account in _checked(rows(), Survey()):
        if _digest(account.name_key) in suspects:
            line = first.setdefault(account.name_key, row.line)
            if line != row.line:
                survey.complain(row.line, f"name: The name reads the same as that of line {line}")


def _digest(name_key: str) -> int:
    return int.from_bytes(hashlib.blake2b(name_key.encode(), digest_size=8).digest())


def _kind(account: Account) -> str:
    cost = cost_of(account.password_hash)
    return NO_PASSWORD if cost is None else str(cost)


async def _existing(tx: Transaction, name_keys: list[str]) -> set[str]:
    return {name_key for name_key in name_keys if await tx.accounts.find_by_name(name_key) is not None}


async def _add_all(
    tx: Transaction, checked: list[tuple[ImportRow, Account]], *, actor: str, skip_existing: bool
) -> int:
    added = 0
    for row, account in checked:
        dated = replace(account, created_at=tx.now, disabled_at=tx.now if row.disabled else None)
        if await tx.accounts.add(dated):
            detail = f"{dated.role}, disabled" if row.disabled else dated.role
            await tx.audit.record(
                Authority(actor).event(EventKind.ACCOUNT_IMPORTED, tx.now, account_id=dated.id, detail=detail)
            )
            added += 1
        elif not skip_existing:
            raise NameTaken(f"line {row.line}: the name was taken in the meantime")
    return added
