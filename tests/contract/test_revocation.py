"""Revocation entries, their digests, and the set that answers whether a token is revoked."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.contract.test_access_token import TOKEN
from tokenkeep.contract.access_token import AccessToken, from_claims, to_claims
from tokenkeep.contract.revocation import EntryExpiries, RevocationKind, RevocationSet, digest
from tokenkeep.jose import Key, jwt
from tokenkeep.jose.encoding import decode_base64url, encode_base64url

ISSUER = TOKEN.issuer
SIGNED = replace(TOKEN, key_id="kid-1")
# The orders of the base points of P-256, P-384 and P-521 (SP 800-186).
ORDERS = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    "ES512": int(
        "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFA"
        "51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409",
        16,
    ),
}


def independent_digest(*members: str | int | None) -> bytes:
    """Return the digest of an entry as the design defines it, computed without the code under test."""
    text = json.dumps(members, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()[:16]


@pytest.mark.parametrize(("alg", "size"), [("ES256", 32), ("ES384", 48), ("ES512", 66)])
def test_the_twin_of_a_token_is_revoked_with_it(alg: str, size: int):
    """ECDSA gives each token a twin, (r, n - s), that verifies too: revocation goes by names, and ends both."""
    key = Key.generate(alg)
    one = jwt.issue(to_claims(TOKEN), key, issuer=ISSUER, audience="a", subject="s", lifetime=timedelta(minutes=5))
    signed, _, signature = one.rpartition(".")
    raw = decode_base64url(signature)
    s = ORDERS[alg] - int.from_bytes(raw[size:], "big")
    twin = f"{signed}.{encode_base64url(raw[:size] + s.to_bytes(size, 'big'))}"
    assert twin != one
    entries = []
    for text in (one, twin):
        verified = jwt.verify(text, key.public(), algorithms=[alg], issuer=ISSUER, audience="a")
        token = replace(from_claims(verified.claims), key_id=verified.header["kid"])
        session, account = token.session_id or "", (token.subject, token.version or 0)
        entries.append(
            [
                digest(RevocationKind.TOKEN, ISSUER, token.token_id),
                digest(RevocationKind.SESSION, ISSUER, session),
                digest(RevocationKind.ACCOUNT, ISSUER, *account),
                digest(RevocationKind.KEY, ISSUER, key.kid),
            ]
        )
        for entry in entries[0]:
            revoked = RevocationSet()
            revoked.add([entry])
            assert revoked.contains(token)
    assert entries[0] == entries[1]


@pytest.mark.parametrize(
    ("kind", "values", "first"),
    [
        (RevocationKind.SESSION, ("BBBBBBBBBBBBBBBBBBBBBA",), "sid"),
        (RevocationKind.TOKEN, ("one-of-a-kind",), "jti"),
        (RevocationKind.ACCOUNT, ("AAAAAAAAAAAAAAAAAAAAAA", 3), "sub"),
        (RevocationKind.KEY, ("kid-1",), "kid"),
        (RevocationKind.TOKEN, ('quotes " and \\ and é and /',), "jti"),
    ],
)
def test_digest_is_the_documented_one(kind: RevocationKind, values: tuple[str | int, ...], first: str):
    """A digest is the first 16 bytes of SHA-256 over the JSON array of kind, issuer and values."""
    assert digest(kind, ISSUER, *values) == independent_digest(first, ISSUER, *values)


def test_digest_of_a_known_entry():
    """Anyone can check an implementation against these bytes."""
    assert digest(RevocationKind.ACCOUNT, "https://auth.example", "ada", 1).hex() == "7dda0b78654619fefb56650fcb502a6a"


def test_kinds_and_values_do_not_run_together():
    """No two different entries have the same digest: not by kind, issuer, or where one value ends."""
    entries = [
        digest(RevocationKind.SESSION, "a", "x"),
        digest(RevocationKind.TOKEN, "a", "x"),
        digest(RevocationKind.KEY, "a", "x"),
        digest(RevocationKind.SESSION, "b", "x"),
        digest(RevocationKind.SESSION, "a", "y"),
        digest(RevocationKind.SESSION, 'a","x', ""),
        digest(RevocationKind.ACCOUNT, "a", "x", 1),
        digest(RevocationKind.ACCOUNT, "a", "x", 11),
        digest(RevocationKind.ACCOUNT, "a", "x1", 1),
        digest(RevocationKind.ACCOUNT, "a", "x", "1"),
    ]
    assert len(set(entries)) == len(entries)


@pytest.mark.parametrize(
    "entry",
    [
        digest(RevocationKind.SESSION, ISSUER, "BBBBBBBBBBBBBBBBBBBBBA"),
        digest(RevocationKind.TOKEN, ISSUER, "one-of-a-kind"),
        digest(RevocationKind.ACCOUNT, ISSUER, "AAAAAAAAAAAAAAAAAAAAAA", 3),
        digest(RevocationKind.KEY, ISSUER, "kid-1"),
    ],
    ids=["sid", "jti", "sub and ver", "kid"],
)
def test_each_kind_revokes_the_token(entry: bytes):
    """A token is revoked through its session, itself, its account's version, or the key that signed it."""
    revoked = RevocationSet()
    assert not revoked.contains(SIGNED)
    revoked.add([entry])
    assert revoked.contains(SIGNED)


