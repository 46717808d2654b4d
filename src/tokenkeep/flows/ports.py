"""What flows need from outside: a clock, storage with its stores, a password hasher and judge. Protocols only.

`storage` and `passwords` implement them. A store method is one atomic operation and is named by it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, TypeVarTuple

from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import Event, EventFilter
from tokenkeep.domain.history import Position
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.limits import Quota
from tokenkeep.domain.password_hashes import HashCost
from tokenkeep.domain.password_strength import Strength
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import EndReason, Session
from tokenkeep.domain.signing_keys import SigningKey

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Clock(Protocol):
    """The two clocks of a process."""

    def now(self) -> int:
        """Return the wall clock in milliseconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps."""


class RateLimiter(Protocol):
    """Counts attempts, atomically. Keys and names are text of any length, from strangers: only digests are kept."""

    async def spend(self, quota: Quota, key: str) -> int:
        """Count an attempt against a key's quota; 0 if there was room, else seconds until there is."""

    async def refund(self, quota: Quota, key: str) -> None:
        """Uncount an attempt that was counted against a key's quota."""

    async def begin(self, name: str) -> int:
        """Count an attempt that will probably fail; 0 if it may be made, else seconds until one may."""

    async def forgive(self, name: str) -> None:
        """Forget the attempts under a name, since one succeeded."""

    async def take_back(self, name: str) -> None:
        """Uncount the attempt that was begun last under a name, since it was not made."""


class PasswordHasher(Protocol):
    """Hashes passwords and checks them, off the event loop and a bounded number at a time."""

    async def hash(self, password: str) -> str:
        """Return the hash to be stored.

        Raises:
            HashingBusy: too many are waiting.
        """

    async def verify(self, stored: str | None, password: str) -> bool:
        """Tell whether the password has the stored hash; without a usable one, do the same work and answer no.

        A no is not said before the time of the slowest kind of hash that is stored.

        Raises:
            HashingBusy: too many are waiting.
        """

    async def expect(self, stored: Collection[HashCost]) -> None:
        """Learn which kinds of hashes are stored, and how long the slowest of them takes.

        Raises:
            HashingBusy: too many are waiting.
        """

    def outdated(self, stored: str) -> bool:
        """Tell whether a hash was made in another way than new ones are."""


class StrengthJudge(Protocol):
    """Judges how easily a new password is guessed, off the event loop."""

    async def judge(self, password: str, context: Sequence[str]) -> Strength:
        """Return how strong a password is for somebody about whom a guesser knows the words of `context`.

        Raises:
            HashingBusy: too many are waiting.
        """


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

        False if the account was disabled, or its password or token version changed, since it was read.
        """

    async def set_password(self, account_id: AccountId, *, password_hash: str) -> Account | None:
        """Replace the password and raise the token version; returns the account as it now is."""

    async def change_password(self, account: Account, *, password_hash: str) -> Account | None:
        """Do what `set_password` does; None if the account was disabled or changed since it was read."""

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
        """Take the rows of all enabled administrators, and return who they are."""


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

    async def revoke_published(self) -> list[str]:
        """Revoke every key that verifiers are given; returns their ids."""


class SecretMismatch(Exception):
    """The configured server secret does not open what is stored."""


@dataclass(frozen=True, slots=True)
class NumberedRevocation:
    """A revocation with its place in the order of commits, and until when it is kept (milliseconds, UTC)."""

    number: int
    expires_at: int
    revocation: Revocation


class RevocationStore(Protocol):
    """Keeps the append-only list of revocations."""

    async def append(self, revocation: Revocation) -> None:
        """Append one, numbered without gaps in commit order. The last operation of its transaction."""

    async def after(self, number: int, *, now: int) -> list[NumberedRevocation]:
        """Return the unexpired ones with a greater number, in order."""

    async def position(self) -> Position:
        """Return where the list stands; the epoch is empty in a database that has never been served."""

    async def begin_epoch(self, epoch: str) -> None:
        """Begin a new history under this name."""

    async def longest_access_life(self) -> int:
        """Return the longest access-token life, in milliseconds, ever configured on this database."""

    async def register_access_life(self, life: int) -> None:
        """Remember the longest access-token life, in milliseconds, ever configured on this database."""

    async def purge(self, *, before: int, limit: int) -> int:
        """Forget up to `limit` revocations that expired before an instant; returns how many."""


class AuditLog(Protocol):
    """Keeps events with the changes they tell of."""

    async def record(self, event: Event) -> None:
        """Store an event in this transaction."""

    async def search(self, wanted: EventFilter) -> list[Event]:
        """Return the newest events that fit, the newest first."""

    async def purge(self, *, before: int, limit: int) -> int:
        """Forget up to `limit` events older than an instant; returns how many."""


class HighWaterMark(Protocol):
    """Remembers, outside the database, how far its history had come."""

    def read(self) -> Position | None:
        """Return the mark; None if there is none yet."""

    def write(self, position: Position) -> None:
        """Replace the mark, whole or not at all."""


class Transaction(Protocol):
    """The stores, all inside one transaction, and the instant at which it happens."""

    @property
    def now(self) -> int:
        """The instant of the transaction, in milliseconds since the epoch, UTC."""

    @property
    def accounts(self) -> AccountStore:
        """Accounts."""

    @property
    def administrators(self) -> AdministratorStore:
        """Administrators."""

    @property
    def sessions(self) -> SessionStore:
        """Sessions."""

    @property
    def signing_keys(self) -> SigningKeyStore:
        """Signing keys."""

    @property
    def revocations(self) -> RevocationStore:
        """Revocations."""

    @property
    def audit(self) -> AuditLog:
        """Audit events."""


class Storage(Protocol):
    """Runs steps inside a transaction. All methods raise `StorageUnavailable` when the database does not answer."""

    async def transact(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` and return its result once everything it did is durable.

        `steps` may await nothing but the transaction, and may be run again after a conflict. If it raises, nothing
        it did remains.
        """

    async def change_once(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Do what `transact` does, for steps that find a session and end with one change of it, at less cost.

        `tx.now` is known once the session is found. A change that returns False is not that one change.
        """

    async def read(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)`, which only reads, on one consistent state."""

    async def revision(self) -> int:
        """Return a number that differs from the last one whenever a revocation may have been added since."""
