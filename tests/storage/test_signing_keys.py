"""What `SqlSigningKeys` promises, on every engine: one key of each state that must be single, sealed at rest."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from tests.settable_clock import SettableClock
from tests.storage.contracts import SECRET, Engine, Processes, execute, rows
from tests.storage.examples import NOW
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.errors import Unavailable
from tokenkeep.domain.key_rotation import RotationPolicy
from tokenkeep.domain.secrets import SecretMismatch, SecretRing
from tokenkeep.domain.signing_keys import KeyRecord, KeyState, SigningKey
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.establish_keys import EstablishKeys
from tokenkeep.flows.key_ring import KeyRing
from tokenkeep.flows.ports import Transaction
from tokenkeep.flows.revoke import Revoker
from tokenkeep.flows.revoke_key import RevokeKey
from tokenkeep.flows.rotate_keys import RotateKeys
from tokenkeep.jose import Key
from tokenkeep.jose.encoding import decode_base64url, encode_object
from tokenkeep.storage.sealing import Sealer
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.stores import SqlStorage

POLICY = RotationPolicy(340_000)
ANOTHER_SECRET = b"another server secret of thirty-two bytes or more"


def a_key(state: KeyState = KeyState.ACTIVE, *, alg: str = "ES256", created_at: int = NOW) -> SigningKey:
    """Return a new signing key."""
    activated_at = created_at + 1 if state is KeyState.ACTIVE else None
    return SigningKey(Key.generate(alg), state, created_at, activated_at)


async def add(storage: SqlStorage, key: SigningKey) -> bool:
    """Store a key."""
    return await storage.transact(lambda tx: tx.signing_keys.add(key))


async def published(storage: SqlStorage) -> list[SigningKey]:
    """Return the published keys."""
    return await storage.read(lambda tx: tx.signing_keys.published())


def ring_of(storage: SqlStorage) -> KeyRing:
    """Return a ring that has read nothing."""
    return KeyRing(storage, SettableClock(), trusted_for=20)


def rotation_of(storage: SqlStorage) -> RotateKeys:
    """Return what rotates the keys in one process."""
    return RotateKeys(storage, ring_of(storage), POLICY)


async def records(storage: SqlStorage, *, ended: int = 0) -> list[KeyRecord]:
    """Return what is remembered of the keys."""
    return await storage.read(lambda tx: tx.signing_keys.records(ended=ended))


async def revoke_all(storage: SqlStorage) -> list[str]:
    """Revoke every published key, and return their ids."""

    async def steps(tx: Transaction) -> list[str]:
        found = await tx.signing_keys.records()
        return [key.id for key in found if await tx.signing_keys.end(key, KeyState.REVOKED, now=NOW + 9)]

    return await storage.transact(steps)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the keys whose envelopes are opened from here on."""
    names: list[str] = []
    original = Sealer.open

    def spy(sealer: Sealer, envelope: bytes, *, purpose: str, name: str) -> bytes:
        names.append(name)
        return original(sealer, envelope, purpose=purpose, name=name)

    monkeypatch.setattr(Sealer, "open", spy)
    return names


def described(key: SigningKey) -> tuple[object, ...]:
    """Return what two equal keys have in common, private part included."""
    return key.id, key.state, key.created_at, key.activated_at, sorted(key.key.to_jwk(private=True).items())


@pytest.mark.parametrize("alg", ["ES256", "RS256", "HS256"])
async def test_a_key_comes_back_whole(storage: SqlStorage, alg: str):
    """A stored key can sign again, under the same id."""
    key = a_key(alg=alg)
    assert await add(storage, key)
    assert [described(each) for each in await published(storage)] == [described(key)]


