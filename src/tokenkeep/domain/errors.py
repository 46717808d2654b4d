"""What the system refuses. One tree, each leaf with a stable code and a sentence that is safe to show anyone.

    Refusal
    ├── InvalidCredentials      wrong name, wrong password, disabled account: never told apart
    ├── NoValidRefreshToken     absent, ended, revoked or reused
    ├── InvalidRefreshToken     malformed, forged, of another delivery, or overtaken
    ├── InvalidField            a value that no rule can accept; carries the field
    ├── NameTaken
    ├── LastAdministrator       nobody would be left who can undo it
    ├── VerifiersNotReady       a key of another algorithm may not sign yet
    ├── NotFound
    ├── Forbidden
    ├── PasswordChangeRequired  a temporary password is good for nothing but setting another one
    ├── Throttled               too many attempts; carries the delay and the quota
    └── Unavailable             nothing is wrong with the request, but it cannot be decided now; carries a delay
        ├── StorageUnavailable
        └── HashingBusy

`detail` is for the log only. Status codes are none of this module's business (`api.problems`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

from tokenkeep.domain.limits import Quota
from tokenkeep.domain.readiness import Need


class Refusal(Exception):
    """A request was refused; `code` is stable, `sentence` is public, `detail` is private."""

    code: ClassVar[str] = "refused"
    sentence: str = "Refused"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.sentence)
        self.detail = detail


class InvalidCredentials(Refusal):
    """The name and password do not open an account; why is not said."""

    code = "invalid_credentials"
    sentence = "Invalid credentials"


class NoValidRefreshToken(Refusal):
    """No refresh token was presented, or its session is over."""

    code = "no_valid_refresh_token"
    sentence = "No valid refresh token"


class InvalidRefreshToken(Refusal):
    """The refresh token is malformed, forged, sent the wrong way, or a newer one is already on its way."""

    code = "invalid_refresh_token"
    sentence = "Invalid refresh token"


class InvalidField(Refusal):
    """A value was refused; `field` names it as it is called on the wire."""

    code = "invalid_field"

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field = field
        self.sentence = sentence


class NameTaken(Refusal):
    """Another account has this name, or one that reads the same."""

    code = "name_taken"
    sentence = "Name already taken"


class LastAdministrator(Refusal):
    """The change would leave no enabled administrator who can log in for certain."""

    code = "last_administrator"
    sentence = "The last administrator cannot give up the role, be disabled or be deleted"


class VerifiersNotReady(Refusal):
    """The upcoming key is of another algorithm, and nobody has said that every verifier accepts it."""

    code = "verifiers_not_ready"
    sentence = "The next key has another algorithm: have every verifier accept it, then say that they are ready"


class NotFound(Refusal):
    """The thing named does not exist, or is not the caller's to see."""

    code = "not_found"
    sentence = "Not found"


class Forbidden(Refusal):
    """The caller is known, and may not do this."""

    code = "forbidden"
    sentence = "Forbidden"


class PasswordChangeRequired(Refusal):
    """The password is right, but a temporary one: it opens nothing until another one is set with it."""

    code = "password_change_required"
    sentence = "Password change required"


class Throttled(Refusal):
    """Too many attempts; another one may be made after `retry_after` seconds. Nothing was looked at."""

    code = "too_many_requests"
    sentence = "Too many attempts, try again later"

    def __init__(self, retry_after: int, quota: Quota | None = None) -> None:
        super().__init__(quota.name if quota else "name")
        self.retry_after = retry_after
        self.quota = quota


class Unavailable(Refusal):
    """The request cannot be decided now; it may be tried again after `retry_after` seconds.

    `missing` names what the process lacks, where it was asked for that.
    """

    code = "unavailable"
    sentence = "Temporarily unavailable"
    retry_after: int = 1

    def __init__(self, detail: str = "", *, missing: Iterable[Need] = ()) -> None:
        super().__init__(detail)
        self.missing = tuple(missing)


class StorageUnavailable(Unavailable):
    """The database did not answer, so nothing was decided and nothing was changed."""

    code = "storage_unavailable"


class HashingBusy(Unavailable):
    """More passwords are waiting to be checked than can be in reasonable time, or there is no memory to check one."""

    code = "busy"
    sentence = "Too many logins at once, try again shortly"

    def __init__(self, detail: str = "", *, retry_after: float = 1) -> None:
        super().__init__(detail)
        self.retry_after = max(1, math.ceil(retry_after))
