"""bcrypt hashes of imported accounts: whom they let in, and what bcrypt cannot tell apart."""

from __future__ import annotations

import bcrypt
import pytest

from tokenkeep.domain.password_hashes import BcryptCost, cost_of
from tokenkeep.passwords import bcrypt_hashes

PASSWORD = "correct-horse-battery"


def hashed(password: bytes, prefix: str = "2b") -> str:
    """Return the cheapest hash that another system would have stored."""
    return bcrypt.hashpw(password[:72], bcrypt.gensalt(4)).decode().replace("$2b$", f"${prefix}$")


@pytest.mark.parametrize(
    ("stored", "password"),
    [
        # Made by other programs than the library that is used here: crypt_blowfish's and OpenBSD's own examples.
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"),
        ("$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"),
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", ""),
    ],
)
def test_published_hashes_are_checked(stored: str, password: str):
    """Hashes that other programs published let their passwords in, and nobody else."""
    assert cost_of(stored) == BcryptCost(5)
    assert bcrypt_hashes.verify(stored, password)
    assert not bcrypt_hashes.verify(stored, password + "x")


@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
@pytest.mark.parametrize("password", [PASSWORD, "x", "pässwörd über alles", "🐎" * 18, "x" * 72])
def test_whole_password_lets_in(prefix: str, password: str):
    """Every spelling of the algorithm's name is checked, up to 72 bytes."""
    stored = hashed(password.encode(), prefix)
    assert bcrypt_hashes.verify(stored, password)
    for other in (password + " ", " " + password, password.upper() + "!", password[:-1], ""):
        assert not bcrypt_hashes.verify(stored, other)


@pytest.mark.parametrize(
    ("password", "other"),
    [
        ("x" * 72, "x" * 73),
        ("x" * 72, "x" * 72 + "\0"),
        ("x" * 73, "x" * 74),
        ("x" * 72 + "a", "x" * 72 + "b"),
        ("🐎" * 18, "🐎" * 19),
        ("é" * 36, "é" * 37),
        ("before", "before\0after"),
        ("", "\0after"),
    ],
)
def test_what_bcrypt_does_not_see_lets_nobody_in(password: str, other: str):
    """A password with more than 72 bytes, or with a NUL, opens no hash of what it begins with."""
    stored = hashed(password.encode())
    assert not bcrypt_hashes.verify(stored, other)


def test_long_password_does_not_open_its_own_truncated_hash():
    """Whoever had a password of more than 72 bytes elsewhere needs a new one: its hash cannot tell it from others."""
    password = "a passphrase of more than seventy-two bytes, which another system cut without a word"
    assert bcrypt.checkpw(password.encode()[:72], hashed(password.encode()).encode())
    assert not bcrypt_hashes.verify(hashed(password.encode()), password)


@pytest.mark.parametrize("password", ["x" * 73, "x" * 1024, "before\0after", "\0"])
def test_what_bcrypt_does_not_see_costs_the_same(monkeypatch: pytest.MonkeyPatch, password: str):
    """Such a password is checked all the same, so that its refusal takes as long as any other."""
    checked = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda typed, stored: checked.append(typed) or True)
    assert not bcrypt_hashes.verify(hashed(b"other"), password)
    assert len(checked) == 1
    assert len(checked[0]) <= 72
    assert b"\0" not in checked[0]


@pytest.mark.parametrize("stored", ["", "x", "$2b$04$", "$2b$04$" + "x" * 53, "$2b$99$" + "." * 53])
def test_text_that_is_no_hash_has_no_password(stored: str):
    """A stored text that bcrypt cannot read lets nobody in, and raises nothing."""
    assert not bcrypt_hashes.verify(stored, PASSWORD)


def test_hash_can_be_made_to_be_measured():
    """A hash of any cost can be made, for learning how long one takes."""
    made = bcrypt_hashes.make_hash(BcryptCost(5), PASSWORD)
    assert cost_of(made) == BcryptCost(5)
    assert bcrypt_hashes.verify(made, PASSWORD)