async def test_verifiers_are_given_what_signs_has_signed_and_will_sign(storage: SqlStorage):
    """Published keys are upcoming, active and retiring ones, oldest first; retired and revoked ones are not."""
    keys = [a_key(state, created_at=NOW - number) for number, state in enumerate(KeyState)]
    retiring_too = a_key(KeyState.RETIRING, created_at=NOW - 100)
    for key in [*keys, retiring_too]:
        assert await add(storage, key)
    expected = [retiring_too.id, *reversed([key.id for key in keys if key.state.published])]
    assert [key.id for key in await published(storage)] == expected


@pytest.mark.parametrize("state", [KeyState.ACTIVE, KeyState.UPCOMING])
async def test_one_key_signs_and_one_follows_it(storage: SqlStorage, state: KeyState):
    """A second active or upcoming key is not stored, and the first stays."""
    first = a_key(state)
    assert await add(storage, first)
    assert not await add(storage, a_key(state))
    assert [key.id for key in await published(storage)] == [first.id]


async def test_a_key_is_stored_once(storage: SqlStorage):
    """The same key in another state is not stored a second time."""
    key = a_key(KeyState.RETIRING)
    assert await add(storage, key)
    assert not await add(storage, SigningKey(key.key, KeyState.ACTIVE, NOW))
    assert [each.state for each in await published(storage)] == [KeyState.RETIRING]


async def test_processes_that_make_keys_at_once_end_with_one_of_each(storage: SqlStorage, processes: Processes):
    """Of four processes that find no keys and make some, two keys remain, and every process reads the same two."""
    crowd = [storage, *[await processes.storage() for _ in range(3)]]
    made = await asyncio.gather(*(EstablishKeys(each, "ES256").establish() for each in crowd))
    assert sum(made) == 2
    read = [sorted((key.state, key.id) for key in await published(each)) for each in crowd]
    assert [state for state, _ in read[0]] == [KeyState.ACTIVE, KeyState.UPCOMING]
    assert all(each == read[0] for each in read)


async def test_processes_that_rotate_at_once_make_one_key(storage: SqlStorage, processes: Processes):
    """Of four processes that find a rotation due, one hands over, retires what is over, and makes one new key."""
    gone = SigningKey(Key.generate("ES256"), KeyState.ACTIVE, 0, 0)
    await add(storage, gone)
    await storage.transact(lambda tx: tx.signing_keys.deactivate(gone.id, now=1))
    first, second = a_key(KeyState.ACTIVE, created_at=0), a_key(KeyState.UPCOMING, created_at=1)
    await add(storage, first)
    await add(storage, second)
    crowd = [storage, *[await processes.storage() for _ in range(3)]]
    made = await asyncio.gather(*(rotation_of(each).advance() for each in crowd))
    assert made.count(True) == 1
    by_state = {record.state: record.id for record in await records(storage, ended=9)}
    assert by_state.pop(KeyState.UPCOMING) not in {first.id, second.id, gone.id}
    assert by_state == {KeyState.RETIRED: gone.id, KeyState.RETIRING: first.id, KeyState.ACTIVE: second.id}


async def test_a_key_that_is_revoked_while_it_takes_over_is_revoked(storage: SqlStorage, processes: Processes):
    """Rotation and revocation at once: neither is lost, and there is one key that signs and one that follows."""
    for _ in range(5):
        await revoke_all(storage)
        first, second = a_key(KeyState.ACTIVE, created_at=0), a_key(KeyState.UPCOMING, created_at=1)
        await add(storage, first)
        await add(storage, second)
        other = await processes.storage()
        flow = RevokeKey(other, ring_of(other), Revoker("x", RevocationSet(), lambda: None), POLICY)
        by = Authority(OPERATOR)
        await asyncio.gather(
            rotation_of(storage).advance(), flow.revoke(second.id, by=by), flow.revoke(first.id, by=by)
        )
        found = {record.id: record.state for record in await records(storage, ended=100)}
        assert found[first.id] is found[second.id] is KeyState.REVOKED
        assert sorted(state for state in found.values() if state.published) == [KeyState.ACTIVE, KeyState.UPCOMING]


