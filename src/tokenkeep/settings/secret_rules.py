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
"""Characters of the shortest operations token."""


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
                "make one with: tokenkeep secret generate",
            )
            continue
        weakness = _weakness(secret)
        if weakness:
            yield overridable(
                "server-secret",
                f"{name} is weak ({weakness})",
                "make one with: tokenkeep secret generate",
                ("allow_weak_secret", settings.allow_weak_secret),
            )
        else:
            yield Finding("server-secret", True, f"{name} is long and not publicly known")


def ops_token(settings: Settings) -> Iterator[Finding]:
    """Judge whether the operations token, where there is one, is long and not to be guessed."""
    fix = "make one with: tokenkeep secret generate"
    if settings.ops_token is None:
        yield Finding("ops-token", True, "metrics are closed to others")
    elif len(settings.ops_token.reveal()) < SHORTEST_OPS_TOKEN:
        yield Finding("ops-token", False, f"ops_token is shorter than {SHORTEST_OPS_TOKEN} characters", fix)
    elif weakness := _weakness(settings.ops_token):
        yield Finding("ops-token", False, f"ops_token is weak ({weakness})", fix)
    else:
        yield Finding("ops-token", True, "metrics are closed to those without the ops_token")


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
