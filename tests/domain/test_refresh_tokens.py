"""Refresh tokens: one spelling, a tag over everything, the same text for the same generation."""

import base64
import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.test_judge_refresh import SESSION
from tokenkeep.domain.errors import InvalidRefreshToken
from tokenkeep.domain.identifiers import raw_id, session_id
from tokenkeep.domain.sessions import RefreshToken, Session, refresh_token_text

REFRESH_SECRET = b"\x01" * 32
OWN = replace(SESSION, id=session_id(bytes(range(16))), secret=b"\x02" * 32, generation=0x01020304)
TEXT = refresh_token_text(OWN, REFRESH_SECRET)


def spell(raw: bytes) -> str:
    """Return raw bytes spelt as a refresh token, computed without the code under test."""
    return "tkr_" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def raw_of(text: str) -> bytes:
    """Return the bytes of a refresh token, read without the code under test."""
    return base64.urlsafe_b64decode(text.removeprefix("tkr_") + "=" * (-(len(text) - 4) % 4))


def test_text_is_what_the_documented_format_says():
    """Version, session id, generation and tag are laid out as documented, and the tag is the documented HMAC."""
    body = b"\x01" + bytes(range(16)) + bytes([1, 2, 3, 4])
    tag_key = hmac.digest(REFRESH_SECRET, OWN.secret, hashlib.sha256)
    assert spell(body + hmac.digest(tag_key, body, hashlib.sha256)) == TEXT


@given(
    raw_session=st.binary(min_size=16, max_size=16),
    generation=st.integers(0, 2**32 - 1),
    session_secret=st.binary(min_size=32, max_size=32),
    refresh_secret=st.binary(min_size=32, max_size=32),
)
def test_token_reads_back_as_written(raw_session: bytes, generation: int, session_secret: bytes, refresh_secret: bytes):
    """Every token that is written is read with the same session and generation, and is authentic."""
    session = replace(OWN, id=session_id(raw_session), generation=generation, secret=session_secret)
    token = RefreshToken.parse(refresh_token_text(session, refresh_secret))
    assert (token.session_id, token.generation) == (session.id, generation)
    assert token.authentic(session, refresh_secret)


def test_same_generation_has_the_same_text():
    """The successor can be handed out twice although no token is stored."""
    assert refresh_token_text(replace(OWN), REFRESH_SECRET) == TEXT


def test_each_generation_has_its_own_text():
    """No two generations of a session share a token."""
    texts = {refresh_token_text(replace(OWN, generation=generation), REFRESH_SECRET) for generation in range(100)}
    assert len(texts) == 100


@pytest.mark.parametrize(
    ("session", "refresh_secret"),
    [
        pytest.param(OWN, b"\x01" * 31 + b"\x00", id="refresh secret"),
        pytest.param(replace(OWN, secret=b"\x02" * 31 + b"\x00"), REFRESH_SECRET, id="session secret"),
        pytest.param(replace(OWN, id=session_id(bytes(16))), REFRESH_SECRET, id="session id"),
    ],
)
def test_tag_depends_on_every_secret_and_on_the_session(session: Session, refresh_secret: bytes):
    """A leaked database alone, or a leaked server secret alone, forges nothing, and no tag fits another session."""
    assert not RefreshToken.parse(TEXT).authentic(session, refresh_secret)
    assert refresh_token_text(session, refresh_secret)[-42:] != TEXT[-42:]


@pytest.mark.parametrize("generation", [0, OWN.generation - 1, OWN.generation + 1, 2**32 - 1])
def test_tag_depends_on_the_generation(generation: int):
    """The tag of one generation does not fit another."""
    raw = raw_of(TEXT)
    forged = RefreshToken.parse(spell(raw[:17] + generation.to_bytes(4, "big") + raw[21:]))
    assert forged.generation == generation
    assert not forged.authentic(OWN, REFRESH_SECRET)


