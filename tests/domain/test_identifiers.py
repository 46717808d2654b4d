"""Account and session ids: 16 bytes, 22 characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.domain.identifiers import account_id, raw_id, session_id


@given(st.binary(min_size=16, max_size=16))
def test_id_reads_back_as_its_bytes(raw: bytes):
    """An id of 16 bytes is 22 characters of base64url and stands for exactly these bytes."""
    text = account_id(raw)
    assert len(text) == 22
    assert raw_id(text) == raw
    assert session_id(raw) == text


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_id_of_another_size_is_refused(size: int):
    """Nothing but 16 bytes makes an id."""
    with pytest.raises(ValueError, match="16 bytes"):
        session_id(bytes(size))
