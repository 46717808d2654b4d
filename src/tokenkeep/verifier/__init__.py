"""For resource servers: what any API puts in front of its routes to accept access tokens."""

from tokenkeep.contract.access_token import AccessToken, Profile
from tokenkeep.verifier.async_verifier import AsyncTokenVerifier
from tokenkeep.verifier.challenge import CannotTell, Forbidden, InvalidToken, MissingToken, Refused
from tokenkeep.verifier.feed import RevocationFeed, RevocationStatus
from tokenkeep.verifier.jwks import KeyFetching
from tokenkeep.verifier.key_cache import KeyStatus
from tokenkeep.verifier.verifier import TokenVerifier

__all__ = [
    "AccessToken",
    "AsyncTokenVerifier",
    "CannotTell",
    "Forbidden",
    "InvalidToken",
    "KeyFetching",
    "KeyStatus",
    "MissingToken",
    "Profile",
    "Refused",
    "RevocationFeed",
    "RevocationStatus",
    "TokenVerifier",
]