async def test_every_published_key_can_be_revoked(storage: SqlStorage):
    """The end of the published keys takes them from verifiers, and makes room for new ones."""
    keys = [a_key(state) for state in KeyState]
    for key in keys:
        await add(storage, key)
    revoked = await revoke_all(storage)
    assert sorted(revoked) == sorted(key.id for key in keys if key.state.published)
    assert await published(storage) == []
    assert await revoke_all(storage) == []
    assert await EstablishKeys(storage, "ES256").establish() == 2


async def test_private_keys_are_not_in_what_is_stored(storage: SqlStorage, engine: Engine):
    """No private part of a key is in the raw data, neither as bytes nor as text; its id is."""
    keys = [
        a_key(KeyState.ACTIVE),
        a_key(KeyState.UPCOMING, alg="RS256"),
        a_key(KeyState.RETIRING, alg="HS256"),
    ]
    for key in keys:
        await add(storage, key)
    raw = await engine.dump()
    for key in keys:
        public = {"kty", "kid", "alg", "use", "crv", "n", "e", "x", "y"}
        private = {name: value for name, value in key.key.to_jwk(private=True).items() if name not in public}
        assert private
        assert key.id.encode() in raw
        for value in private.values():
            assert isinstance(value, str)
            assert value.encode() not in raw
            assert decode_base64url(value) not in raw


async def test_keys_open_with_the_secret_that_sealed_them(storage: SqlStorage, processes: Processes):
    """Another server secret does not open the keys; it does when the right one is among the previous ones."""
    key = a_key()
    await add(storage, key)
    with pytest.raises(SecretMismatch):
        await published(await processes.storage(secret=ANOTHER_SECRET))
    changed = await processes.storage(secret=ANOTHER_SECRET, previous=[SECRET])
    assert [described(each) for each in await published(changed)] == [described(key)]


async def test_envelopes_cannot_be_swapped(storage: SqlStorage, database: Database):
    """A key's envelope under another key's id does not open, so nobody who can write makes an old key sign again."""
    active, retired = a_key(KeyState.ACTIVE), a_key(KeyState.RETIRED)
    await add(storage, active)
    await add(storage, retired)
    swap = "UPDATE signing_keys SET sealed = (SELECT sealed FROM signing_keys WHERE id = $1) WHERE id = $2"
    assert await execute(database, swap, retired.id, active.id) == 1
    with pytest.raises(SecretMismatch, match=active.id):
        await published(storage)


async def test_a_changed_envelope_does_not_open(storage: SqlStorage, database: Database):
    """One bit flipped anywhere in a stored envelope, or an end cut off, is noticed."""
    key = a_key()
    await add(storage, key)
    sealed = (await rows(database, "SELECT sealed FROM signing_keys"))[0]["sealed"]
    assert isinstance(sealed, bytes)
    places = [0, 1, 2, 8, 14, 20, 26, 40, len(sealed) // 2, len(sealed) - 17, len(sealed) - 16, len(sealed) - 1]
    damaged = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in places]
    for changed in [*damaged, sealed[:-1], sealed[:20], sealed[:1], b"", sealed + b"\0"]:
        await execute(database, "UPDATE signing_keys SET sealed = $1", changed)
        with pytest.raises(SecretMismatch, match=key.id):
            await published(storage)
    await execute(database, "UPDATE signing_keys SET sealed = $1", sealed)
    assert [described(each) for each in await published(storage)] == [described(key)]


