"""Following the list of revocations: what others revoke takes effect here, and not knowing is not accepting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from tests.flows.stage import FIREFOX, PASSWORD, Stage
from tests.settable_clock import SettableClock
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.domain.history import RolledBack
from tokenkeep.flows.follow_revocations import FollowRevocations
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.ports import Storage
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.verifier import CannotTell, InvalidToken, TokenVerifier

STALENESS = 5.0


@dataclass
class Follower:
    """Another process: it reads the same list of revocations into a set of its own, when it is told to."""

    follow: FollowRevocations
    revoked: RevocationSet
    verifier: TokenVerifier

    def accepts(self, pair: TokenPair) -> bool:
        """Tell whether this process accepts a pair's access token now."""
        try:
            self.verifier.verify(pair.access_token)
        except InvalidToken:
            return False
        return True


def follower(stage: Stage, storage: Storage | None = None) -> Follower:
    """Return a process that has read nothing yet."""
    revoked = RevocationSet()
    issuer = stage.server.settings.issuer
    return Follower(
        FollowRevocations(storage or stage.parts.storage, revoked, stage.clock, issuer=issuer, max_staleness=STALENESS),
        revoked,
        TokenVerifier(
            issuer=issuer,
            audience=issuer,
            algorithms=["ES256"],
            keys=stage.parts.key_ring.verification_keys,
            revocations=revoked,
            clock=lambda: stage.clock.now() / 1000,
            monotonic=stage.clock.monotonic,
        ),
    )


async def test_what_a_command_revokes_takes_effect_at_the_next_look(stage: Stage, ada: Account, command: AuthServer):
    """A command beside the server ends access tokens that the server then refuses."""
    pair = await stage.login()
    await command.accounts.disable("Ada", actor="operator")
    await stage.parts.follow_revocations.poll()
    assert not stage.accepts(pair)


async def test_each_kind_of_change_reaches_another_process(stage: Stage, ada: Account):
    """Logouts, new roles and new passwords are followed one after the other, and only they."""
    other = follower(stage)
    await other.follow.poll()
    for change in (
        lambda pair: stage.logout(pair.refresh_token),
        lambda _: stage.server.accounts.set_role("Ada", "admin", actor="operator"),
        lambda _: stage.server.accounts.set_password("Ada", PASSWORD, actor="operator"),
        lambda _: stage.server.accounts.disable("Ada", actor="operator"),
    ):
        pair, witness = await stage.login(), await stage.login()
        await other.follow.poll()
        assert other.accepts(pair)
        await change(pair)
        assert other.accepts(pair), "without a look nothing is known"
        await other.follow.poll()
        assert not other.accepts(pair)
        assert other.accepts(witness) is stage.accepts(witness)
    assert len(other.revoked) == 4


async def test_process_that_starts_later_knows_what_was_revoked(stage: Stage, ada: Account):
    """The first look reads the whole list."""
    ended, alive = await stage.login(), await stage.login()
    await stage.logout(ended.refresh_token)
    other = follower(stage)
    await other.follow.poll()
    assert not other.accepts(ended)
    assert other.accepts(alive)


async def test_own_revocation_needs_no_look(stage: Stage, ada: Account):
    """What this process revokes it refuses at once."""
    pair = await stage.login()
    await stage.logout(pair.refresh_token)
    assert not stage.accepts(pair)


async def test_before_the_first_look_nothing_is_known(stage: Stage, ada: Account):
    """A process that has not read the list accepts nothing and calls nothing invalid."""
    pair = await stage.login()
    other = follower(stage)
    with pytest.raises(CannotTell):
        other.verifier.verify(pair.access_token)
    await other.follow.poll()
    assert other.accepts(pair)


@pytest.mark.parametrize(("seconds", "known"), [(0.0, True), (4.999, True), (5.0, False), (3600.0, False)])
async def test_knowledge_goes_stale(stage: Stage, ada: Account, seconds: float, known: bool):
    """Five seconds after the last look nothing is accepted, until the next one."""
    pair = await stage.login()
    other = follower(stage)
    await other.follow.poll()
    stage.clock.elapse(seconds)
    if known:
        assert other.accepts(pair)
        return
    with pytest.raises(CannotTell):
        other.verifier.verify(pair.access_token)
    await other.follow.poll()
    assert other.accepts(pair)


async def test_look_that_fails_confirms_nothing(stage: Stage, ada: Account):
    """While the database does not answer, knowledge goes stale, what is revoked stays revoked, and then it recovers."""
    pair, ended = await stage.login(), await stage.login()
    await stage.logout(ended.refresh_token)
    other = follower(stage)
    await other.follow.poll()
    await stage.database.close()
    stage.clock.elapse(4.0)
    with pytest.raises(StorageUnavailable):
        await other.follow.poll()
    assert other.accepts(pair)
    stage.clock.elapse(1.0)
    with pytest.raises(CannotTell):
        other.verifier.verify(pair.access_token)
    assert not other.accepts(ended)
    await stage.database.open()
    await other.follow.poll()
    assert other.accepts(pair)


