"""Secrets that are easy to recognise, and the search for them in whatever was written."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

PASSWORD: Final = "canary password 8d1f one"
NEW_PASSWORD: Final = "canary password 8d1f two"
FIRST_PASSWORD: Final = "canary password 8d1f tmp"
NEWCOMER: Final = "Emmy"
"""Who has that temporary password; no secret."""
WRONG_PASSWORD: Final = "canary password 8d1f bad"
MISTYPED_NAME: Final = "canary-password-as-name-77aa"
SERVER_SECRET: Final = "canary-of-the-server-secret-0b1c2d3e4f5061728394a5b6"
OPS_TOKEN: Final = "canary-of-the-operations-token-66f7e8d9c0b1a2f3e4"
FEED_TOKEN: Final = "canary-of-the-feed-token-9d0c1b2a3f4e5d6c7b8a"
BASIC: Final = "Basic " + base64.b64encode(b"canary-user:canary-basic-password").decode()
DPOP: Final = "canary-dpop-proof.canary-dpop-payload.canary-dpop-signature"
FORGED_REFRESH: Final = "tkr_" + "canaryForgedRefreshToken" * 3
FORGED_ACCESS: Final = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.canaryForgedSignatureCanaryForgedSignatureA"
DATABASE_PASSWORD: Final = "canary-of-the-database-password"

FIXED: Final = (
    *(PASSWORD, NEW_PASSWORD, WRONG_PASSWORD, MISTYPED_NAME, SERVER_SECRET, OPS_TOKEN, BASIC, DPOP, FORGED_REFRESH),
    *(FORGED_ACCESS, DATABASE_PASSWORD, FEED_TOKEN, FIRST_PASSWORD),
)


class Canaries:
    """All secrets of a story: those known beforehand, and those handed out on the way."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        for secret in FIXED:
            self.add(secret)

    def add(self, secret: str) -> str:
        """Remember a secret in every spelling in which it could be written down; returns it."""
        known_by = f"{secret[:16]}…"
        # Of a token, its second half alone would give it away; the first is the same for many.
        for text in (secret, secret[len(secret) // 2 :]):
            for spelling in (text, quote(text, safe=""), json.dumps(text)[1:-1], repr(text)[1:-1]):
                self._texts[spelling] = known_by
        self._texts[base64.b64encode(secret.encode()).decode().rstrip("=")] = known_by
        self._texts[secret.encode().hex()] = known_by
        return secret

    def add_all(self, secrets: Iterable[str]) -> None:
        """Remember several."""
        for secret in secrets:
            self.add(secret)

    def found_in(self, text: str) -> set[str]:
        """Return which secrets a text gives away."""
        return {known_by for spelling, known_by in self._texts.items() if spelling in text}