async def test_a_reload_opens_only_what_is_new(storage: SqlStorage, processes: Processes, opened: list[str]):
    """While nothing changes no private key is opened and no set is made anew; of a change only what is new is."""
    other = await processes.storage()
    first, second = a_key(KeyState.ACTIVE), a_key(KeyState.UPCOMING)
    for key in (first, second):
        await add(other, key)
    ring = ring_of(storage)
    await ring.reload()
    assert sorted(opened) == sorted([first.id, second.id])
    opened.clear()
    before = ring.verification_keys()
    for _ in range(3):
        await ring.reload()
    assert opened == []
    assert ring.verification_keys() is before
    third = a_key(KeyState.RETIRING)
    await add(other, third)
    await ring.reload()
    assert opened == [third.id]
    assert {key.kid for key in ring.verification_keys()} == {first.id, second.id, third.id}


async def test_a_reload_misses_nothing_that_another_process_did(
    storage: SqlStorage, processes: Processes, database: Database, opened: list[str]
):
    """A rotation and a revocation are in force after the next reload, though no key has to be opened for either."""
    other = await processes.storage()
    assert await EstablishKeys(other, "ES256").establish() == 2
    ring = ring_of(storage)
    await ring.reload()
    opened.clear()
    active, upcoming = ring.signer().kid, next(key.kid for key in ring.public_keys() if key.kid != ring.signer().kid)
    await execute(database, "UPDATE signing_keys SET state = 'retiring' WHERE id = $1", active)
    await execute(database, "UPDATE signing_keys SET state = 'active', activated_at = $2 WHERE id = $1", upcoming, NOW)
    await ring.reload()
    assert ring.signer().kid == upcoming
    assert {key.kid for key in ring.verification_keys()} == {active, upcoming}
    await execute(database, "UPDATE signing_keys SET state = 'revoked' WHERE id = $1", active)
    await ring.reload()
    assert {key.kid for key in ring.verification_keys()} == {upcoming}
    assert opened == []
    assert await revoke_all(other) == [upcoming]
    await ring.reload()
    assert list(ring.verification_keys()) == []
    with pytest.raises(Unavailable):
        ring.signer()


async def test_a_key_that_is_no_longer_published_is_forgotten(storage: SqlStorage, processes: Processes):
    """The private part of a revoked key does not stay in memory."""
    other = await processes.storage()
    await add(other, a_key())
    [held] = await published(storage)
    gone = weakref.ref(held.key)
    del held
    assert gone() is not None, "it is kept while it is published"
    await revoke_all(other)
    assert await published(storage) == []
    gc.collect()
    assert gone() is None


async def test_an_envelope_that_was_exchanged_is_opened_again(
    storage: SqlStorage, database: Database, processes: Processes, opened: list[str]
):
    """Known is a whole envelope, not an id: one sealed with a new secret opens, a damaged one is refused."""
    key = a_key()
    await add(storage, key)
    rotated = await processes.storage(secret=ANOTHER_SECRET, previous=[SECRET])
    await published(rotated)
    opened.clear()
    again = Sealer(SecretRing(ANOTHER_SECRET)).seal(
        encode_object(key.key.to_jwk(private=True)), purpose="signing key", name=key.id
    )
    await execute(database, "UPDATE signing_keys SET sealed = $1", again)
    assert [described(each) for each in await published(rotated)] == [described(key)]
    assert opened == [key.id]
    await execute(database, "UPDATE signing_keys SET sealed = $1", again[:-1] + bytes([again[-1] ^ 1]))
    with pytest.raises(SecretMismatch, match=key.id):
        await published(rotated)


@pytest.mark.parametrize("end", [KeyState.RETIRED, KeyState.REVOKED])
async def test_the_private_part_of_a_key_that_ended_is_not_kept(storage: SqlStorage, database: Database, end: KeyState):
    """What is left of a retired or revoked key is its id, its algorithm and its dates."""
    key = a_key(KeyState.RETIRING)
    await add(storage, key)
    [record] = await records(storage)
    assert await storage.transact(lambda tx: tx.signing_keys.end(record, end, now=NOW + 7))
    assert await rows(database, "SELECT id, state, sealed FROM signing_keys") == [
        {"id": key.id, "state": end.value, "sealed": b""}
    ]
    assert await records(storage) == []
    assert await records(storage, ended=1) == [KeyRecord(key.id, "ES256", end, NOW, ended_at=NOW + 7)]