class Slow:
    """The real storage, whose answers take a while to arrive."""

    def __init__(self, storage: Storage, clock: SettableClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self.transact = storage.transact
        self.change_once = storage.change_once
        self.read = storage.read
        self._revision = storage.revision

    async def revision(self) -> int | str:
        """Return the revision as it was, some time later."""
        revision = await self._revision()
        self._clock.elapse(self._seconds)
        return revision


async def test_freshness_counts_from_the_asking(stage: Stage, ada: Account):
    """An answer that took three seconds vouches for two more, and one that took six for none."""
    pair = await stage.login()
    slow = follower(stage, Slow(stage.parts.storage, stage.clock, 3.0))
    await slow.follow.poll()
    stage.clock.elapse(1.999)
    assert slow.accepts(pair)
    stage.clock.elapse(0.001)
    with pytest.raises(CannotTell):
        slow.verifier.verify(pair.access_token)
    slower = follower(stage, Slow(stage.parts.storage, stage.clock, 6.0))
    await slower.follow.poll()
    with pytest.raises(CannotTell):
        slower.verifier.verify(pair.access_token)


async def test_entry_is_kept_until_no_token_can_need_it(stage: Stage, ada: Account):
    """An entry goes when the longest-lived token it stands for has expired everywhere, and not before."""
    pair = await stage.login()
    await stage.logout(pair.refresh_token)
    other = follower(stage)
    await other.follow.poll()
    stage.clock.advance(900_000 + 60_000 - 1)
    await other.follow.poll()
    assert len(other.revoked) == 1
    stage.clock.advance(1)
    await other.follow.poll()
    assert len(other.revoked) == 0
    late = follower(stage)
    await late.follow.poll()
    assert len(late.revoked) == 0


async def test_entry_outlives_tokens_of_a_longer_setting(settings: Settings, clock: SettableClock):
    """After access_ttl was lowered, entries are still kept for the tokens issued under the old setting."""
    async with AuthServer(replace(settings, access_ttl=timedelta(hours=1)), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
    async with AuthServer(replace(settings, access_ttl=timedelta(minutes=1)), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.logout(pair.refresh_token)
        clock.advance(3_600_000 - 1)
        await stage.parts.follow_revocations.poll()
        assert not stage.accepts(pair)
        [revocation] = await stage.revocations()
        assert revocation["expires_at"] == revocation["revoked_at"] + 3_600_000 + 60_000


async def test_numbers_have_no_gaps(stage: Stage, ada: Account):
    """Entries are numbered in the order of their commits, also when a change fails in between."""
    for _ in range(3):
        pair = await stage.login()
        await stage.logout(pair.refresh_token)
        await stage.logout(pair.refresh_token)
    assert [row["number"] for row in await stage.revocations()] == [1, 2, 3]


async def lose_the_last(stage: Stage) -> None:
    """Take the last revocation away, as a failover to a replica that lacks it does."""
    await stage.execute("DELETE FROM revocations WHERE number = (SELECT number FROM revocation_head)")
    await stage.execute("UPDATE revocation_head SET number = number - 1")


async def log_out_beside(command: AuthServer, pair: TokenPair) -> None:
    """Log out by a process that has not noticed that anything was lost."""
    assert await command.graph.services.logout.logout(pair.refresh_token, FIREFOX)


@pytest.mark.parametrize("noticed", [False, True], ids=["at once", "after a look"])
@pytest.mark.parametrize("more", [1, 2], ids=["as many", "more"])
async def test_numbers_that_have_caught_up_are_not_the_same_list(
    stage: Stage, ada: Account, command: AuthServer, noticed: bool, more: int
):
    """What was revoked under a number that was lost is accepted by nobody who knows another one under it."""
    lost, later, last = await stage.login(), await stage.login(), await stage.login()
    await stage.logout(lost.refresh_token)
    other = follower(stage)
    await other.follow.poll()
    await lose_the_last(stage)
    if noticed:
        with pytest.raises(RolledBack, match="revocation 0, but 1"):
            await other.follow.poll()
    for pair in (later, last)[:more]:
        await log_out_beside(command, pair)
    for _ in range(3):
        with pytest.raises(RolledBack, match="gone on from there"):
            await other.follow.poll()
        with pytest.raises(RolledBack, match="gone on from there"):
            await other.follow.look()
        stage.clock.elapse(STALENESS)
        with pytest.raises(CannotTell):
            other.verifier.verify(later.access_token)


async def test_a_list_that_was_lost_once_must_prove_to_be_the_same(stage: Stage, ada: Account, command: AuthServer):
    """Once what told it apart has expired, nothing tells that the list has all that is known: nothing is accepted."""
    lost, later = await stage.login(), await stage.login()
    await stage.logout(lost.refresh_token)
    other = follower(stage)
    await other.follow.poll()
    await lose_the_last(stage)
    with pytest.raises(RolledBack):
        await other.follow.poll()
    await log_out_beside(command, later)
    stage.clock.elapse(3600)
    for _ in range(2):
        with pytest.raises(RolledBack, match="gone on from there"):
            await other.follow.poll()


async def test_the_newest_state_that_is_restored_is_followed_again(stage: Stage, ada: Account, command: AuthServer):
    """A list that has what is known, under the same number, is taken for the same, whatever came between."""
    ended, later, witness = await stage.login(), await stage.login(), await stage.login()
    await stage.logout(ended.refresh_token)
    [row] = await stage.revocations()
    other = follower(stage)
    await other.follow.poll()
    await lose_the_last(stage)
    with pytest.raises(RolledBack):
        await other.follow.poll()
    await stage.execute(
        "INSERT INTO revocations (number, kind, value, version, revoked_at, expires_at, reason, actor) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        *(row[name] for name in ("number", "kind", "value", "version", "revoked_at", "expires_at", "reason", "actor")),
    )
    await stage.execute("UPDATE revocation_head SET number = number + 1")
    await log_out_beside(command, later)
    await other.follow.poll()
    assert (other.accepts(ended), other.accepts(later), other.accepts(witness)) == (False, False, True)
