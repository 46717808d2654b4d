"""For resource servers: what any API puts in front of its routes to accept access tokens."""

from tokenkeep.contract.access_token import AccessToken
from tokenkeep.verifier.challenge import CannotTell, Forbidden, InvalidToken, MissingToken, Refused
from tokenkeep.verifier.verifier import TokenVerifier

__all__ = ["AccessToken", "CannotTell", "Forbidden", "InvalidToken", "MissingToken", "Refused", "TokenVerifier"]
