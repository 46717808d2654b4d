"""Verifiers that fetch their keys, against a real server: what they accept while it is well, ill, hostile or gone."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from tests.settable_clock import SettableClock
from tests.verifier.conftest import Drive
from tests.verifier.driven import Verdict
from tests.verifier.publisher import Publisher
from tests.verifier.requests_to_judge import (
    AUDIENCE,
    ISSUER,
    KEY,
    NOW,
    OTHER_KEY,
    REQUESTS,
    Request,
    token,
)
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.jose import Key, KeySet
from tokenkeep.verifier import (
    AccessToken,
    AsyncTokenVerifier,
    CannotTell,
    InvalidToken,
    KeyFetching,
    Profile,
    Refused,
    TokenVerifier,
)
from tokenkeep.verifier.remote import Limits

COOLDOWN: Final = 10.0
AGE: Final = 300.0
STALE: Final = 3_600.0
MANY: Final = 1_000
QUICK: Final = KeyFetching(timeout=timedelta(seconds=0.3))
"""For publishers that never answer."""
SOON: Final = 0.1
"""Seconds in which a publisher is given up that has stopped to answer; good answers have their usual time."""
WEAK: Final = {"kty": "RSA", "alg": "ES256", "kid": "weak", "n": "w" * 171, "e": "AQAB"}


@pytest.fixture(scope="module")
def unknown() -> list[str]:
    """Many tokens, each of a key that nobody publishes."""
    return [token(key=Key.generate("ES256", kid=f"unknown {number}")) for number in range(MANY)]


def verdicts_of(verdicts: list[Verdict]) -> set[type]:
    """Return the kinds of verdicts there are."""
    return {type(verdict) for verdict in verdicts}


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.name)
def test_request_gets_its_verdict(drive: Drive, request_: Request):
    """Every request of the shared list is judged with fetched keys as with given ones."""
    revocations = RevocationSet()
    revocations.add(request_.revoked)
    revocations.confirm(5.0)
    judge = drive(revocations=revocations, monotonic=lambda: request_.elapsed)
    if request_.refusal is None:
        assert judge.authenticate(request_.authorization()).name == "Ada"
        return
    with pytest.raises(Refused) as refusal:
        judge.authenticate(request_.authorization())
    assert (type(refusal.value), refusal.value.reason) == (request_.refusal, request_.reason)


def test_keys_are_fetched_once(drive: Drive, publisher: Publisher):
    """Many tokens at once cost one fetch, and so does everything until the keys get old."""
    verifier = drive()
    assert verdicts_of(verifier.verify_at_once([token()] * 200)) == {AccessToken}
    assert verifier.verify(token())
    assert len(publisher.asked) == 1


def test_nothing_happens_before_the_first_token(drive: Drive, publisher: Publisher):
    """A verifier that is made and closed starts no thread and asks nobody; nor does a token that no key makes good."""
    threads = threading.active_count()
    verifier = drive()
    for text in ("hello", "e30.e30.e30", token(token_type="JWT"), token(key=Key.generate("ES384")), "x" * 9_000):
        with pytest.raises(InvalidToken):
            verifier.verify(text)
    assert threading.active_count() == threads
    assert publisher.asked == []
    assert verifier.key_status().fetches == 0


ILLNESSES: Final[dict[str, Callable[[Publisher], Any]]] = {
    "up": lambda publisher: publisher.publish(KEY),
    "up, with a tag": lambda publisher: publisher.publish(KEY, headers={"ETag": '"one"'}),
    "down": lambda publisher: setattr(publisher, "behaviour", publisher.hang_up),
    "erring": lambda publisher: setattr(publisher, "status", 500),
    "publishing nothing": lambda publisher: publisher.publish(),
}


@pytest.mark.parametrize("illness", ILLNESSES)
def test_flood_of_unknown_keys_costs_one_fetch_per_cooldown(
    drive: Drive, publisher: Publisher, clock: SettableClock, unknown: list[str], illness: str
):
    """A thousand at once, each of another key: one fetch per cooldown however the issuer is, and good tokens go on."""
    verifier = drive()
    ILLNESSES["up, with a tag"](publisher)
    assert verifier.verify(token())
    ILLNESSES[illness](publisher)
    fetches = 1
    for flood in range(2):
        clock.elapse(COOLDOWN)
        fetches += 1
        for _ in range(2):
            verdicts = verifier.verify_at_once([*unknown, *[token()] * 20])
            assert verdicts_of(verdicts[-20:]) == {AccessToken}
            assert verdicts_of(verdicts[:-20]) <= {InvalidToken, CannotTell}
            if not illness.startswith("up"):
                assert verdicts_of(verdicts[:-20]) == {CannotTell}
            assert len(publisher.asked) == fetches, flood
    clock.elapse(COOLDOWN - 0.001)
    verifier.verify_at_once(unknown[:20])
    assert len(publisher.asked) == fetches


@pytest.mark.parametrize("illness", ["down", "erring", "publishing nothing"])
def test_flood_before_the_first_key_costs_one_fetch_per_cooldown(
    drive: Drive, publisher: Publisher, clock: SettableClock, unknown: list[str], illness: str
):
    """Without any key yet, a flood of good and unknown tokens is refused, not called invalid, and asks as rarely."""
    verifier = drive()
    ILLNESSES[illness](publisher)
    for fetches in (1, 2):
        assert verdicts_of(verifier.verify_at_once([*unknown, token()])) == {CannotTell}
        assert len(publisher.asked) == fetches
        clock.elapse(COOLDOWN)
    publisher.publish(KEY)
    assert verifier.verify(token())


def test_unknown_key_is_invalid_once_it_was_looked_up(drive: Drive, publisher: Publisher, clock: SettableClock):
    """The set is fetched after the token came, and then it is 401; within the cooldown a new one is 503."""
    verifier = drive()
    assert verifier.verify(token())
    clock.elapse(60.0)
    with pytest.raises(InvalidToken, match="key_not_found"):
        verifier.verify(token(key=OTHER_KEY))
    assert len(publisher.asked) == 2
    clock.elapse(1.5)
    with pytest.raises(CannotTell, match="fetched a moment ago") as refusal:
        verifier.verify(token(key=OTHER_KEY, token_id="another"))
    assert refusal.value.headers()["Retry-After"] == "9"
    assert len(publisher.asked) == 2


def test_unknown_key_is_not_invalid_while_nobody_can_look(drive: Drive, publisher: Publisher, clock: SettableClock):
    """If the set cannot be fetched, a token of an unknown key is refused with 503, since its key may be a new one."""
    verifier = drive()
    assert verifier.verify(token())
    clock.elapse(60.0)
    publisher.status = 500
    with pytest.raises(CannotTell, match="status 500"):
        verifier.verify(token(key=OTHER_KEY))
    clock.elapse(COOLDOWN)
    publisher.publish(KEY, OTHER_KEY)
    assert verifier.verify(token(key=OTHER_KEY))


def test_new_key_is_accepted_and_old_one_is_not(drive: Drive, publisher: Publisher, clock: SettableClock):
    """A token of a new key has the set fetched at once; a key that is taken back ends when the set is fetched anew."""
    verifier = drive()
    assert verifier.verify(token())
    clock.elapse(COOLDOWN)
    publisher.publish(OTHER_KEY)
    assert verifier.verify(token()), "the set is not old yet"
    assert verifier.verify(token(key=OTHER_KEY))
    with pytest.raises(Refused):
        verifier.verify(token())


def test_key_that_was_taken_back_ends_with_the_age(drive: Drive, publisher: Publisher, clock: SettableClock):
    """Also after a pause: past its age a set is not used before the issuer was asked again."""
    verifier = drive()
    assert verifier.verify(token())
    publisher.publish(OTHER_KEY)
    clock.elapse(AGE)
    with pytest.raises(InvalidToken):
        verifier.verify(token())


def test_busy_service_never_waits_for_new_keys(
    drive: Drive, publisher: Publisher, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
):
    """At the end of the age 500 tokens at once cost one fetch, which hangs, and all are accepted meanwhile."""
    verifier = drive()
    assert verifier.verify(token())
    clock.elapse(AGE - 1.0)
    publisher.behaviour = publisher.stay_silent
    monkeypatch.setattr(Limits, "whole", SOON)
    assert verdicts_of(verifier.verify_at_once([token()] * 500)) == {AccessToken}
    assert len(publisher.asked) == 2
    clock.elapse(1.0)
    assert verdicts_of(verifier.verify_at_once([token()] * 500)) == {AccessToken}


LATE: Final = r"no whole answer came within 0\.\d seconds"
HOSTILE: Final[dict[str, tuple[Callable[[Publisher], Any], str]]] = {
    "a redirect": (
        lambda publisher: (
            setattr(publisher, "status", 302),
            publisher.headers.update(Location="https://evil.example/jwks.json"),
        ),
        "status 302, and redirects are not followed",
    ),
    "no end": (lambda publisher: setattr(publisher, "behaviour", publisher.never_end), "larger than 262144 bytes"),
    "a trickle": (
        lambda publisher: setattr(publisher, "behaviour", publisher.trickle_the_body),
        LATE,
    ),
    "a trickling head": (
        lambda publisher: setattr(publisher, "behaviour", publisher.trickle_the_head),
        LATE,
    ),
    "silence": (
        lambda publisher: setattr(publisher, "behaviour", publisher.stay_silent),
        LATE,
    ),
    "a page": (lambda publisher: setattr(publisher, "body", b"<html>Sign in</html>"), "invalid key set"),
    "an error": (lambda publisher: setattr(publisher, "status", 500), "status 500"),
    "a closed connection": (
        lambda publisher: setattr(publisher, "behaviour", publisher.hang_up),
        "RemoteProtocolError",
    ),
    "no keys": (lambda publisher: publisher.publish(), "no key at all"),
    "two keys of one kid": (
        lambda publisher: publisher.publish(OTHER_KEY, Key.generate("ES256", kid=OTHER_KEY.kid)),
        "two keys have the same kid",
    ),
    "a weak key": (lambda publisher: publisher.publish(WEAK), "invalid key"),
    "a private key": (
        lambda publisher: publisher.publish(OTHER_KEY.to_jwk(private=True)),
        "private keys are not taken",
    ),
    "a shared secret": (
        lambda publisher: publisher.publish(Key.generate("HS256", kid=KEY.kid).to_jwk(private=True)),
        "symmetric keys are not taken",
    ),
    "too many keys": (lambda publisher: publisher.publish(*[{"kty": "PQ"}] * 101), "more than 100 entries"),
}


@pytest.mark.parametrize("hostility", HOSTILE)
def test_hostile_answer_changes_nothing(
    drive: Drive, publisher: Publisher, clock: SettableClock, caplog: pytest.LogCaptureFixture, hostility: str
):
    """Good tokens go on until the hard limit, nothing else is accepted, the log says why; then all is well again."""
    answer, why = HOSTILE[hostility]
    verifier = drive()
    assert verifier.verify(token())
    answer(publisher)
    with pytest.MonkeyPatch.context() as patch:
        if why == LATE:
            patch.setattr(Limits, "whole", SOON)
        clock.elapse(AGE)
        assert verifier.verify(token())
        assert re.search(why, caplog.text)
        assert verifier.key_status().failures == 1
        clock.elapse(COOLDOWN)
        with pytest.raises(CannotTell, match=why):
            verifier.verify(token(key=OTHER_KEY))
        with pytest.raises(InvalidToken):
            verifier.verify(token(key=Key.generate("HS256", kid=KEY.kid)))
        clock.elapse(STALE - COOLDOWN - 0.001)
        assert verifier.verify(token())
        clock.elapse(COOLDOWN)
        with pytest.raises(CannotTell, match=why) as refusal:
            verifier.verify(token())
        assert refusal.value.headers()["Retry-After"] == "10"
        assert not verifier.key_status().usable
    publisher.publish(KEY)
    clock.elapse(COOLDOWN)
    assert verifier.verify(token())
    assert verifier.key_status().trouble is None


@pytest.mark.parametrize("hostility", HOSTILE)
def test_hostile_answer_at_the_start_accepts_nobody(drive: Drive, publisher: Publisher, hostility: str):
    """Before there are good keys nothing is accepted, nothing is called invalid, and the refusal says why."""
    answer, why = HOSTILE[hostility]
    answer(publisher)
    verifier = drive(fetching=QUICK if why == LATE else KeyFetching())
    for text in (token(), token(key=OTHER_KEY)):
        with pytest.raises(CannotTell, match=why.replace(r"\d", "3")):
            verifier.verify(text)
    assert len(publisher.asked) == 1


def test_nobody_listens(drive: Drive, unused_tcp_port_factory: Callable[[], int]):
    """An issuer that is not there is said to be so."""
    verifier = drive(jwks_url=f"http://127.0.0.1:{unused_tcp_port_factory()}/jwks.json")
    with pytest.raises(CannotTell, match="ConnectError"):
        verifier.verify(token())
    assert not verifier.ready()


def test_one_bad_key_does_not_hide_the_others(drive: Drive, publisher: Publisher, caplog: pytest.LogCaptureFixture):
    """What cannot be used is left out and named in the log once; the rest is used."""
    publisher.publish(WEAK, {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}, KEY, OTHER_KEY.to_jwk(private=True))
    verifier = drive()
    assert verifier.verify(token())
    assert "keys[1]: invalid key: symmetric keys" in caplog.text
    with pytest.raises(InvalidToken):
        verifier.verify(token(key=OTHER_KEY))


def test_tokens_and_keys_are_not_logged(
    drive: Drive, publisher: Publisher, clock: SettableClock, caplog: pytest.LogCaptureFixture
):
    """At every level, no log line holds a token, or what a private key that was published by mistake says."""
    caplog.set_level(logging.DEBUG)
    secret = OTHER_KEY.to_jwk(private=True)
    publisher.publish(KEY, secret)
    verifier = drive()
    texts = [token(), token(key=OTHER_KEY)]
    verifier.verify_at_once(texts)
    publisher.body = b"[" + secret["d"].encode()
    clock.elapse(AGE)
    verifier.verify_at_once(texts)
    assert caplog.records
    assert not [text for text in (*texts, secret["d"]) if text in caplog.text]


def test_tag_spares_the_document(drive: Drive, publisher: Publisher, clock: SettableClock):
    """A set that has not changed is not sent again, and its keys go on."""
    publisher.publish(KEY, headers={"ETag": '"one"', "Cache-Control": "max-age=60"})
    verifier = drive()
    for _ in range(3):
        assert verifier.verify(token())
        clock.elapse(60.0)
    assert [request.headers.get("if-none-match") for request in publisher.requests] == [None, '"one"', '"one"']


def test_age_of_the_answer_is_heeded(drive: Drive, publisher: Publisher, clock: SettableClock):
    """The issuer says how long its keys are good, and what a cache on the way spent of that is counted."""
    publisher.publish(KEY, headers={"Cache-Control": "max-age=600", "Age": "500"})
    verifier = drive()
    assert verifier.verify(token())
    clock.elapse(74.0)
    assert verifier.verify(token())
    assert len(publisher.asked) == 1
    clock.elapse(26.0)
    assert verifier.verify(token())
    assert len(publisher.asked) == 2


@pytest.mark.parametrize("slash", ["", "/"])
def test_keys_are_below_the_issuer_by_default(drive: Drive, publisher: Publisher, slash: str):
    """Without keys and an address they are fetched where issuers publish them, with or without a slash at the end."""
    issuer = publisher.url.removesuffix("/jwks.json") + "/tenant" + slash
    verifier = drive(jwks_url=None, issuer=issuer)
    assert verifier.verify(token(issuer=issuer))
    assert publisher.asked == ["/tenant/.well-known/jwks.json"]


def test_readiness_fetches_the_keys(drive: Drive, publisher: Publisher, clock: SettableClock):
    """A health check that asks makes the keys come, and tells whether they are there."""
    publisher.publish()
    verifier = drive()
    assert not verifier.ready()
    assert "no key at all" in str(verifier.key_status().trouble)
    publisher.publish(KEY)
    clock.elapse(COOLDOWN)
    assert verifier.ready()
    assert verifier.verify(token())
    assert len(publisher.asked) == 2
    status = verifier.key_status()
    assert (status.usable, status.age, status.fetches, status.failures) == (True, 0.0, 2, 1)


def test_readiness_knows_of_revocations(drive: Drive):
    """A verifier whose revocations are not known yet is not ready."""
    revocations = RevocationSet()
    verifier = drive(revocations=revocations)
    assert not verifier.ready()
    revocations.confirm(float("inf"))
    assert verifier.ready()


def test_given_keys_are_always_ready(drive: Drive, publisher: Publisher):
    """With keys given nothing is fetched, for either kind."""
    verifier = drive(jwks_url=None, keys=KEY.public())
    assert verifier.ready()
    assert verifier.verify(token())
    with pytest.raises(InvalidToken, match="key_not_found"):
        drive(jwks_url=None, keys=lambda: KeySet([KEY.public()])).verify(token(key=OTHER_KEY))
    assert verifier.key_status().usable
    assert publisher.asked == []


def test_closed_verifier_fetches_nothing(drive: Drive, publisher: Publisher, clock: SettableClock):
    """After the end the keys at hand are still used while they may be, and nobody is asked."""
    verifier = drive()
    assert verifier.verify(token())
    verifier.close_the_verifier()
    clock.elapse(AGE - 1.0)
    assert verifier.verify(token())
    clock.elapse(1.0)
    with pytest.raises(CannotTell, match="closed"):
        verifier.verify(token())
    assert len(publisher.asked) == 1


WRONG: Final[list[dict[str, Any]]] = [
    {"issuer": None},
    {"issuer": ""},
    {"issuer": 7},
    {"issuer": "auth.example", "jwks_url": None},
    {"issuer": "http://auth.example", "jwks_url": None},
    {"issuer": "https://10.0.0.1", "jwks_url": None},
    {"audience": None},
    {"audience": ""},
    {"audience": []},
    {"algorithms": None},
    {"algorithms": []},
    {"algorithms": "ES256"},
    {"algorithms": ["none"]},
    {"algorithms": ["HS256"]},
    {"algorithms": ["ES256", "HS256"]},
    {"jwks_url": ""},
    {"jwks_url": 7},
    {"jwks_url": "http://auth.example/jwks.json"},
    {"jwks_url": "https://192.168.1.1/jwks.json"},
    {"jwks_url": "https://user:password@auth.example/jwks.json"},
    {"jwks_url": "file:///etc/passwd"},
    {"keys": KEY.public()},
    {"keys": 7, "jwks_url": None},
    {"keys": "", "jwks_url": None},
    {"keys": {"keys": []}, "jwks_url": None},
    {"leeway": timedelta(seconds=61)},
    {"token_type": ""},
    {"revocations": RevocationSet(), "profile": Profile.RFC_9068},
    {"revocations": RevocationSet(), "profile": Profile.PLAIN},
]


@pytest.mark.parametrize("verifier", [TokenVerifier, AsyncTokenVerifier])
@pytest.mark.parametrize("changes", WRONG, ids=" ".join)
def test_verifier_that_would_accept_too_much_cannot_be_made(verifier: type, changes: dict[str, Any]):
    """What is empty, open, contradictory or unsafe is refused when it is made, before any token."""
    arguments = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ["ES256"],
        "jwks_url": "https://auth.example/jwks.json",
    }
    assert verifier(**arguments)
    with pytest.raises((ValueError, TypeError)):
        verifier(**{**arguments, **changes})


@pytest.mark.parametrize("verifier", [TokenVerifier, AsyncTokenVerifier])
@pytest.mark.parametrize("name", ["issuer", "audience", "algorithms"])
def test_what_decides_may_not_be_left_out(verifier: type, name: str):
    """Issuer, audience and algorithms have no default."""
    arguments = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ["ES256"]}
    del arguments[name]
    with pytest.raises(TypeError, match=name):
        verifier(**arguments)


@pytest.mark.parametrize("verifier", [TokenVerifier, AsyncTokenVerifier])
def test_missing_http_library_is_named_at_once(verifier: type, monkeypatch: pytest.MonkeyPatch):
    """Without the library that fetches, a verifier that would fetch cannot be made; one with keys can."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    arguments = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ["ES256"]}
    with pytest.raises(ModuleNotFoundError, match=r"tokenkeep\[verifier\]"):
        verifier(**arguments)
    assert verifier(**arguments, keys=KEY.public())


def test_one_header_is_not_taken_for_all(drive: Drive):
    """Whoever hands over one header instead of the list is told, since a second one would not be noticed."""
    with pytest.raises(TypeError, match="list"):
        drive().authenticate(f"Bearer {token()}")  # type: ignore[arg-type]


def test_clock_decides_about_time(drive: Drive):
    """The clock that is given decides about expiry, for fetched keys too."""
    now = [NOW]
    verifier = drive(clock=lambda: now[0])
    assert verifier.verify(token())
    now[0] += 905
    with pytest.raises(InvalidToken) as refusal:
        verifier.verify(token())
    assert refusal.value.reason == "TokenExpiredError"
