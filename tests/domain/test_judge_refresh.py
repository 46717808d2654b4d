"""The table that judges refresh tokens: every row, their order, and the exact edges of the windows."""

from dataclasses import replace

import pytest

from tokenkeep.domain.identifiers import account_id, session_id
from tokenkeep.domain.sessions import (
    Client,
    Delivery,
    Presented,
    Session,
    SessionPolicy,
    Verdict,
    advanced,
    judge_refresh,
)

GRACE = 10_000
ROTATED = 2_000_000
PREVIOUSLY_ROTATED = 1_995_000
IDLE_END = 9_000_000
END = 9_500_000

POLICY = SessionPolicy(idle=8_000_000, absolute=9_000_000, grace=GRACE)
CLIENT = Client("Firefox", "192.0.2.1")
SESSION = Session(
    id=session_id(bytes(16)),
    account_id=account_id(bytes(16)),
    secret=bytes(32),
    secret_version="version",
    generation=7,
    rotated_at=ROTATED,
    previous_rotated_at=PREVIOUSLY_ROTATED,
    created_at=500_000,
    last_used_at=ROTATED,
    idle_expires_at=IDLE_END,
    expires_at=END,
    delivery=Delivery.COOKIE,
    methods=("pwd",),
    user_agent=CLIENT.user_agent,
    fingerprint=CLIENT.fingerprint(),
    address=CLIENT.address,
    login_address="192.0.2.7",
)


def judge(
    generation: int,
    now: int,
    *,
    session: Session = SESSION,
    delivery: Delivery = Delivery.COOKIE,
    user_agent: str = CLIENT.user_agent,
    disabled: bool = False,
    policy: SessionPolicy = POLICY,
) -> Verdict:
    """Return the verdict on a token of that generation."""
    presented = Presented(generation, delivery, Client(user_agent).fingerprint())
    return judge_refresh(session, presented, now, policy, account_disabled=disabled)


@pytest.mark.parametrize(
    ("generation", "now", "verdict"),
    [
        # The current token rotates, whenever it comes.
        (7, ROTATED, Verdict.ROTATE),
        (7, ROTATED + GRACE, Verdict.ROTATE),
        (7, IDLE_END - 1, Verdict.ROTATE),
        # The one before it gets the lost answer again, inside the window only.
        (6, ROTATED, Verdict.REPLAY),
        (6, ROTATED + 1, Verdict.REPLAY),
        (6, ROTATED + GRACE - 1, Verdict.REPLAY),
        (6, ROTATED + GRACE, Verdict.REUSE),
        (6, ROTATED + GRACE + 1, Verdict.REUSE),
        (6, IDLE_END - 1, Verdict.REUSE),
        # Two behind: harmless while the window of the rotation before is open, and never a replay.
        (5, ROTATED, Verdict.OVERTAKEN),
        (5, PREVIOUSLY_ROTATED + GRACE - 1, Verdict.OVERTAKEN),
        (5, PREVIOUSLY_ROTATED + GRACE, Verdict.REUSE),
        (5, ROTATED + GRACE - 1, Verdict.REUSE),
        # Three and more behind are never harmless.
        (4, ROTATED, Verdict.REUSE),
        (4, PREVIOUSLY_ROTATED, Verdict.REUSE),
        (0, ROTATED, Verdict.REUSE),
        # Ahead of the database: it was rolled back.
        (8, ROTATED, Verdict.ROLLED_BACK),
        (9, ROTATED, Verdict.ROLLED_BACK),
        (2**32 - 1, IDLE_END - 1, Verdict.ROLLED_BACK),
    ],
)
def test_generation_and_instant_decide(generation: int, now: int, verdict: Verdict):
    """Each generation has its own window, which is open to its last millisecond and not at its end."""
    assert judge(generation, now) is verdict


@pytest.mark.parametrize("generation", [0, 4, 5, 6, 7, 8])
@pytest.mark.parametrize(
    ("now", "changes"),
    [
        (IDLE_END, {}),
        (IDLE_END + 1, {}),
        (END, {"idle_expires_at": END + 1_000}),
        (END + 1, {"idle_expires_at": END + 1_000}),
        (ROTATED, {"revoked_at": ROTATED - 1}),
        (ROTATED, {"revoked_at": ROTATED}),
        (ROTATED, {"revoked_at": ROTATED + 1}),
        (ROTATED, {"revoked_at": 0}),
    ],
)
def test_no_generation_survives_the_end_of_the_session(generation: int, now: int, changes: dict[str, int]):
    """A session that is revoked, idle too long or past its absolute end is over before generations are compared."""
    assert judge(generation, now, session=replace(SESSION, **changes)) is Verdict.ENDED


