"""The tree of refusals: each leaf has a stable code and a sentence for anyone."""

import pytest

from tokenkeep.domain import errors
from tokenkeep.domain.errors import InvalidField, Refusal, Unavailable

LEAVES = [
    (errors.InvalidCredentials, "invalid_credentials", "Invalid credentials"),
    (errors.NoValidRefreshToken, "no_valid_refresh_token", "No valid refresh token"),
    (errors.InvalidRefreshToken, "invalid_refresh_token", "Invalid refresh token"),
    (errors.NameTaken, "name_taken", "Name already taken"),
    (errors.NotFound, "not_found", "Not found"),
    (errors.PasswordChangeRequired, "password_change_required", "Password change required"),
    (errors.Forbidden, "forbidden", "Forbidden"),
    (errors.StorageUnavailable, "storage_unavailable", "Temporarily unavailable"),
    (errors.HashingBusy, "busy", "Too many logins at once, try again shortly"),
]


@pytest.mark.parametrize(("leaf", "code", "sentence"), LEAVES)
def test_code_and_sentence_are_stable(leaf: type[Refusal], code: str, sentence: str):
    """What goes on the wire does not depend on the detail, which is for the log only."""
    refusal = leaf("internal: row 7 of table x")
    assert (refusal.code, refusal.sentence) == (code, sentence)
    assert refusal.detail == "internal: row 7 of table x"
    assert leaf().sentence == sentence


def test_field_carries_its_name():
    """A refused value names its field and says why."""
    refusal = InvalidField("name", "The name must not be empty")
    assert (refusal.code, refusal.field, refusal.sentence) == ("invalid_field", "name", "The name must not be empty")


@pytest.mark.parametrize("leaf", [errors.StorageUnavailable, errors.HashingBusy])
def test_unavailable_may_be_tried_again(leaf: type[Unavailable]):
    """What cannot be decided now says after how many seconds to try again."""
    assert leaf().retry_after >= 1
    assert isinstance(leaf(), Unavailable)
