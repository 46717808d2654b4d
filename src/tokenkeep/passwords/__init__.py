"""Password hashing: Argon2id in a bounded pool off the event loop, with equal work for accounts that do not exist."""

from tokenkeep.passwords.argon2id import Argon2Parameters
from tokenkeep.passwords.pool import HashingPool

__all__ = ["Argon2Parameters", "HashingPool"]
