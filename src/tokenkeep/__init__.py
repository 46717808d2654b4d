"""Tokenkeep: a complete JWT authentication system.

The engine is here by name; `tokenkeep.server.AuthServer` and `tokenkeep.verifier.TokenVerifier` are imported from
their modules, so that neither costs anything where it is not used.
"""

from tokenkeep.jose import Key, KeySet, TokenError, jws, jwt

__all__ = ["Key", "KeySet", "TokenError", "jws", "jwt"]
