"""What flows need from outside: a clock, storage, limits, a password hasher and judge. Protocols only.

`storage` and `passwords` implement them. The stores inside a transaction are in `flows.stores`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar, TypeVarTuple

from tokenkeep.domain.history import Position
from tokenkeep.domain.limits import Quota
from tokenkeep.domain.password_hashes import HashCost
from tokenkeep.domain.password_strength import Strength
from tokenkeep.flows.stores import (
    AccountStore,
    AdministratorStore,
    AuditLog,
    RevocationStore,
    ServerProcessStore,
    SessionStore,
    SigningKeyStore,
)

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


class Messenger(Protocol):
    """Calls the other server processes. A call carries nothing, and may be lost."""

    async def call(self) -> None:
        """Call all others that listen just now; nobody is told if that fails."""

    async def listen(self, heard: Callable[[], None]) -> bool:
        """Run `heard` whenever another may have called, until the connection is lost; tells whether there was one."""


class HighWaterMark(Protocol):
    """Remembers, outside the database, how far its history had come: in one place or in several."""

    async def require(self) -> None:
        """Return if every place can be written.

        Raises:
            MarkUnavailable: one cannot, and why.
        """

    async def read(self) -> Mapping[str, Position]:
        """Return the marks there are, each under the name of its place.

        Raises:
            MarkUnavailable: one that must not be missed cannot be read.
        """

    async def promise(self, position: Position) -> None:
        """Replace the mark that no other node reads, before a history begins; whole or not at all.

        Raises:
            MarkUnavailable: it cannot be written.
        """

    async def begin(self, position: Position) -> None:
        """Replace the marks, whatever they are; each whole or not at all.

        Raises:
            MarkUnavailable: one that must not be missed cannot be written.
        """

    async def advance(self, position: Position) -> None:
        """Move the marks on; within an epoch they never move back, whoever else writes them.

        Raises:
            MarkUnavailable: one that must not be missed cannot be written.
        """


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
    def server_processes(self) -> ServerProcessStore:
        """Server processes."""

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

    async def revision(self) -> int | str:
        """Return what differs from the last one whenever a revocation may have been added since."""
