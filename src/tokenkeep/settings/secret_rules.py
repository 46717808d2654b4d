"""Rules about secrets among the settings: what can be guessed, or stands in an example, may not start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tokenkeep.domain.secrets import SMALLEST_SECRET
from tokenkeep.jose import InvalidKey, Key
from tokenkeep.settings.finding import Finding, overridable
from tokenkeep.settings.kinds import Secret
from tokenkeep.settings.options import Settings

SHORTEST_OPS_TOKEN: Final = 32
"""Characters of the shortest operations token, and of the shortest feed token."""

_GENERATE: Final = "make one with: tokenkeep secret generate"


def server_secret(settings: Settings) -> Iterator[Finding]:
    """Judge whether the server secret, and each one before it, is long and not to be guessed."""
    given = [("secret", settings.secret), *(("previous_secrets", each) for each in settings.previous_secrets)]
    for name, secret in given:
        if secret is None:
            yield Finding("server-secret", True, "the server secret is the generated one")
            continue
        if len(secret.reveal().encode()) < SMALLEST_SECRET:
            yield Finding(
                "server-secret",
                False,
                f"{name} is shorter than {SMALLEST_SECRET} bytes",
                _GENERATE,
            )
            continue
        weakness = _weakness(secret)
        if weakness:
            yield overridable(
                "server-secret",
                f"{name} is weak ({weakness})",
                _GENERATE,
                ("allow_weak_secret", settings.allow_weak_secret),
            )
        else:
            yield Finding("server-secret", True, f"{name} is long and not publicly known")


def ops_token(settings: Settings) -> Iterator[Finding]:
    """Judge whether the operations token, where there is one, is long and not to be guessed."""
    if settings.ops_token is None:
        yield Finding("ops-token", True, "metrics are closed to others")
    else:
        complaint = _complaint("ops_token", settings.ops_token)
        yield complaint or Finding("ops-token", True, "metrics are closed to those without the ops_token")


def feed_token(settings: Settings) -> Iterator[Finding]:
    """Judge whether the feed token, where there is one, is long, not to be guessed, and no other secret."""
    token = settings.feed_token
    others = {"secret": settings.secret, "ops_token": settings.ops_token}
    if settings.signing_algorithm.startswith("HS"):
        yield Finding(
            "feed-token", True, f"no revocation feed: {settings.signing_algorithm} cannot be verified elsewhere"
        )
    elif settings.feed_public:
        yield Finding("feed-token", True, "anyone may read the revocation feed")
    elif token is None:
        yield Finding("feed-token", True, "no revocation feed: neither feed_token nor feed_public is set")
    elif complaint := _complaint("feed_token", token):
        yield complaint
    elif same := [name for name, other in others.items() if other and other.reveal() == token.reveal()]:
        yield Finding("feed-token", False, f"feed_token is also {same[0]}, which its readers would know", _GENERATE)
    else:
        yield Finding("feed-token", True, "the revocation feed is closed to those without the feed_token")


def _complaint(name: str, token: Secret) -> Finding | None:
    """Return what is wrong with a bearer token, if it could be guessed."""
    rule = name.replace("_", "-")
    if len(token.reveal()) < SHORTEST_OPS_TOKEN:
        return Finding(rule, False, f"{name} is shorter than {SHORTEST_OPS_TOKEN} characters", _GENERATE)
    if weakness := _weakness(token):
        return Finding(rule, False, f"{name} is weak ({weakness})", _GENERATE)
    return None


def _weakness(secret: Secret) -> str:
    """Return why a secret could be guessed: too little variety, publicly known, an example; empty if it could not."""
    try:
        Key.from_secret(secret.reveal().encode(), alg="HS256")
    except InvalidKey as error:
        return error.message.removeprefix("invalid key: ")
    return "it reads like a placeholder" if _is_placeholder(secret.reveal()) else ""


def _is_placeholder(text: str) -> bool:
    """Tell whether a secret is a text from an example, or one text three times and more."""
    words = "".join(filter(str.isalnum, text.lower()))
    repeated = any(text.startswith(text[length:]) for length in range(1, len(text) // 3 + 1))
    return repeated or _PLACEHOLDERS.search(words) is not None


_PLACEHOLDERS: Final = re.compile(
    r"(change|replace|insert|enter)(me|it|this|with|your|here|secret)|(your|my|super)(server|jwt)?(secret|key|256)"
    r"|generatewith|placeholder|example"
)
"""Words, letters and digits only, of what stands in an example for a secret that somebody is to put there."""
