"""Files of another user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SOMEBODY = 54_321
"""The id of a user who is neither root nor the one who runs the tests."""


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file, a folder or a link be another user's: give it away as root; else have this process be another."""
    if os.geteuid() == 0:
        os.chown(path, SOMEBODY, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
