"""One list of requests with the verdict on each, for the verifier and for everything that is built on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from tokenkeep.contract.revocation import RevocationKind, RevocationSet, digest
from tokenkeep.jose import Key, KeySet, jwt
from tokenkeep.verifier import CannotTell, InvalidToken, MissingToken, Refused, TokenVerifier
from tokenkeep.verifier.challenge import AmbiguousRequest

NOW: Final = 1_767_225_600
ISSUER: Final = "https://auth.example"
AUDIENCE: Final = "https://api.example"
KEY: Final = Key.generate("ES256")
OTHER_KEY: Final = Key.generate("ES256")
CLAIMS: Final = {
    "client_id": "tokenkeep",
    "sid": "BBBBBBBBBBBBBBBBBBBBBA",
    "ver": 3,
    "auth_time": NOW - 60,
    "amr": ["pwd"],
    "name": "Ada",
    "role": "user",
}


def token(claims: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """Return an access token for Ada, changed in what is given; a claim given as None is left out."""
    arguments: dict[str, Any] = {
        "key": KEY,
        "issuer": ISSUER,
        "subject": "AAAAAAAAAAAAAAAAAAAAAA",
        "audience": AUDIENCE,
        "lifetime": timedelta(minutes=15),
        "token_type": "at+jwt",
        "token_id": "one-of-a-kind",
        "now": NOW,
        **changes,
    }
    written = {name: value for name, value in {**CLAIMS, **(claims or {})}.items() if value is not None}
    return jwt.issue(written, arguments.pop("key"), **arguments)


def verifier(revoked: RevocationSet | None = None, *, elapsed: float = 0.0, **changes: Any) -> TokenVerifier:
    """Return a verifier at the instant NOW, `elapsed` seconds after the revocations were confirmed for 5 seconds."""
    if revoked is None:
        revoked = RevocationSet()
    revoked.confirm(5.0)
    arguments: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ["ES256"],
        "keys": KeySet([KEY.public()]),
        "revocations": revoked,
        "clock": lambda: NOW,
        "monotonic": lambda: elapsed,
        **changes,
    }
    return TokenVerifier(**arguments)


@dataclass(frozen=True)
class Request:
    """A request, what is revoked when it comes, and how it is refused; None if it is accepted."""

    name: str
    authorization: Callable[[], list[str]]
    refusal: type[Refused] | None = None
    reason: str | None = None
    revoked: list[bytes] = field(default_factory=list)
    elapsed: float = 0.0


def bearer(text: Callable[[], str]) -> Callable[[], list[str]]:
    """Return the headers that carry a token."""
    return lambda: [f"Bearer {text()}"]


def invalid(name: str, text: Callable[[], str], reason: str = "JsonWebTokenError") -> Request:
    """Return a request whose token is refused."""
    return Request(name, bearer(text), InvalidToken, reason)


def headers(*values: str) -> Callable[[], list[str]]:
    """Return the headers with these values."""
    return lambda: list(values)


def revoked(name: str, kind: RevocationKind, *values: str | int) -> Request:
    """Return a request whose token was revoked by an entry."""
    return Request(name, bearer(token), InvalidToken, "JsonWebTokenError", [digest(kind, ISSUER, *values)])


def _tampered() -> str:
    head, payload, signature = token().split(".")
    return f"{head}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def _without_signature() -> str:
    return token().rpartition(".")[0] + "."


REQUESTS: Final = [
    Request("a good token", bearer(token)),
    Request("a good token, scheme in small letters", lambda: [f"bearer {token()}"]),
    Request("a good token, scheme in mixed letters", lambda: [f"bEaReR {token()}"]),
    Request("a good token after several spaces", lambda: [f"Bearer   {token()}"]),
    Request("a good token, within the leeway of its expiry", bearer(lambda: token(now=NOW - 904))),
    Request("a good token, within the leeway of its issue", bearer(lambda: token(now=NOW + 5))),
    Request("a good token among several audiences", bearer(lambda: token(audience=["other", AUDIENCE]))),
    Request("a good token, its type spelt out", bearer(lambda: token(token_type="application/at+jwt"))),
    Request("a good token, its type in capitals", bearer(lambda: token(token_type="AT+JWT"))),
    Request("a good token beside other revocations", bearer(token), revoked=[bytes(16)]),
    Request("a good token just before the revocations go stale", bearer(token), elapsed=4.999),
    Request("no header", headers(), MissingToken),
    Request("an empty header", headers(""), MissingToken),
    Request("another scheme", headers("Basic QWRhOnNlY3JldA=="), MissingToken),
    Request("another scheme with a token", lambda: [f"DPoP {token()}"], MissingToken),
    Request("a token without a scheme", lambda: [token()], MissingToken),
    Request("two headers", lambda: [f"Bearer {token()}", f"Bearer {token()}"], AmbiguousRequest),
    Request("two headers, one of another scheme", lambda: ["Basic QQ==", f"Bearer {token()}"], AmbiguousRequest),
    Request("the scheme alone", headers("Bearer"), InvalidToken, "JsonWebTokenError"),
    Request("the scheme and a space", headers("Bearer "), InvalidToken, "JsonWebTokenError"),
    Request("a tab after the scheme", lambda: [f"Bearer\t{token()}"], InvalidToken, "JsonWebTokenError"),
    Request("a list of tokens", lambda: [f"Bearer {token()}, {token()}"], InvalidToken, "JsonWebTokenError"),
    Request("two tokens", lambda: [f"Bearer {token()} {token()}"], InvalidToken, "JsonWebTokenError"),
    Request("a list of schemes", lambda: [f"Bearer {token()}, Basic QQ=="], InvalidToken, "JsonWebTokenError"),
    Request("a token in quotes", lambda: [f'Bearer "{token()}"'], InvalidToken, "JsonWebTokenError"),
    Request("a parameter", lambda: [f"Bearer token={token()}"], InvalidToken, "JsonWebTokenError"),
    Request("a space after the token", lambda: [f"Bearer {token()} "], InvalidToken, "JsonWebTokenError"),
    Request("a line break after the token", lambda: [f"Bearer {token()}\n"], InvalidToken, "JsonWebTokenError"),
    invalid("text that is no token", lambda: "hello"),
    invalid("two segments", lambda: "e30.e30"),
    invalid("four segments", lambda: token() + ".x"),
    invalid("padding", lambda: token() + "="),
    invalid("a very long text", lambda: "x" * 10_000),
    invalid("a tampered signature", _tampered),
    invalid("no signature", _without_signature),
    invalid("one more character", lambda: token() + "x"),
    invalid("a token of another key", lambda: token(key=OTHER_KEY)),
    invalid("a token of another key under this kid", lambda: token(key=Key.generate("ES256", kid=KEY.kid))),
    invalid("a token of another algorithm", lambda: token(key=Key.generate("HS256", kid=KEY.kid))),
    invalid("a token of another issuer", lambda: token(issuer="https://evil.example")),
    invalid("an issuer with a slash more", lambda: token(issuer=ISSUER + "/")),
    invalid("an issuer that begins alike", lambda: token(issuer=ISSUER + ".evil.example")),
    invalid("a token for somebody else", lambda: token(audience="https://other.example")),
    invalid("an audience that begins alike", lambda: token(audience=AUDIENCE + "/x")),
    invalid("a part of the audience", lambda: token(audience="https://api")),
    invalid("a token for the issuer itself", lambda: token(audience=ISSUER)),
    invalid("another type", lambda: token(token_type="JWT")),
    invalid("no type", lambda: token(token_type=None)),
    invalid("the type of a logout token", lambda: token(token_type="logout+jwt")),
    invalid("a type that begins alike", lambda: token(token_type="at+jwt2")),
    invalid("no subject", lambda: token(subject=None)),
    invalid("no client", lambda: token({"client_id": None})),
    invalid("a session that is no text", lambda: token({"sid": 7})),
    invalid("a version that is no number", lambda: token({"ver": "3"})),
    invalid("a role that is a list", lambda: token({"role": ["admin"]})),
    invalid("an expired token", lambda: token(now=NOW - 906), "TokenExpiredError"),
    invalid("a token that expired at this very instant", lambda: token(now=NOW - 905), "TokenExpiredError"),
    invalid("a token of another year", lambda: token(now=NOW - 366 * 86_400), "TokenExpiredError"),
    invalid("a token that is not valid yet", lambda: token(not_before=NOW + 6), "NotBeforeError"),
    invalid("a token from the future", lambda: token(now=NOW + 6), "NotBeforeError"),
    revoked("a token whose session ended", RevocationKind.SESSION, "BBBBBBBBBBBBBBBBBBBBBA"),
    revoked("a token that was revoked by itself", RevocationKind.TOKEN, "one-of-a-kind"),
    revoked("a token of an account version that ended", RevocationKind.ACCOUNT, "AAAAAAAAAAAAAAAAAAAAAA", 3),
    revoked("a token of a revoked key", RevocationKind.KEY, KEY.kid),
    Request("a good token while the revocations are stale", bearer(token), CannotTell, elapsed=5.0),
    Request(
        "a bad token while the revocations are stale", bearer(_tampered), InvalidToken, "JsonWebTokenError", elapsed=60
    ),
    Request(
        "a revoked token while the revocations are stale",
        bearer(token),
        InvalidToken,
        "JsonWebTokenError",
        [digest(RevocationKind.SESSION, ISSUER, "BBBBBBBBBBBBBBBBBBBBBA")],
        elapsed=60,
    ),
]
