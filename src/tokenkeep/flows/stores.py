"""The stores that flows need inside a transaction, as protocols; `storage` implements them.

A method is one atomic operation and is named by it. Not here: the transaction itself (`flows.ports`).
"""

from __future__ import annotations

from typing import Protocol

from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import Event, EventFilter
from tokenkeep.domain.history import Position
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.password_hashes import HashCost
from tokenkeep.domain.revocations import NumberedRevocation, Revocation
from tokenkeep.domain.server_processes import ServerProcess
from tokenkeep.domain.sessions import EndReason, Session
from tokenkeep.domain.signing_keys import KeyRecord, KeyState, SigningKey


class AccountReader(Protocol):
    """Finds accounts."""

    async def find(self, account_id: AccountId) -> Account | None:
        """Return the account with that id."""

    async def find_by_name(self, name_key: str) -> Account | None:
        """Return the account whose name has that key."""

    async def page(self, after: str, limit: int) -> list[Account]:
        """Return accounts in the order of their name keys, from the first one after `after`."""

    async def count(self) -> int:
        """Return how many accounts there are."""

    async def password_kinds(self) -> list[HashCost]:
        """Return the kinds of usable password hashes that are stored, each once."""


class AccountStore(AccountReader, Protocol):
    """Finds and changes accounts. A change that ends access tokens raises the token version in the same statement."""

    async def add(self, account: Account) -> bool:
        """Store a new account; False if its name is taken."""

    async def claim_for_login(self, account: Account, *, password_hash: str, now: int) -> bool:
        """Take the account's row for a login, storing `password_hash`.

        False if the account was disabled, or its password or token version changed, since it was read; and if its
        password is a temporary one, which opens nothing.
        """

    async def set_password(
        self, account_id: AccountId, *, password_hash: str, expires_at: int | None = None
    ) -> Account | None:
        """Replace the password and raise the token version; returns the account as it now is.

        With `expires_at` the password is a temporary one until then; otherwise it lasts.
        """

    async def change_password(
        self, account: Account, *, password_hash: str, login_at: int | None = None
    ) -> Account | None:
        """Set a lasting password as `set_password` does; None if the account was disabled or changed since it was read.

        `login_at` is when somebody logged in with it, if that is how it came.
        """

    async def end_tokens(self, account_id: AccountId) -> Account | None:
        """Raise the token version of an enabled account; returns the account as it now is."""

    async def delete(self, account_id: AccountId) -> Account | None:
        """Delete an account and its sessions; returns it as it last was."""

    async def set_role(self, account_id: AccountId, *, role: str) -> Account | None:
        """Replace the role and raise the token version; returns the account as it now is."""

    async def disable(self, account_id: AccountId, *, now: int) -> Account | None:
        """Disable an enabled account and raise its token version; None if there is no such enabled account."""

    async def enable(self, account_id: AccountId) -> Account | None:
        """Enable a disabled account; None if there is no such disabled account."""

    async def raise_token_versions(self) -> int:
        """Raise the token version of every account; returns how many there are."""


class AdministratorStore(Protocol):
    """Keeps hold of those who may act as administrators, until the transaction has ended."""

    async def take(self, account_id: AccountId, *, token_version: int) -> bool:
        """Take the row of an enabled administrator; False if the account is none, or has another token version."""

    async def take_all(self) -> list[AccountId]:
        """Take the rows of all who can log in and act as administrators, and return who they are."""


class SessionReader(Protocol):
    """Finds sessions."""

    async def find_with_account(self, session_id: SessionId) -> tuple[Session, Account] | None:
        """Return the session and the account it belongs to."""

    async def live_of(self, account_id: AccountId, *, now: int) -> list[Session]:
        """Return an account's live sessions, the last used first."""

    async def latest(self, *, now: int, limit: int) -> list[tuple[Session, Account]]:
        """Return up to `limit` live sessions of anybody, the last used first, and whose they are."""

    async def unended(self, after: str, *, begun_by: int, limit: int) -> list[Session]:
        """Return sessions begun by an instant that nobody has ended, ordered by id, from the one after `after`."""

    async def count_live(self, *, now: int) -> int:
        """Return how many sessions are neither ended nor expired."""

    async def login_addresses(self, account_id: AccountId, *, since: int) -> list[str]:
        """Return the addresses from which an account has logged in since an instant."""


