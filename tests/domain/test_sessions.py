"""Sessions: how long they may live, what a rotation changes, and who counts as the same program."""

from dataclasses import replace

import pytest

from tests.domain.test_judge_refresh import SESSION
from tokenkeep.domain.sessions import LONGEST_GRACE, Client, SessionPolicy, advanced


@pytest.mark.parametrize(
    ("idle", "absolute", "grace"),
    [
        (1, 1, 0),
        (1, 1, LONGEST_GRACE),
        (1_000, 2_000, 10_000),
    ],
)
def test_policy_allows_its_bounds(idle: int, absolute: int, grace: int):
    """The least and greatest values are allowed."""
    assert SessionPolicy(idle, absolute, grace).grace == grace


@pytest.mark.parametrize(
    ("idle", "absolute", "grace", "complaint"),
    [
        (0, 1_000, 0, "idle"),
        (-1, 1_000, 0, "idle"),
        (1_001, 1_000, 0, "idle"),
        (1_000, 1_000, -1, "grace"),
        (1_000, 1_000, LONGEST_GRACE + 1, "grace"),
    ],
)
def test_policy_refuses_senseless_lives(idle: int, absolute: int, grace: int, complaint: str):
    """An idle life longer than the absolute one, or a grace over a minute, is a mistake in the settings."""
    with pytest.raises(ValueError, match=complaint):
        SessionPolicy(idle, absolute, grace)


def test_longest_grace_is_a_minute():
    """The window in which a thief could hide is bounded whatever is configured."""
    assert LONGEST_GRACE == 60_000


@pytest.mark.parametrize(
    ("now", "live"),
    [(0, True), (8_999_999, True), (9_000_000, False), (9_500_000, False)],
)
def test_session_lives_until_its_end(now: int, live: bool):
    """A session lives strictly before its end."""
    assert SESSION.live(now) is live


def test_ended_session_is_not_live():
    """A session that was ended is over at once, even one ended at the instant 0."""
    assert not replace(SESSION, revoked_at=0).live(1)


def test_rotation_moves_one_generation():
    """A rotation counts one up, remembers the instant before, and takes over the program that asked."""
    policy = SessionPolicy(idle=100_000, absolute=9_000_000, grace=0)
    client = Client("curl/8", "192.0.2.7")
    successor = advanced(SESSION, client, 3_000_000, policy)
    assert successor == replace(
        SESSION,
        generation=8,
        rotated_at=3_000_000,
        previous_rotated_at=SESSION.rotated_at,
        last_used_at=3_000_000,
        idle_expires_at=3_100_000,
        user_agent="curl/8",
        fingerprint=client.fingerprint(),
        address="192.0.2.7",
    )


def test_rotation_never_moves_the_absolute_end():
    """The idle life is cut at the absolute end, which no rotation moves."""
    policy = SessionPolicy(idle=8_000_000, absolute=9_000_000, grace=0)
    successor = advanced(SESSION, Client(), 9_400_000, policy)
    assert (successor.idle_expires_at, successor.expires_at) == (SESSION.expires_at, SESSION.expires_at)


def test_rotation_keeps_what_a_login_fixed():
    """Identity, secret, delivery and methods of a session never change."""
    policy = SessionPolicy(idle=8_000_000, absolute=9_000_000, grace=0)
    successor = advanced(SESSION, Client("other"), 3_000_000, policy)
    for name in ("id", "account_id", "secret", "secret_version", "created_at", "delivery", "methods"):
        assert getattr(successor, name) == getattr(SESSION, name)


def test_program_is_its_user_agent_alone():
    """A changed address is the same program (phones roam); a changed user agent is another one."""
    assert Client("Firefox", "192.0.2.1").fingerprint() == Client("Firefox", "2001:db8::1").fingerprint()
    assert len({Client(agent).fingerprint() for agent in ("", "Firefox", "firefox", "Firefox ")}) == 4


def test_fingerprint_of_broken_text_is_a_fingerprint():
    """A user agent that is not well-formed text still has a fingerprint."""
    assert len(Client("\udcff").fingerprint()) == 22


def test_repr_shows_no_secret():
    """Neither the text nor the bytes of a session's secret are in its repr."""
    secret = bytes(range(32))
    shown = repr(replace(SESSION, secret=secret))
    assert repr(secret) not in shown
    assert "secret=" not in shown
