"""The token engine: sign and verify JWS and JWT, read and write keys. Bytes in, values out; sync and pure.

`jwt` and `jws` hold the verbs, `Key` and `KeySet` the keys, `ClaimsPolicy` what a token must say, `errors` everything
that can be refused.
"""

from tokenkeep.jose import errors, jws, jwt
from tokenkeep.jose.claims import ClaimsPolicy
from tokenkeep.jose.errors import (
    AlgorithmNotAllowed,
    AmbiguousKey,
    AudienceNotAccepted,
    ClaimError,
    ClaimInvalid,
    ClaimMissing,
    HeaderNotAccepted,
    InvalidArgument,
    InvalidKey,
    InvalidSignature,
    IssuerNotAccepted,
    KeyNotFound,
    KeyRequired,
    KeySelectionError,
    MalformedBase64,
    MalformedJson,
    MalformedToken,
    ReservedName,
    TokenError,
    TokenExpired,
    TokenNotYetValid,
    TokenTooOld,
    TokenTypeNotAccepted,
    UsageError,
    WrongType,
)
from tokenkeep.jose.jws import JwsContent
from tokenkeep.jose.jwt import UnverifiedToken, VerifiedToken
from tokenkeep.jose.key_set import KeySet
from tokenkeep.jose.keys import EcKey, HmacKey, Key, OkpKey, RsaKey

__all__ = [
    "AlgorithmNotAllowed",
    "AmbiguousKey",
    "AudienceNotAccepted",
    "ClaimError",
    "ClaimInvalid",
    "ClaimMissing",
    "ClaimsPolicy",
    "EcKey",
    "HeaderNotAccepted",
    "HmacKey",
    "InvalidArgument",
    "InvalidKey",
    "InvalidSignature",
    "IssuerNotAccepted",
    "JwsContent",
    "Key",
    "KeyNotFound",
    "KeyRequired",
    "KeySelectionError",
    "KeySet",
    "MalformedBase64",
    "MalformedJson",
    "MalformedToken",
    "OkpKey",
    "ReservedName",
    "RsaKey",
    "TokenError",
    "TokenExpired",
    "TokenNotYetValid",
    "TokenTooOld",
    "TokenTypeNotAccepted",
    "UnverifiedToken",
    "UsageError",
    "VerifiedToken",
    "WrongType",
    "errors",
    "jws",
    "jwt",
]
