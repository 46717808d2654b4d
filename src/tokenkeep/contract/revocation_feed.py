"""The revocation feed document: what the server signs and other services follow.

A JWS in compact form with `typ: revocations+jwt`, whose payload is one JSON object: `iss`, `iat`, `exp`, `epoch`,
`from`, `to` and `entries`, a list of `[digest, expiry]`. What an entry stands for is in `contract.revocation`; what a
reader does with a document is in `verifier.feed_reading`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tokenkeep.contract.revocation import DIGEST_SIZE, names_key
from tokenkeep.jose import Key, KeyNotFound, KeySet, TokenError, jws
from tokenkeep.jose.arguments import MAX_INSTANT
from tokenkeep.jose.encoding import decode_base64url, decode_object, encode_base64url, encode_object

FEED_TYPE: Final = "revocations+jwt"
DOCUMENT_LIFE: Final = 60
"""Seconds from `iat` to `exp`: how long a document that was kept back on its way can be passed off as a new one."""
LARGEST_DOCUMENT: Final = 64 * 1024 * 1024
"""Bytes of the largest document that is read: about a million entries."""

_LONGEST_EPOCH: Final = 64
_STEP: Final = 1_000


class FeedRefused(Exception):
    """A feed document is not believed; the text says why."""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One revocation.

    Attributes:
        digest: the 16 bytes that stand for it.
        expires_at: seconds since the epoch from which on no token that it stands for is accepted anywhere.
    """

    digest: bytes
    expires_at: int


@dataclass(frozen=True, slots=True)
class FeedDocument:
    """The revocations with the numbers after `after` up to `upto` in one history.

    `after` is 0 in a snapshot, which holds all that matter. Instants are seconds since the epoch. `key_id` is the `kid`
    of the key that signed it, empty before it is signed.
    """

    issuer: str
    issued_at: int
    expires_at: int
    epoch: str
    after: int
    upto: int
    entries: tuple[FeedEntry, ...]
    key_id: str = field(default="", compare=False)


def sign_feed(document: FeedDocument, key: Key) -> str:
    """Return the document as a signed text.

    It may be called in a thread of its own: a million entries are written in steps that let others go on between.
    """
    head = {
        "iss": document.issuer,
        "iat": document.issued_at,
        "exp": document.expires_at,
        "epoch": document.epoch,
        "from": document.after,
        "to": document.upto,
    }
    steps = range(0, len(document.entries), _STEP)
    entries = ",".join([_written(document.entries[step : step + _STEP]) for step in steps])
    payload = b'%b,"entries":[%b]}' % (encode_object(head).removesuffix(b"}"), entries.encode("ascii"))
    return jws.sign(payload, key, header={"typ": FEED_TYPE})


def _written(entries: Sequence[FeedEntry]) -> str:
    return ",".join([f'["{encode_base64url(entry.digest)}",{entry.expires_at}]' for entry in entries])


def read_feed(text: bytes, keys: Key | KeySet, *, algorithms: Sequence[str]) -> FeedDocument:
    """Return what a signed text says, if one of the keys signed it. Nothing else is judged here.

    Raises:
        KeyNotFound: none of the keys is the one that the header names; a newer set may hold it.
        FeedRefused: forged, of another type, without the name of its key, or not a feed document.
    """
    try:
        content = jws.verify(text, keys, algorithms=algorithms, max_size=LARGEST_DOCUMENT)
        if content.header.get("typ") != FEED_TYPE:
            raise FeedRefused(f"the document's typ is not {FEED_TYPE}")
        key_id = content.header.get("kid")
        if not names_key(key_id, keys):
            raise FeedRefused("the document does not name the key that signed it")
        return _document(decode_object(content.payload), key_id)
    except KeyNotFound:
        raise
    except TokenError as error:
        raise FeedRefused(error.message) from None


def _document(members: Mapping[str, Any], key_id: str) -> FeedDocument:
    entries = members.get("entries")
    if type(entries) is not list:
        raise FeedRefused("'entries' is a list")
    document = FeedDocument(
        issuer=_text(members, "iss"),
        issued_at=_number(members, "iat"),
        expires_at=_number(members, "exp"),
        epoch=_text(members, "epoch"),
        after=_number(members, "from"),
        upto=_number(members, "to"),
        entries=tuple([_entry(entry) for entry in entries]),
        key_id=key_id,
    )
    if document.after > document.upto:
        raise FeedRefused("'from' is beyond 'to'")
    return document


def _entry(members: Any) -> FeedEntry:
    if type(members) is not list or len(members) != 2 or type(members[0]) is not str:
        raise FeedRefused("an entry is a pair of digest and expiry")
    raw = decode_base64url(members[0])
    if len(raw) != DIGEST_SIZE:
        raise FeedRefused(f"a digest has {DIGEST_SIZE} bytes")
    return FeedEntry(raw, _number({"expiry": members[1]}, "expiry"))


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if type(value) is not str or not value or (name == "epoch" and len(value) > _LONGEST_EPOCH):
        raise FeedRefused(f"'{name}' is a text")
    return value


def _number(members: Mapping[str, Any], name: str) -> int:
    value = members.get(name)
    if type(value) is not int or not 0 <= value <= MAX_INSTANT:
        raise FeedRefused(f"'{name}' is a whole number that is not negative")
    return value
