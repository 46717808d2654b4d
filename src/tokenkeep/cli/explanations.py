"""What claims mean, and what usually causes a refusal and mends it, in words for a person."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

MEANING: Final = MappingProxyType(
    {
        "alg": "signature algorithm",
        "typ": "what sort of token this is",
        "kid": "which key signed it",
        "iss": "issuer: who made it",
        "sub": "subject: whom it is about",
        "aud": "audience: whom it is for",
        "exp": "expires",
        "nbf": "not valid before",
        "iat": "issued",
        "jti": "id of this token",
        "client_id": "client it was issued to",
        "sid": "session it belongs to",
        "ver": "token version of the account",
        "auth_time": "password was checked",
        "amr": "how the bearer proved who they are",
        "name": "name of the account",
        "role": "role of the account",
    }
)

_CAUSES: Final = MappingProxyType(
    {
        "malformed_token": "A token is three base64url texts with dots between them; look for a cut end or quotes.",
        "malformed_json": "Header or claims are not one well-formed JSON object.",
        "malformed_base64": "A character was lost or added; copy the token again, whole.",
        "header_not_accepted": "The header asks for something that is never done here, such as crit or b64.",
        "algorithm_not_allowed": "Signed with another algorithm than the key is for; never accept both.",
        "key_not_found": "The keys were rotated, or the token is of another issuer; fetch the key set again.",
        "ambiguous_key": "The token names no kid; give the one key that it was signed with.",
        "invalid_signature": "Signed with another key, or changed since; check that key and issuer belong together.",
        "token_type_not_accepted": "Another sort of token, such as an ID token where an access token is wanted.",
        "claim_missing": "The issuer did not write a claim that verifiers need.",
        "claim_invalid": "A claim has the wrong type, such as text where a number of seconds belongs.",
        "token_expired": "Ask for a new one with the refresh token; if it is new, compare the clocks.",
        "token_too_old": "It was issued too long ago; ask for a new one.",
        "token_not_yet_valid": "It begins in the future: compare the clocks.",
        "issuer_not_accepted": "iss must be the same text letter by letter, the closing slash included.",
        "audience_not_accepted": "The token is for another service; ask the issuer for one with this audience.",
        "invalid_key": "The key is damaged, too weak, or not for this algorithm.",
    }
)


def explain(code: str) -> str:
    """Return what usually causes a refusal, and what to do."""
    return _CAUSES.get(code, "")
