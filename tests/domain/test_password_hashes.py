"""Stored password hashes: which text is one, what it costs, and which costs are too great."""

from __future__ import annotations

import pytest

from tokenkeep.domain.errors import InvalidField
from tokenkeep.domain.password_hashes import (
    Argon2Cost,
    BcryptCost,
    HashCost,
    cost_of,
    parse_kind,
    read_hash,
    slowest_of_each,
)

SALT = "MDEyMzQ1Njc4OWFiY2RlZg"
DIGEST = "cqEcKKNc1Z4nkKzqjTtfw6V8xNXvSGUQ9Ggw7Wb0I0k"
BCRYPT = "XsdlX6i3vkUEBtHcTvHk7eBHSFGqQ3v/FEBk6Srr.eKZ3hGmbdtd6"


def argon2(parameters: str = "m=19456,t=2,p=1", salt: str = SALT, digest: str = DIGEST) -> str:
    """Return an Argon2id hash in PHC form."""
    return f"$argon2id$v=19${parameters}${salt}${digest}"


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        (argon2(), Argon2Cost(19_456, 2, 1)),
        (argon2("m=8,t=1,p=1"), Argon2Cost(8, 1, 1)),
        (argon2("m=262144,t=10,p=16"), Argon2Cost(262_144, 10, 16)),
        (argon2("m=102400,t=2,p=8"), Argon2Cost(102_400, 2, 8)),
        (argon2(salt="c29tZXNhbHQ"), Argon2Cost(19_456, 2, 1)),
        (argon2(digest="MDEyMzQ1Njc4OWFiY2RlZg"), Argon2Cost(19_456, 2, 1)),
        (f"$2a$04${BCRYPT}", BcryptCost(4)),
        (f"$2b$12${BCRYPT}", BcryptCost(12)),
        (f"$2y$10${BCRYPT}", BcryptCost(10)),
        (f"$2b$14${BCRYPT}", BcryptCost(14)),
    ],
)
def test_hash_tells_its_cost(text: str, cost: HashCost):
    """Argon2id in PHC form and the three spellings of bcrypt are read, up to the ceiling and with it."""
    assert read_hash(text) == cost
    assert cost_of(text) == cost


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain text",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "$argon2id$",
        argon2("m=19456,t=2"),
        argon2("m=19456,t=2,p=1,x=1"),
        argon2("m=19456,t=2,p=0"),
        argon2("m=019456,t=2,p=1"),
        argon2("m=-1,t=2,p=1"),
        argon2("m=15,t=2,p=2"),
        argon2("m=٣,t=2,p=1"),
        argon2(digest="MDEyMzQ1Njc4OWFiY2Rl"),
        argon2(salt="c2FsdA"),
        argon2(salt="MDEyMzQ1Njc4OWFiY2RlZh"),
        argon2(digest=DIGEST[:-1] + "l"),
        argon2() + "=",
        argon2() + "\n",
        " " + argon2(),
        argon2().replace("v=19", "v=16"),
        argon2().replace("argon2id", "argon2i"),
        argon2().replace("argon2id", "argon2d"),
        argon2().replace("$v=19", ""),
        f"$2$12${BCRYPT}",
        f"$2x$12${BCRYPT}",
        f"$2c$12${BCRYPT}",
        f"$2b$12${BCRYPT[:-1]}",
        f"$2b$12${BCRYPT}6",
        f"$2b$12${BCRYPT[:-1]}7",
        f"$2b$12${BCRYPT[:21]}f{BCRYPT[22:]}",
        f"$2b$12${'!' * 53}",
        f"$2b$03${BCRYPT}",
        f"$2b$3${BCRYPT}",
        f"$2b$12${BCRYPT}\n",
        f"$2b$١٢${BCRYPT}",
        "$6$rounds=5000$salt$digest",
        "pbkdf2_sha256$870000$salt$digest",
        "é",
        "\0",
        "\udcff",
        argon2() * 1_000,
    ],
)
def test_other_text_is_no_hash(text: str):
    """Whatever cannot be checked exactly as it is spelt is refused; the refusal names the forms, and no hash."""
    with pytest.raises(InvalidField, match="Argon2id in PHC form, or bcrypt") as refusal:
        read_hash(text)
    assert refusal.value.field == "password_hash"
    assert not text or text not in refusal.value.sentence
    assert cost_of(text) is None


@pytest.mark.parametrize(
    "text",
    [
        argon2("m=262145,t=1,p=1"),
        argon2("m=19456,t=11,p=1"),
        argon2("m=19456,t=2,p=17"),
        argon2("m=4194304,t=3,p=4"),
        argon2("m=9999999999,t=9999999999,p=9999999"),
        f"$2b$15${BCRYPT}",
        f"$2b$31${BCRYPT}",
        f"$2b$99${BCRYPT}",
    ],
)
def test_hash_that_costs_too_much_is_none(text: str):
    """One pass, one lane, one KiB or one power of two above the ceiling, and a hash is not checked."""
    with pytest.raises(InvalidField, match="costs too much"):
        read_hash(text)
    assert cost_of(text) is None


def test_absent_hash_costs_nothing():
    """An account without a password has no kind of hash."""
    assert cost_of(None) is None


@pytest.mark.parametrize("cost", [Argon2Cost(19_456, 2, 1), Argon2Cost(8, 1, 1), BcryptCost(4), BcryptCost(14)])
def test_kind_is_read_as_it_is_written(cost: HashCost):
    """The text of a cost is what is stored beside a hash, and names exactly that cost."""
    assert parse_kind(str(cost)) == cost


@pytest.mark.parametrize("text", ["", "scrypt 5", "bcrypt 12 ", "bcrypt 31", "argon2id m=9999999,t=1,p=1", "bcrypt"])
def test_kind_of_another_version_is_none(text: str):
    """A kind that this version would not check is passed over."""
    assert parse_kind(text) is None


def test_slowest_may_be_one_of_few():
    """Of each algorithm, and of as many lanes, the one of the greatest weight may be the slowest of all."""
    costs: set[HashCost] = {
        Argon2Cost(19_456, 2, 1),
        Argon2Cost(65_536, 3, 1),
        Argon2Cost(65_536, 2, 1),
        Argon2Cost(102_400, 2, 8),
        Argon2Cost(65_536, 2, 8),
        BcryptCost(10),
        BcryptCost(12),
    }
    assert slowest_of_each(costs) == {Argon2Cost(65_536, 3, 1), Argon2Cost(102_400, 2, 8), BcryptCost(12)}
    assert slowest_of_each(set()) == set()
