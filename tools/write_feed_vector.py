"""Write tests/data/revocation-feed.json: documents of a revocation feed, and what a reader makes of them.

The key is the one printed in RFC 8037 appendix A, so that the same bytes come out each time. It is publicly known, and
the engine refuses it everywhere but here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from tokenkeep.contract.revocation import RevocationKind, digest
from tokenkeep.contract.revocation_feed import FEED_TYPE, FeedDocument, FeedEntry, sign_feed
from tokenkeep.jose import Key, jws
from tokenkeep.jose.encoding import decode_base64url, decode_object, encode_array, encode_base64url, encode_object

ROOT: Final = Path(__file__).resolve().parents[1]
FILE: Final = ROOT / "tests" / "data" / "revocation-feed.json"
PUBLISHED: Final = ROOT / "tests" / "data" / "rfc-examples.json"

ISSUER: Final = "https://auth.example.com"
ISSUED_AT: Final = 1_800_000_000
LIFE: Final = 60
LEEWAY: Final = 5
KEY_ID: Final = "feed-vector"
ENTRIES: Final[dict[str, tuple[RevocationKind, tuple[str | int, ...]]]] = {
    "a session": (RevocationKind.SESSION, ("yKZ0cJmO0UuG3l8vN1bq2Q",)),
    "an account, tokens of version 3": (RevocationKind.ACCOUNT, ("u1tVnW5yQ0a9p0b3cLx6zg", 3)),
    "a token": (RevocationKind.TOKEN, ("Rk9bJ2bqTqS7o1m4d8e5Xw",)),
    "a signing key": (RevocationKind.KEY, ("2025-old-key",)),
    "a name that is not ASCII": (RevocationKind.SESSION, ('größe "x" / \\',)),
}
TOKENS: Final[dict[str, dict[str, Any]]] = {
    "of the session": {"sid": "yKZ0cJmO0UuG3l8vN1bq2Q", "sub": "A", "ver": 1, "jti": "1", "kid": "k"},
    "of another session": {"sid": "another", "sub": "A", "ver": 1, "jti": "2", "kid": "k"},
    "of the account, version 3": {"sid": "s", "sub": "u1tVnW5yQ0a9p0b3cLx6zg", "ver": 3, "jti": "3", "kid": "k"},
    "of the account, version 4": {"sid": "s", "sub": "u1tVnW5yQ0a9p0b3cLx6zg", "ver": 4, "jti": "4", "kid": "k"},
    "the token": {"sid": "s", "sub": "A", "ver": 1, "jti": "Rk9bJ2bqTqS7o1m4d8e5Xw", "kid": "k"},
    "of the key": {"sid": "s", "sub": "A", "ver": 1, "jti": "5", "kid": "2025-old-key"},
}


def vector() -> dict[str, Any]:
    """Return what the file holds."""
    with patch("tokenkeep.jose.known_secrets._table", lambda: b""):
        key = Key.from_jwk({**_printed_key(), "kid": KEY_ID}, alg="EdDSA")
        texts = {name: _signed(name, document, key) for name, document in _documents().items()}
        return {
            "about": "Documents of a revocation feed and what a reader makes of them; see docs/revocation-feed.md.",
            "issuer": ISSUER,
            "leeway": LEEWAY,
            "keys": {"keys": [key.public().to_jwk()]},
            "entries": [_entry(name) for name in ENTRIES],
            "documents": [{"name": name, "text": text, **_opened(text)} for name, text in texts.items()],
            "steps": _steps(),
            "tokens": [{"name": name, **claims} for name, claims in TOKENS.items()],
        }


def text() -> str:
    """Return the file as it is written."""
    return json.dumps(vector(), indent=1, ensure_ascii=False) + "\n"


def _printed_key() -> dict[str, Any]:
    vectors = json.loads(PUBLISHED.read_text("utf-8"))["vectors"]
    keys = [entry["key"] for entry in vectors if (entry.get("key") or {}).get("crv") == "Ed25519"]
    return next(dict(key) for key in keys if "d" in key)


def _documents() -> dict[str, FeedDocument]:
    names = list(ENTRIES)
    entries = tuple(FeedEntry(_digest(name), ISSUED_AT + 960 + number) for number, name in enumerate(names))
    snapshot = FeedDocument(ISSUER, ISSUED_AT, ISSUED_AT + LIFE, "kq3xW0h8Qm2bq9yQ0o1n7A", 0, 2, entries[:2])
    later = replace(snapshot, issued_at=ISSUED_AT + 10, expires_at=ISSUED_AT + 10 + LIFE, after=2)
    return {
        "snapshot": snapshot,
        "nothing new": replace(later, entries=()),
        "news": replace(later, upto=4, entries=entries[2:4]),
        "another issuer": replace(snapshot, issuer="https://other.example.com"),
        "another type": snapshot,
        "no name of a key": snapshot,
        "forged": snapshot,
        "gap": replace(later, after=5, upto=6, entries=entries[4:5]),
        "backwards": replace(later, after=0, upto=1, entries=entries[:1]),
        "from the future": replace(later, issued_at=ISSUED_AT + 300, expires_at=ISSUED_AT + 300 + LIFE),
        "a part of another history": replace(later, epoch="Zt0m8mJqS3a1b2c3d4e5fQ", after=1, upto=3, entries=()),
        "another history": replace(later, epoch="Zt0m8mJqS3a1b2c3d4e5fQ", after=0, upto=1, entries=entries[3:4]),
    }


def _steps() -> list[dict[str, Any]]:
    """Return what one reader is given in order, when, what it does, and which tokens are revoked then."""
    first = ["of the session", "of the account, version 3"]
    more = [*first, "the token", "of the key"]
    rows: list[tuple[str, int, str, list[str]]] = [
        ("nothing new", 10, "ask for everything", []),
        ("another issuer", 10, "refuse", []),
        ("another type", 10, "refuse", []),
        ("no name of a key", 10, "refuse", []),
        ("forged", 10, "refuse", []),
        ("snapshot", 65, "refuse", []),
        ("snapshot", -6, "refuse", []),
        ("snapshot", 10, "take", first),
        ("nothing new", 11, "take", first),
        ("gap", 12, "ask for everything", first),
        ("news", 12, "take", more),
        ("news", 13, "take", more),
        ("nothing new", 13, "refuse", more),
        ("backwards", 13, "refuse", more),
        ("snapshot", 13, "refuse", more),
        ("from the future", 14, "refuse", more),
        ("a part of another history", 15, "ask for everything", more),
        ("another history", 15, "take", ["of the key"]),
    ]
    return [
        {"document": name, "at": ISSUED_AT + after, "does": does, "revoked": revoked}
        for name, after, does, revoked in rows
    ]


def _entry(name: str) -> dict[str, Any]:
    kind, values = ENTRIES[name]
    return {
        "name": name,
        "array": encode_array([kind.value, ISSUER, *values]).decode(),
        "digest": encode_base64url(_digest(name)),
    }


def _digest(name: str) -> bytes:
    kind, values = ENTRIES[name]
    return digest(kind, ISSUER, *values)


def _signed(name: str, document: FeedDocument, key: Key) -> str:
    text = sign_feed(document, key)
    if name == "another type":
        return jws.sign(decode_base64url(text.split(".")[1]), key, header={"typ": "at+jwt"})
    if name == "no name of a key":
        signed = f"{encode_base64url(encode_object({'alg': key.alg, 'typ': FEED_TYPE}))}.{text.split('.')[1]}"
        return f"{signed}.{encode_base64url(key.sign(signed.encode()))}"
    if name == "forged":
        head, payload, signature = text.split(".")
        return f"{head}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    return text


def _opened(text: str) -> dict[str, Any]:
    head, payload, _ = text.split(".")
    header = decode_object(decode_base64url(head))
    assert header["typ"] == FEED_TYPE or header["typ"] == "at+jwt"
    return {"header": header, "payload": decode_object(decode_base64url(payload))}


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
