"""What is wrong with the address of a store."""

from __future__ import annotations


class AddressError(ValueError):
    """An address that cannot be read or used: what was found, and the fix. Nothing of the address is repeated."""

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(f"{found}: {fix}")
        self.found = found
        self.fix = fix