class SessionStore(SessionReader, Protocol):
    """Finds and changes sessions. Every change is one conditional UPDATE whose row count decides."""

    async def add(self, session: Session) -> None:
        """Store a new session, in the transaction that claimed its account."""

    async def advance(self, session: Session, successor: Session, *, event: Event) -> bool:
        """Replace a session by its successor, and store the event; False if it moved or ended since it was read."""

    async def touch(self, session: Session, *, event: Event) -> bool:
        """Take a session's row for its last use, and store the event; False if it moved or ended since it was read."""

    async def end(self, session_id: SessionId, reason: EndReason, *, now: int) -> bool:
        """End a session; False if it had ended before."""

    async def end_all(self, account_id: AccountId, reason: EndReason, *, now: int) -> int:
        """End every session of an account; returns how many."""

    async def end_surplus(
        self, opened: Session, reason: EndReason, *, most: int, limit: int, now: int
    ) -> list[Session]:
        """End up to `limit` live sessions of an account that are not among the `most` last used, the others kept.

        The one just opened, whose account this transaction has taken, is kept and counted, whenever it was used.
        Returns those that ended, the least recently used first, which are also the first to end.
        """

    async def end_everyones(self, reason: EndReason, *, now: int) -> int:
        """End every session there is; returns how many."""

    async def purge(self, *, over_before: int, begun_before: int, limit: int) -> int:
        """Forget up to `limit` sessions that began and were over, for good, before these instants; returns how many."""


class SigningKeyStore(Protocol):
    """Keeps signing keys, their private parts sealed."""

    async def add(self, signing_key: SigningKey) -> bool:
        """Store a new key; False if another process has just filled that state."""

    async def published(self) -> list[SigningKey]:
        """Return the keys that verifiers are given, oldest first; a key that did not change is the same object again.

        Raises:
            SecretMismatch: a stored key does not open with the configured server secret.
        """

    async def records(self, *, ended: int = 0) -> list[KeyRecord]:
        """Return what is remembered of the published keys, and of the `ended` that ended last, oldest first.

        No private part is opened.
        """

    async def find(self, key_id: str) -> KeyRecord | None:
        """Return what is remembered of one key."""

    async def request(self, key_id: str, *, now: int) -> bool:
        """Note that the upcoming key is to sign as soon as that is safe; False if that was noted, or it is not it."""

    async def activate(self, key_id: str, *, now: int) -> bool:
        """Have the upcoming key sign from now on; False if it is not the upcoming one any more."""

    async def deactivate(self, key_id: str, *, now: int) -> bool:
        """Have the active key sign no more, and stay published; False if it is not the active one any more."""

    async def end(self, record: KeyRecord, state: KeyState, *, now: int) -> bool:
        """Take a key from verifiers for good, and forget its private part; False if it moved since it was read."""


class RevocationStore(Protocol):
    """Keeps the append-only list of revocations."""

    async def append(self, revocation: Revocation) -> None:
        """Append one, numbered without gaps in commit order. The last operation of its transaction."""

    async def after(self, number: int, *, now: int) -> list[NumberedRevocation]:
        """Return the unexpired ones with a greater number, in order."""

    async def position(self) -> Position:
        """Return where the list stands; the epoch is empty in a database that has never been served."""

    async def begin_first_epoch(self, epoch: str) -> bool:
        """Begin the history of a new database under this name; False if it has begun."""

    async def begin_epoch(self, epoch: str) -> None:
        """Begin a new history under this name."""

    async def longest_access_life(self) -> int:
        """Return the longest access-token life, in milliseconds, ever configured on this database."""

    async def register_access_life(self, life: int) -> None:
        """Remember the longest access-token life, in milliseconds, ever configured on this database."""

    async def purge(self, *, before: int, limit: int) -> int:
        """Forget up to `limit` revocations that expired before an instant; returns how many."""


class ServerProcessStore(Protocol):
    """Keeps who serves the database just now."""

    async def take_turn(self) -> None:
        """Wait until nobody else who has taken a turn is still at it; the turn ends with the transaction."""

    async def note(self, process: ServerProcess) -> None:
        """Store that a process is there."""

    async def all(self) -> list[ServerProcess]:
        """Return all that are stored."""

    async def forget(self, process_id: str) -> None:
        """Forget one."""

    async def forget_lost(self, *, before: int) -> int:
        """Forget those that were last seen before an instant; returns how many."""


class AuditLog(Protocol):
    """Keeps events with the changes they tell of."""

    async def record(self, event: Event) -> None:
        """Store an event in this transaction."""

    async def search(self, wanted: EventFilter) -> list[Event]:
        """Return the newest events that fit, the newest first."""

    async def purge(self, *, before: int, limit: int) -> int:
        """Forget up to `limit` events older than an instant; returns how many."""
