"""The feed document: what is written is read back, and nothing that differs from it is believed."""

from __future__ import annotations

import pytest

from tokenkeep.contract.revocation import RevocationKind, digest
from tokenkeep.contract.revocation_feed import FEED_TYPE, FeedDocument, FeedEntry, FeedRefused, read_feed, sign_feed
from tokenkeep.jose import Key, KeyNotFound, KeySet, jws, jwt
from tokenkeep.jose.encoding import decode_object, encode_base64url, encode_object

ISSUER = "https://auth.example.com"
KEY = Key.generate("ES256")
KEYS = KeySet([KEY.public()])
DOCUMENT = FeedDocument(
    issuer=ISSUER,
    issued_at=1_800_000_000,
    expires_at=1_800_000_060,
    epoch="kq3xW0h8Qm2bq9yQ0o1n7A",
    after=3,
    upto=5,
    entries=(
        FeedEntry(digest(RevocationKind.SESSION, ISSUER, "s" * 22), 1_800_000_960),
        FeedEntry(digest(RevocationKind.ACCOUNT, ISSUER, "a" * 22, 7), 1_800_000_970),
    ),
)


def read(text: str, keys: KeySet = KEYS) -> FeedDocument:
    """Read a text as a follower does."""
    return read_feed(text.encode(), keys, algorithms=["ES256"])


def altered(**members) -> str:
    """Return the document signed with other members; one that is None is left out."""
    payload = decode_object(jws.verify(sign_feed(DOCUMENT, KEY), KEY, algorithms=["ES256"]).payload)
    payload = {name: value for name, value in {**payload, **members}.items() if value is not None}
    return jws.sign(encode_object(payload), KEY, header={"typ": FEED_TYPE})


def test_a_document_is_read_as_it_was_written():
    """Every member survives signing and reading."""
    assert read(sign_feed(DOCUMENT, KEY)) == DOCUMENT


def test_a_large_document_is_read():
    """A snapshot of ten thousand entries is longer than any token may be, and is read."""
    entries = tuple(FeedEntry(number.to_bytes(16, "big"), 1_800_000_960) for number in range(10_000))
    document = FeedDocument(ISSUER, 1, 2, "e", 0, 10_000, entries)
    assert read(sign_feed(document, KEY)) == document


def test_a_foreign_signature_is_refused():
    """A document that another key signed under the right kid is refused."""
    forger = Key.generate("ES256", kid=KEY.kid)
    with pytest.raises(FeedRefused, match="signature"):
        read(sign_feed(DOCUMENT, forger))


@pytest.mark.parametrize("keys", [KEY.public(), KEYS], ids=["one key", "a set"])
@pytest.mark.parametrize("kid", [None, "another"], ids=["no name", "another name"])
def test_a_document_names_its_key(keys: Key | KeySet, kid: str | None):
    """A document whose signature is right is refused if its header does not name the key: it may be a revoked one."""
    header = {"alg": KEY.alg, "typ": FEED_TYPE} | ({} if kid is None else {"kid": kid})
    _, payload, _ = sign_feed(DOCUMENT, KEY).split(".")
    signed = f"{encode_base64url(encode_object(header))}.{payload}"
    text = f"{signed}.{encode_base64url(KEY.sign(signed.encode()))}".encode()
    with pytest.raises((FeedRefused, KeyNotFound)):
        read_feed(text, keys, algorithms=["ES256"])
    assert read_feed(sign_feed(DOCUMENT, KEY).encode(), keys, algorithms=["ES256"]).key_id == KEY.kid


def test_an_unknown_key_is_told_apart():
    """A document of a key that the set does not hold is told apart, since a newer set may hold it."""
    with pytest.raises(KeyNotFound):
        read(sign_feed(DOCUMENT, Key.generate("ES256")))


def test_an_access_token_is_no_document():
    """A token signed by the same key is refused for its type, whatever it says."""
    from datetime import timedelta

    token = jwt.issue({}, KEY, issuer=ISSUER, audience=ISSUER, lifetime=timedelta(hours=1), token_type="at+jwt")
    with pytest.raises(FeedRefused, match="typ"):
        read(token)


def test_a_document_is_no_access_token():
    """No verifier of tokens takes a document for one."""
    from tokenkeep.verifier import InvalidToken, TokenVerifier

    verifier = TokenVerifier(issuer=ISSUER, audience=ISSUER, algorithms=["ES256"], keys=KEYS)
    with pytest.raises(InvalidToken):
        verifier.verify(sign_feed(DOCUMENT, KEY))


@pytest.mark.parametrize(
    "members",
    [
        {"iss": None},
        {"iss": 5},
        {"iss": ""},
        {"iat": "1800000000"},
        {"iat": True},
        {"iat": -1},
        {"exp": None},
        {"exp": 1.5},
        {"exp": 10**15},
        {"epoch": None},
        {"epoch": ""},
        {"epoch": "x" * 65},
        {"from": 6},
        {"from": None},
        {"to": None},
        {"to": "5"},
        {"entries": None},
        {"entries": {}},
        {"entries": ["AAAAAAAAAAAAAAAAAAAAAA"]},
        {"entries": [["AAAAAAAAAAAAAAAAAAAAAA"]]},
        {"entries": [["AAAAAAAAAAAAAAAAAAAAAA", 1, 2]]},
        {"entries": [["AAAAAAAAAAAAAAAAAAAA", 1]]},
        {"entries": [["AAAAAAAAAAAAAAAAAAAAAB", 1]]},
        {"entries": [[7, 1]]},
        {"entries": [["AAAAAAAAAAAAAAAAAAAAAA", "1"]]},
        {"entries": [["AAAAAAAAAAAAAAAAAAAAAA", True]]},
    ],
    ids=str,
)
def test_members_of_another_form_are_refused(members):
    """A member that is absent or of another type, range or size makes the whole document worth nothing."""
    with pytest.raises(FeedRefused):
        read(altered(**members))