def test_tag_is_checked_for_the_generation_presented():
    """An old token is authentic: which generation is acceptable is the judge's business."""
    old = RefreshToken.parse(refresh_token_text(replace(OWN, generation=3), REFRESH_SECRET))
    assert old.authentic(OWN, REFRESH_SECRET)


def test_no_bit_can_be_changed():
    """A token with any one bit changed is malformed, names another session, or is not authentic."""
    accepted = []
    for bit in range(53 * 8):
        raw = bytearray(raw_of(TEXT))
        raw[bit // 8] ^= 1 << bit % 8
        try:
            token = RefreshToken.parse(spell(bytes(raw)))
        except InvalidRefreshToken:
            assert bit < 8, "only the version byte makes a token malformed"
            continue
        if token.session_id == OWN.id and token.authentic(OWN, REFRESH_SECRET):
            accepted.append(bit)
    assert accepted == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("tkr_", id="prefix only"),
        pytest.param(TEXT[4:], id="no prefix"),
        pytest.param("TKR_" + TEXT[4:], id="prefix in capitals"),
        pytest.param("tkr-" + TEXT[4:], id="other prefix"),
        pytest.param(TEXT[:-1], id="one character short"),
        pytest.param(TEXT + "A", id="one character long"),
        pytest.param(TEXT + "=", id="padding"),
        pytest.param(TEXT[:-1] + "=", id="padding inside"),
        pytest.param(" " + TEXT[:-1], id="leading space"),
        pytest.param(TEXT[:-1] + "\n", id="line break at the end"),
        pytest.param(TEXT[:-1] + "\0", id="NUL"),
        pytest.param(TEXT[:-1] + "é", id="not ASCII"),
        pytest.param(TEXT[:-1] + "\ud800", id="surrogate"),
        pytest.param("tkr_" + "+" * 71, id="other base64 alphabet"),
        pytest.param("tkr_" + "/" * 71, id="other base64 alphabet, slash"),
        pytest.param("tkr_" + "A" * 71, id="version 0"),
        pytest.param(spell(b"\x02" + raw_of(TEXT)[1:]), id="version 2"),
        pytest.param(spell(raw_of(TEXT)[:-1]), id="tag too short"),
        pytest.param(spell(raw_of(TEXT) + b"\0"), id="tag too long"),
        pytest.param("A" * 100_000, id="very long"),
    ],
)
def test_malformed_text_is_refused(text: str):
    """What does not have the exact form of a token is refused before anything is looked up."""
    with pytest.raises(InvalidRefreshToken):
        RefreshToken.parse(text)


def test_each_token_has_one_spelling():
    """The bits of the last character that belong to no byte must be zero."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twins = [TEXT[:-1] + character for character in alphabet]
    accepted = []
    for twin in twins:
        try:
            accepted.append(RefreshToken.parse(twin).authentic(OWN, REFRESH_SECRET))
        except InvalidRefreshToken:
            continue
    assert accepted.count(True) == 1
    assert len(accepted) == 16


@given(st.text(st.characters(), max_size=90) | st.text("tkr_AQgw-\0é", min_size=75, max_size=75))
def test_any_text_is_refused_in_the_same_way(text: str):
    """No text causes anything but the one documented refusal."""
    with pytest.raises(InvalidRefreshToken):
        RefreshToken.parse(text)


def test_token_is_prefixed_for_scanners_and_looks_like_no_jwt():
    """Leaked tokens can be found by their prefix, and nobody can take one for a JWT."""
    assert TEXT.startswith("tkr_")
    assert len(TEXT) == 75
    assert "." not in TEXT
    assert TEXT.isascii()


def test_repr_shows_no_tag():
    """A token that has been taken apart does not show its tag."""
    token = RefreshToken.parse(TEXT)
    assert repr(token.tag) not in repr(token)
    assert TEXT[-43:] not in repr(token)


def test_session_id_is_the_one_in_the_token():
    """The session id reads back as the bytes it was made of."""
    assert raw_id(RefreshToken.parse(TEXT).session_id) == bytes(range(16))
