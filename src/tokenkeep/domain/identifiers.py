"""Account and session ids: 16 random bytes, written as 22 characters of base64url. Ids are never reused."""

from __future__ import annotations

import re
from typing import Final, NewType

from tokenkeep.domain.errors import NotFound
from tokenkeep.jose.encoding import decode_base64url, encode_base64url

AccountId = NewType("AccountId", str)
SessionId = NewType("SessionId", str)

ID_SIZE: Final = 16
"""Bytes of an id."""

_FORM: Final = re.compile(r"[A-Za-z0-9_-]{22}")


def account_id(raw: bytes) -> AccountId:
    """Return the text of an account id made of 16 random bytes."""
    return AccountId(_text(raw))


def session_id(raw: bytes) -> SessionId:
    """Return the text of a session id made of 16 random bytes."""
    return SessionId(_text(raw))


def parse_account_id(text: str) -> AccountId:
    """Return the account id that a request names.

    Raises:
        NotFound: no account can have it.
    """
    if not _FORM.fullmatch(text):
        raise NotFound
    return AccountId(text)


def parse_session_id(text: str) -> SessionId:
    """Return the session id that a request names.

    Raises:
        NotFound: no session can have it.
    """
    if not _FORM.fullmatch(text):
        raise NotFound
    return SessionId(text)


def raw_id(text: AccountId | SessionId) -> bytes:
    """Return the 16 bytes that an id's text stands for."""
    return decode_base64url(text)


def _text(raw: bytes) -> str:
    if len(raw) != ID_SIZE:
        raise ValueError(f"an id is {ID_SIZE} bytes, not {len(raw)}")
    return encode_base64url(raw)
