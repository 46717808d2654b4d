"""Accounts: who may log in, how names are compared, what a password must be.

Not here: hashing (`passwords`), and what ends when an account changes (`domain.revocations`).
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from tokenkeep.domain.errors import InvalidField, PasswordChangeRequired
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.scripts import find_deception

DEFAULT_ROLE: Final = "user"
ADMIN_ROLE: Final = "admin"
LONGEST_NAME: Final = 128
"""Characters of the longest account name."""
LONGEST_PASSWORD: Final = 1024
"""Characters of the longest password; more is refused before any hashing."""
TEMPORARY_FOR: Final = 24 * 3_600_000
"""Milliseconds for which a temporary password can be replaced; after that it is no password at all."""

_ROLE: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
# Letters and marks that show nothing, so that two names with and without them look alike.
_BLANK: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Account:
    """Someone who may log in. Instants are milliseconds since the epoch, UTC.

    `token_version` grows whenever every access token issued so far must end. `password_expires_at` is when a temporary
    password ends, and None if the password lasts.
    """

    id: AccountId
    name: str
    name_key: str
    role: str
    token_version: int
    created_at: int
    password_hash: str | None = dataclasses.field(default=None, repr=False)
    disabled_at: int | None = None
    last_login_at: int | None = None
    password_expires_at: int | None = None

    @property
    def disabled(self) -> bool:
        """Whether the account may neither log in nor keep a session."""
        return self.disabled_at is not None

    @property
    def administers(self) -> bool:
        """Whether the account may act as an administrator now."""
        return self.role == ADMIN_ROLE and not self.disabled

    @property
    def has_temporary_password(self) -> bool:
        """Whether the password is good for nothing but setting another one."""
        return self.password_expires_at is not None

    def password_expired(self, at: int) -> bool:
        """Tell whether the password was a temporary one that has ended by an instant."""
        return self.password_expires_at is not None and at >= self.password_expires_at

    def hash_to_check(self, at: int) -> str | None:
        """Return the hash that somebody's password is checked against at an instant; None if nobody is let in."""
        return None if self.disabled or self.password_expired(at) else self.password_hash


@dataclass(frozen=True, slots=True)
class AccountName:
    """A name as its owner writes it, and the key under which it is unique.

    The repr shows neither: it may be nobody's, and a password typed in the wrong place.
    """

    display: str = dataclasses.field(repr=False)
    key: str = dataclasses.field(repr=False)


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """How long a new password must be, in characters. There are no composition rules.

    `service` are the words by which people know this service, which no password may be made of.
    """

    min_length: int = 15
    service: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 8 <= self.min_length <= 64:
            raise ValueError("the least password length must be between 8 and 64 characters")


def parse_name(text: str) -> AccountName:
    """Return the name in its two forms: Unicode-normalised for display, case-folded for comparison.

    Every name passes here, when it is set and when it is looked for.

    Raises:
        InvalidField: the name is empty, too long, padded, or holds characters that cannot be seen.
    """
    display = unicodedata.normalize("NFC", text)
    if not display or display != display.strip():
        raise InvalidField("name", "The name must not be empty or begin or end with white space")
    if len(display) > LONGEST_NAME:
        raise InvalidField("name", f"The name must have at most {LONGEST_NAME} characters")
    key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", display).casefold())
    if not _visible(display) or not _visible(key):
        raise InvalidField("name", "The name must not contain control or invisible characters")
    return AccountName(display, key)


def check_new_name(text: str) -> AccountName:
    """Return the name in its two forms if an account may be given it.

    More than `parse_name` asks: names that accounts have already must still be found by it.

    Raises:
        InvalidField: it is no name, or could be taken for another one by its look.
    """
    name = parse_name(text)
    deception = find_deception(unicodedata.normalize("NFKC", name.display))
    if deception is not None:
        raise InvalidField("name", f"The name {deception}")
    return name


def parse_role(text: str) -> str:
    """Return the role if it is a word of lower-case letters, digits, `_` and `-`.

    Raises:
        InvalidField: it is not.
    """
    if not _ROLE.fullmatch(text):
        raise InvalidField(
            "role", "The role must be 1 to 32 lower-case letters, digits, _ or -, beginning with a letter"
        )
    return text


def normalise_password(text: str, *, field: str = "password") -> str:
    """Return the password in Unicode form NFC, so that two keyboards that type the same text agree.

    Nothing else is changed: no trimming, no truncation, no case folding. Every password passes here, when it
    is set and when it is checked.

    Raises:
        InvalidField: it is longer than any password may be, or is not well-formed text.
    """
    if len(text) > LONGEST_PASSWORD:
        raise InvalidField(field, f"The password must have at most {LONGEST_PASSWORD} characters")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidField(field, "The password is not well-formed text")
    return unicodedata.normalize("NFC", text)


def check_new_password(text: str, name: AccountName, policy: PasswordPolicy, *, field: str = "password") -> str:
    """Return the normalised password if it may be set for the account named; `field` is what the caller calls it.

    Raises:
        InvalidField: it is too short or too long, or it is the name over again.
    """
    password = normalise_password(text, field=field)
    if len(password) < policy.min_length:
        raise InvalidField(field, f"The password must have at least {policy.min_length} characters")
    if password.casefold().replace(name.key, "").strip() == "":
        raise InvalidField(field, "The password must not be made of the name")
    return password


def password_end(at: int, *, temporary: bool) -> int | None:
    """Return when a password ends that is set by somebody else at an instant; None if it lasts."""
    return at + TEMPORARY_FOR if temporary else None


def require_successor(account: Account, new_password: str | None) -> str:
    """Return what is to become the password of an account whose right password came with a login.

    To be asked only when the password was found right: the answer tells what sort of password it is.

    Raises:
        PasswordChangeRequired: the password is temporary, and no other one came with it.
        InvalidField: the password lasts, and is not replaced by a login.
    """
    if not account.has_temporary_password:
        raise InvalidField("newPassword", "The password is not a temporary one; change it with POST /password")
    if new_password is None:
        raise PasswordChangeRequired
    return new_password


def require_other(new_password: str, current: str, *, field: str) -> None:
    """Return if a new password is another one than the temporary one that it replaces; both are normalised.

    Raises:
        InvalidField: it is the same.
    """
    if new_password == current:
        raise InvalidField(field, "The password must be another one than the temporary one")


def _visible(text: str) -> bool:
    return not _BLANK.search(text) and all(
        unicodedata.category(character) not in _REFUSED_CATEGORIES for character in text
    )
