"""Every error the token engine raises, each with a stable code.

::

    Exception
    ├── TokenError                  something presented (a token, a key, a document) is refused
    │   ├── MalformedToken          not a compact JWS of the accepted size and spelling
    │   ├── MalformedJson           not a strict JSON object
    │   ├── MalformedBase64         not canonical base64url
    │   ├── HeaderNotAccepted       the header demands something that is not supported (crit, b64)
    │   ├── AlgorithmNotAllowed     the header's algorithm is not accepted, or not the key's
    │   ├── KeySelectionError       the set does not name one key for the header      .kid
    │   │   ├── KeyNotFound         no key answers
    │   │   └── AmbiguousKey        several do
    │   ├── InvalidSignature        the signature is not this key's
    │   ├── TokenTypeNotAccepted    the header's typ is another one
    │   ├── ClaimError              a claim is refused                                .claim
    │   │   ├── ClaimMissing
    │   │   ├── ClaimInvalid        wrong type or outside of its range
    │   │   ├── TokenExpired                                                          .expired_at
    │   │   │   └── TokenTooOld     older than the accepted maximum age
    │   │   ├── TokenNotYetValid    nbf or iat lies in the future                     .valid_from
    │   │   ├── IssuerNotAccepted
    │   │   └── AudienceNotAccepted
    │   └── InvalidKey              also a ValueError: unusable or refused key material
    └── UsageError                  the calling code is wrong; raised before any token is looked at
        ├── InvalidArgument         also a ValueError
        │   └── ReservedName        a claim or header parameter that only the engine may set
        └── WrongType               also a TypeError
            └── KeyRequired         no key was given

Messages name the thing and the rule; they never contain a token, a key or the value of a claim.
"""

from datetime import datetime
from typing import ClassVar

__all__ = [
    "AlgorithmNotAllowed",
    "AmbiguousKey",
    "AudienceNotAccepted",
    "ClaimError",
    "ClaimInvalid",
    "ClaimMissing",
    "HeaderNotAccepted",
    "InvalidArgument",
    "InvalidKey",
    "InvalidSignature",
    "IssuerNotAccepted",
    "KeyNotFound",
    "KeyRequired",
    "KeySelectionError",
    "MalformedBase64",
    "MalformedJson",
    "MalformedToken",
    "ReservedName",
    "TokenError",
    "TokenExpired",
    "TokenNotYetValid",
    "TokenTooOld",
    "TokenTypeNotAccepted",
    "UsageError",
    "WrongType",
]


class TokenError(Exception):
    """Something that was presented is refused; the root of what untrusted input can cause."""

    #: Stable snake_case name of the error, made for programs.
    code: ClassVar[str] = "token_error"
    #: The name clients know from jsonwebtoken; it may be sent to them.
    reason: ClassVar[str] = "JsonWebTokenError"
    #: The message when none is given.
    sentence: ClassVar[str] = "token refused"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(self.sentence if message is None else message)

    @property
    def message(self) -> str:
        """The sentence for people; it never contains a token, a key or the value of a claim."""
        return str(self.args[0])


class MalformedToken(TokenError):
    """The token is not a compact JWS of the accepted size and spelling (RFC 7515 §3.1, §7.1)."""

    code = "malformed_token"
    sentence = "malformed token"


class MalformedJson(TokenError):
    """The text is not a strict JSON object (RFC 8259; RFC 7515 §4 on duplicate names)."""

    code = "malformed_json"
    sentence = "malformed JSON"


class MalformedBase64(TokenError):
    """The text is not canonical base64url without padding (RFC 7515 §2, RFC 4648 §3.5)."""

    code = "malformed_base64"
    sentence = "malformed base64url"


class HeaderNotAccepted(TokenError):
    """The header demands an extension that is not supported (RFC 7515 §4.1.11)."""

    code = "header_not_accepted"
    sentence = "header parameter not accepted"


class AlgorithmNotAllowed(TokenError):
    """The algorithm of the header is not an accepted one, or is not the one the key is bound to."""

    code = "algorithm_not_allowed"
    sentence = "algorithm not allowed"