@pytest.mark.parametrize(
    "entry",
    [
        digest(RevocationKind.SESSION, ISSUER, "another session"),
        digest(RevocationKind.SESSION, "https://other.example", "BBBBBBBBBBBBBBBBBBBBBA"),
        digest(RevocationKind.TOKEN, ISSUER, "BBBBBBBBBBBBBBBBBBBBBA"),
        digest(RevocationKind.ACCOUNT, ISSUER, "AAAAAAAAAAAAAAAAAAAAAA", 2),
        digest(RevocationKind.ACCOUNT, ISSUER, "AAAAAAAAAAAAAAAAAAAAAA", 4),
        digest(RevocationKind.KEY, ISSUER, "kid-2"),
    ],
)
def test_other_entries_do_not(entry: bytes):
    """Entries of another session, issuer, kind, version or key leave the token alone."""
    revoked = RevocationSet()
    revoked.add([entry])
    assert not revoked.contains(SIGNED)


@pytest.mark.parametrize(
    ("token", "entry"),
    [
        (replace(SIGNED, session_id=None), digest(RevocationKind.SESSION, ISSUER, "BBBBBBBBBBBBBBBBBBBBBA")),
        (replace(SIGNED, version=None), digest(RevocationKind.ACCOUNT, ISSUER, "AAAAAAAAAAAAAAAAAAAAAA", 3)),
        (replace(SIGNED, key_id=None), digest(RevocationKind.KEY, ISSUER, "kid-1")),
        (replace(SIGNED, token_id=None), digest(RevocationKind.TOKEN, ISSUER, "one-of-a-kind")),
        (replace(SIGNED, token_id=None), independent_digest("jti", ISSUER, None)),
    ],
)
def test_what_a_token_does_not_name_cannot_revoke_it(token: AccessToken, entry: bytes):
    """A token without session, version or key id is not revoked through them, and causes no error."""
    revoked = RevocationSet()
    revoked.add([entry])
    assert not revoked.contains(token)


def test_version_0_is_a_version():
    """The version 0 is not mistaken for an absent one."""
    revoked = RevocationSet()
    revoked.add([digest(RevocationKind.ACCOUNT, ISSUER, SIGNED.subject, 0)])
    assert revoked.contains(replace(SIGNED, version=0))


def test_adding_twice_changes_nothing():
    """An entry that is heard of twice is one entry, and one discard ends it."""
    revoked = RevocationSet()
    entry = digest(RevocationKind.TOKEN, ISSUER, "one-of-a-kind")
    revoked.add([entry, entry])
    revoked.add([entry])
    assert len(revoked) == 1
    revoked.discard([entry])
    assert len(revoked) == 0
    assert not revoked.contains(SIGNED)


def test_discarding_what_is_not_there_is_harmless():
    """Entries may be forgotten that were never known."""
    revoked = RevocationSet()
    revoked.discard([bytes(16)])
    assert len(revoked) == 0


def test_set_that_was_never_confirmed_is_not_fresh():
    """Before the first complete read nobody knows what is revoked."""
    revoked = RevocationSet()
    assert not revoked.fresh(0.0)
    revoked.add([bytes(16)])
    assert not revoked.fresh(0.0)


@pytest.mark.parametrize(("now", "fresh"), [(0.0, True), (4.999, True), (5.0, False), (5.001, False)])
def test_set_is_fresh_until_the_instant_promised(now: float, fresh: bool):
    """Freshness ends exactly at the instant promised."""
    revoked = RevocationSet()
    revoked.confirm(5.0)
    assert revoked.fresh(now) is fresh


def test_late_confirmation_never_shortens_freshness():
    """Of two reads that overtake each other the later promise counts."""
    revoked = RevocationSet()
    revoked.confirm(5.0)
    revoked.confirm(3.0)
    assert revoked.fresh(4.0)
    revoked.confirm(7.0)
    assert revoked.fresh(6.0)


def test_an_entry_noted_again_is_kept_until_the_later_instant():
    """Noting an entry twice, in either order, never shortens its life, and it falls due once."""
    for first, second in ((10, 20), (20, 10)):
        expiries = EntryExpiries()
        expiries.note(b"a", first)
        expiries.note(b"a", second)
        assert expiries.take_due(19) == []
        assert expiries.take_due(20) == [b"a"]
        assert expiries.take_due(99) == []


def test_entries_fall_due_in_their_order_and_can_be_noted_anew():
    """What is due is taken out; the rest stays, what was taken may be noted again, and all can be taken at once."""
    expiries = EntryExpiries()
    for entry, expires_at in ((b"c", 30), (b"a", 10), (b"b", 20)):
        expiries.note(entry, expires_at)
    assert expiries.take_due(20) == [b"a", b"b"]
    expiries.note(b"a", 40)
    assert expiries.take_all() == {b"a", b"c"}
    assert expiries.take_due(99) == []
