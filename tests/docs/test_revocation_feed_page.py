"""The page about the revocation feed, and its test vector: true to the code, and made by it."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tokenkeep.contract.access_token import AccessToken
from tokenkeep.contract.revocation import DIGEST_SIZE, RevocationKind, RevocationSet, digest
from tokenkeep.contract.revocation_feed import DOCUMENT_LIFE, FEED_TYPE, LARGEST_DOCUMENT, FeedRefused, read_feed
from tokenkeep.jose import KeySet
from tokenkeep.verifier import KeyFetching, RevocationFeed
from tokenkeep.verifier.feed import LONGEST_WAIT
from tokenkeep.verifier.feed_client import FEED_PATH, MEDIA_TYPE
from tokenkeep.verifier.feed_following import FIRST_PAUSE, LONGEST_PAUSE, PACE, PACE_OF_NEWS
from tokenkeep.verifier.feed_reading import FeedReading
from tools import write_feed_vector

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs" / "revocation-feed.md").read_text("utf-8")
VECTOR: Final[dict[str, Any]] = json.loads(write_feed_vector.FILE.read_text("utf-8"))
DOCUMENTS: Final = {document["name"]: document for document in VECTOR["documents"]}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> KeySet:
    """The keys of the vector, which are publicly known and refused everywhere else."""
    monkeypatch.setattr("tokenkeep.jose.known_secrets._table", lambda: b"")
    return KeySet.from_jwks(json.dumps(VECTOR["keys"]).encode())


class Reader:
    """A reader of the vector's documents."""

    def __init__(self, keys: KeySet) -> None:
        self.revoked = RevocationSet()
        self._keys = keys
        self._reading = FeedReading(self.revoked, issuer=VECTOR["issuer"], leeway=VECTOR["leeway"])

    def does(self, name: str, at: float) -> str:
        """Give it a document at a time of its clock, and return what it does."""
        try:
            document = read_feed(DOCUMENTS[name]["text"].encode(), self._keys, algorithms=["EdDSA"])
            return "take" if self._reading.take(document, at) else "ask for everything"
        except FeedRefused:
            return "refuse"

    def refuses(self) -> list[str]:
        """Return which tokens are revoked."""
        return [token["name"] for token in VECTOR["tokens"] if self.revoked.contains(access_token(token))]


def access_token(token: dict[str, Any]) -> AccessToken:
    """Return the token that the vector describes."""
    return AccessToken(
        issuer=VECTOR["issuer"],
        subject=token["sub"],
        audience=("https://api.example.com",),
        issued_at=0.0,
        expires_at=0.0,
        token_id=token["jti"],
        client_id="a client",
        session_id=token["sid"],
        version=token["ver"],
        key_id=token["kid"],
    )


def test_the_vector_is_what_its_tool_writes():
    """The file is made by the code, to the byte."""
    assert write_feed_vector.FILE.read_text("utf-8") == write_feed_vector.text()


def test_every_step_of_the_vector_is_what_a_reader_does(keys: KeySet):
    """Our own reader takes, refuses and asks as the vector says, and then refuses those tokens."""
    reader = Reader(keys)
    for number, step in enumerate(VECTOR["steps"]):
        assert reader.does(step["document"], step["at"]) == step["does"], (number, step)
        assert reader.refuses() == step["revoked"], (number, step)
    assert {step["document"] for step in VECTOR["steps"]} == DOCUMENTS.keys()
    assert {step["does"] for step in VECTOR["steps"]} == {"take", "refuse", "ask for everything"}


def test_every_digest_of_the_vector_is_that_of_its_array():
    """Array and digest belong together, for every kind of entry."""
    kinds = set()
    for entry in VECTOR["entries"]:
        kind, issuer, *values = json.loads(entry["array"])
        kinds.add(kind)
        raw = digest(RevocationKind(kind), issuer, *values)
        assert entry["digest"] == write_feed_vector.encode_base64url(raw)
    assert kinds == set(RevocationKind)


def test_the_page_quotes_the_vector():
    """Key, array, digest, document and payload on the page are those of the file."""
    blocks = [block.strip() for block in re.findall(r"```(?:json)?\n(.*?)```", PAGE, re.DOTALL)]
    snapshot, session = DOCUMENTS["snapshot"], VECTOR["entries"][0]
    assert json.dumps(VECTOR["keys"], separators=(",", ":")) in blocks
    assert f"{session['array']}\n{session['digest']}" in blocks
    assert snapshot["text"] in blocks
    assert json.dumps(snapshot["payload"], separators=(",", ":")) in blocks


def test_the_verdicts_on_the_page_are_those_of_a_reader(keys: KeySet):
    """The table of what a reader makes of the snapshot is exact to the second."""
    rows = re.findall(r"^\| (\d{10}) \| (takes|refuses) \|", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for at, verdict in rows:
        assert Reader(keys).does("snapshot", int(at)) == verdict.removesuffix("s")


def test_the_numbers_on_the_page_are_those_of_the_code():
    """Limits, pauses and names are written as they are."""
    for number, text in (
        (LARGEST_DOCUMENT / 1024**2, "at most 64 MiB"),
        (DOCUMENT_LIFE, "60 seconds apart"),
        (DIGEST_SIZE, "the first 16 bytes of SHA-256"),
        (LONGEST_WAIT, "0 to 30, whole"),
        (LONGEST_PAUSE, "doubles up to 10 seconds"),
        (LONGEST_PAUSE, "min(10 s,"),
        (KeyFetching().cooldown.total_seconds(), "not more often than every 10 seconds"),
    ):
        assert str(round(number)) in re.findall(r"\d+", text), text
        assert text in PAGE, text
    assert (PACE, PACE_OF_NEWS) == (0.25, 0.05)
    assert "at least 0.25 s" in PAGE
    assert "(0.05 s after news)" in PAGE
    assert f"{FIRST_PAUSE} s * 2^(n-1)" in PAGE
    assert RevocationFeed(max_staleness=timedelta(seconds=40)).wait == 10
    assert "at most a quarter of `max_staleness`" in PAGE
    assert f"`Content-Type: {MEDIA_TYPE}`" in PAGE
    assert f"https://auth.example.com{FEED_PATH}?epoch=" in PAGE
    assert f"`typ`, which is `{FEED_TYPE}`" in PAGE
    for kind in RevocationKind:
        assert f'`["{kind.value}",iss,' in PAGE