class KeySelectionError(TokenError):
    """A key set could not name the one key of a header; raised as one of its two subclasses."""

    code = "key_selection"
    sentence = "no single key matches"

    #: The untrusted kid of the header, None when it had none. Not part of the message.
    kid: str | None

    def __init__(self, message: str | None = None, *, kid: str | None = None) -> None:
        super().__init__(message)
        self.kid = kid


class KeyNotFound(KeySelectionError):
    """No key of the set has the kid and the algorithm of the header."""

    code = "key_not_found"
    sentence = "key not found"


class AmbiguousKey(KeySelectionError):
    """Several keys of the set could have signed, because the header names none of them."""

    code = "ambiguous_key"
    sentence = "several keys match and the token names none"


class InvalidSignature(TokenError):
    """The signature was not made over this header and payload with this key."""

    code = "invalid_signature"
    sentence = "invalid signature"


class TokenTypeNotAccepted(TokenError):
    """The typ of the header is not the accepted one (RFC 7515 §4.1.9, RFC 8725 §3.11)."""

    code = "token_type_not_accepted"
    sentence = "token type not accepted"


class ClaimError(TokenError):
    """A claim of a correctly signed token is refused."""

    code = "claim_error"
    sentence = "claim not accepted"

    #: The name of the claim.
    claim: str

    def __init__(self, message: str | None = None, *, claim: str = "") -> None:
        super().__init__(message)
        self.claim = claim


class ClaimMissing(ClaimError):
    """A required claim is absent."""

    code = "claim_missing"
    sentence = "claim missing"


class ClaimInvalid(ClaimError):
    """A claim has the wrong type or lies outside of its range."""

    code = "claim_invalid"
    sentence = "claim invalid"


class TokenExpired(ClaimError):
    """The token's time is over (RFC 7519 §4.1.4)."""

    code = "token_expired"
    reason = "TokenExpiredError"
    sentence = "token expired"

    #: The instant from which the token is refused, leeway not included.
    expired_at: datetime | None

    def __init__(self, message: str | None = None, *, claim: str = "exp", expired_at: datetime | None = None) -> None:
        super().__init__(message, claim=claim)
        self.expired_at = expired_at


class TokenTooOld(TokenExpired):
    """The token was issued longer ago than the accepted maximum age."""

    code = "token_too_old"
    sentence = "token too old"


class TokenNotYetValid(ClaimError):
    """The token is presented before its time (RFC 7519 §4.1.5, §4.1.6)."""

    code = "token_not_yet_valid"
    reason = "NotBeforeError"
    sentence = "token not yet valid"

    #: The instant from which the token may be accepted, leeway not included.
    valid_from: datetime | None

    def __init__(self, message: str | None = None, *, claim: str = "nbf", valid_from: datetime | None = None) -> None:
        super().__init__(message, claim=claim)
        self.valid_from = valid_from


class IssuerNotAccepted(ClaimError):
    """The iss claim is not exactly the accepted issuer (RFC 7519 §4.1.1, RFC 8725 §3.8)."""

    code = "issuer_not_accepted"
    sentence = "issuer not accepted"


class AudienceNotAccepted(ClaimError):
    """No accepted audience is among the aud claim (RFC 7519 §4.1.3, RFC 8725 §3.9)."""

    code = "audience_not_accepted"
    sentence = "audience not accepted"


class InvalidKey(TokenError, ValueError):
    """Key material that cannot be read, or that is refused for what it is."""

    code = "invalid_key"
    sentence = "invalid key"


class UsageError(Exception):
    """The calling code is wrong; raised before any token is looked at and never because of one."""

    #: Stable snake_case name of the error, made for programs.
    code: ClassVar[str] = "usage_error"

    @property
    def message(self) -> str:
        """The sentence for the programmer."""
        return str(self.args[0]) if self.args else ""


class InvalidArgument(UsageError, ValueError):
    """An argument has a value that makes no sense."""

    code = "invalid_argument"


class ReservedName(InvalidArgument):
    """A custom claim or header parameter has a name that only the engine may set."""

    code = "reserved_name"


class WrongType(UsageError, TypeError):
    """An argument has the wrong type."""

    code = "wrong_type"


class KeyRequired(WrongType):
    """No key was given."""

    code = "key_required"

    def __init__(self, message: str = "secret or key required") -> None:
        super().__init__(message)