@pytest.mark.parametrize(
    ("now", "changes", "verdict"),
    [
        (IDLE_END - 1, {}, Verdict.ROTATE),
        (END - 1, {"idle_expires_at": END + 1_000}, Verdict.ROTATE),
        (END - 1, {"idle_expires_at": END}, Verdict.ROTATE),
        (IDLE_END, {"idle_expires_at": IDLE_END + 1}, Verdict.ROTATE),
    ],
)
def test_session_lives_to_its_last_millisecond(now: int, changes: dict[str, int], verdict: Verdict):
    """One millisecond before either end the session still rotates."""
    assert judge(7, now, session=replace(SESSION, **changes)) is verdict


@pytest.mark.parametrize("generation", [0, 5, 6, 7, 8])
def test_disabled_account_ends_the_session(generation: int):
    """Nothing is handed to a disabled account, and its tokens raise no alarm."""
    assert judge(generation, ROTATED, disabled=True) is Verdict.ENDED


@pytest.mark.parametrize("generation", [0, 5, 6, 7, 8])
@pytest.mark.parametrize("revoked_at", [None, ROTATED - 1])
@pytest.mark.parametrize("now", [ROTATED, ROTATED + GRACE, IDLE_END, END])
@pytest.mark.parametrize("disabled", [False, True])
def test_other_delivery_is_the_first_rule(generation: int, revoked_at: int | None, now: int, disabled: bool):
    """A token that came the other way is invalid whatever else is true of it, so it can end nothing."""
    session = replace(SESSION, revoked_at=revoked_at)
    assert judge(generation, now, session=session, delivery=Delivery.BODY, disabled=disabled) is Verdict.INVALID
    by_body = replace(session, delivery=Delivery.BODY)
    assert judge(generation, now, session=by_body, delivery=Delivery.COOKIE, disabled=disabled) is Verdict.INVALID


@pytest.mark.parametrize("delivery", list(Delivery))
def test_session_accepts_its_own_delivery(delivery: Delivery):
    """Both deliveries rotate when they match."""
    session = replace(SESSION, delivery=delivery)
    assert judge(7, ROTATED, session=session, delivery=delivery) is Verdict.ROTATE


@pytest.mark.parametrize(
    ("generation", "verdict"),
    [
        (7, Verdict.ROTATE),  # updating a browser must not log anyone out
        (6, Verdict.REUSE),
        (5, Verdict.OVERTAKEN),
        (4, Verdict.REUSE),
        (8, Verdict.ROLLED_BACK),
    ],
)
def test_another_program_never_gets_the_lost_answer(generation: int, verdict: Verdict):
    """Inside the window a token from another user agent is a stolen one; other rows do not look at the program."""
    assert judge(generation, ROTATED + 1, user_agent="curl") is verdict


@pytest.mark.parametrize(
    ("generation", "verdict"), [(7, Verdict.ROTATE), (6, Verdict.REUSE), (5, Verdict.REUSE), (8, Verdict.ROLLED_BACK)]
)
def test_without_grace_every_second_use_is_reuse(generation: int, verdict: Verdict):
    """A grace of zero closes both windows, in the very millisecond of the rotation too."""
    strict = SessionPolicy(idle=8_000_000, absolute=9_000_000, grace=0)
    session = replace(SESSION, previous_rotated_at=ROTATED)
    assert judge(generation, ROTATED, session=session, policy=strict) is verdict


def test_clock_that_steps_back_does_not_log_anyone_out():
    """A rotation that seems to lie in the future is inside its window."""
    assert judge(6, ROTATED - 5_000) is Verdict.REPLAY


def test_windows_follow_the_rotations():
    """After two rotations the windows are those of the last and of the one before it."""
    first = advanced(SESSION, CLIENT, 3_000_000, POLICY)
    second = advanced(first, CLIENT, 3_004_000, POLICY)
    verdicts = [
        (judge(9, 3_004_000, session=second), Verdict.ROTATE),
        (judge(8, 3_013_999, session=second), Verdict.REPLAY),
        (judge(8, 3_014_000, session=second), Verdict.REUSE),
        (judge(7, 3_009_999, session=second), Verdict.OVERTAKEN),
        (judge(7, 3_010_000, session=second), Verdict.REUSE),
        (judge(6, 3_004_000, session=second), Verdict.REUSE),
    ]
    assert [verdict for verdict, _ in verdicts] == [expected for _, expected in verdicts]


def test_replay_is_bound_to_the_program_that_rotated():
    """When the program changed at a rotation, the one that rotated gets the answer again, the one before does not."""
    rotated_by_another = advanced(SESSION, Client("Firefox 2"), 3_000_000, POLICY)
    assert judge(7, 3_000_001, session=rotated_by_another, user_agent="Firefox 2") is Verdict.REPLAY
    assert judge(7, 3_000_001, session=rotated_by_another, user_agent="Firefox") is Verdict.REUSE