async def test_a_key_goes_through_its_life(storage: SqlStorage):
    """Each step is taken once, from the state before it only, and its instant is remembered."""
    first, second = a_key(KeyState.ACTIVE), a_key(KeyState.UPCOMING)
    await add(storage, first)
    await add(storage, second)

    async def steps(tx: Transaction) -> list[bool]:
        keys = tx.signing_keys
        return [
            await keys.deactivate(second.id, now=1),
            await keys.request(first.id, now=1),
            await keys.request(second.id, now=NOW + 2),
            await keys.request(second.id, now=NOW + 3),
            await keys.deactivate(first.id, now=NOW + 4),
            await keys.deactivate(first.id, now=NOW + 5),
            await keys.activate(first.id, now=NOW + 5),
            await keys.activate(second.id, now=NOW + 6),
            await keys.activate(second.id, now=NOW + 7),
        ]

    assert await storage.transact(steps) == [False, False, True, False, True, False, False, True, False]
    by_id = {record.id: record for record in await records(storage)}
    assert by_id[first.id] == KeyRecord(
        first.id, "ES256", KeyState.RETIRING, NOW, activated_at=NOW + 1, deactivated_at=NOW + 4
    )
    assert by_id[second.id] == KeyRecord(
        second.id, "ES256", KeyState.ACTIVE, NOW, activated_at=NOW + 6, requested_at=NOW + 2
    )
    for key in (first, second):
        assert await storage.read(lambda tx, name=key.id: tx.signing_keys.find(name)) == by_id[key.id]
    assert await storage.read(lambda tx: tx.signing_keys.find("nothing")) is None


async def test_a_key_that_moved_is_not_ended(storage: SqlStorage):
    """Who has read that a key never signed does not retire it when it signs by now."""
    key = a_key(KeyState.UPCOMING)
    await add(storage, key)
    [read] = await records(storage)
    assert await storage.transact(lambda tx: tx.signing_keys.activate(key.id, now=NOW))
    assert not await storage.transact(lambda tx: tx.signing_keys.end(read, KeyState.RETIRED, now=NOW))
    assert [each.state for each in await published(storage)] == [KeyState.ACTIVE]


async def test_the_end_of_the_active_key_is_when_it_ceased_to_sign(storage: SqlStorage):
    """A key that is revoked while it signs signs until then."""
    await add(storage, a_key())
    await revoke_all(storage)
    [record] = await records(storage, ended=5)
    assert (record.deactivated_at, record.ended_at) == (NOW + 9, NOW + 9)


async def test_of_the_keys_that_ended_the_last_are_listed(storage: SqlStorage):
    """As many as asked for, and the published ones always."""
    for number in range(4):
        await add(storage, a_key(KeyState.RETIRING, created_at=NOW + number))
    kept, *ends = await records(storage)
    for number, record in enumerate(ends):
        await storage.transact(
            lambda tx, record=record, at=number: tx.signing_keys.end(record, KeyState.RETIRED, now=at)
        )
    assert [key.id for key in await records(storage, ended=2)] == [kept.id, ends[1].id, ends[2].id]


async def test_a_request_is_stored_with_a_new_key(storage: SqlStorage):
    """A key that takes the place of one that was asked to sign is asked as well."""
    key = SigningKey(Key.generate("ES256"), KeyState.UPCOMING, NOW, requested_at=NOW + 3)
    await add(storage, key)
    assert [record.requested_at for record in await records(storage)] == [NOW + 3]
    assert [each.requested_at for each in await published(storage)] == [NOW + 3]


async def test_records_open_no_key(storage: SqlStorage, opened: list[str]):
    """Neither secret nor private part is needed to see which keys there are."""
    await add(storage, a_key())
    await records(storage, ended=9)
    assert opened == []
