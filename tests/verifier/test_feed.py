"""Verifiers that follow a revocation feed, against a real server: what they accept while it is well, ill or hostile."""

from __future__ import annotations

import json
import logging
import re
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.certificate import Certificate
from tests.settable_clock import SettableClock
from tests.verifier.conftest import Follow
from tests.verifier.feed_publisher import FEED_TOKEN, FeedPublisher, Question, telling
from tests.verifier.followed import STALENESS, feed_of
from tests.verifier.publisher import Handler, document, publishing
from tests.verifier.requests_to_judge import AUDIENCE, CLAIMS, ISSUER, KEY, NOW, OTHER_KEY, token
from tokenkeep.contract.revocation import RevocationKind, digest
from tokenkeep.contract.revocation_feed import FEED_TYPE
from tokenkeep.jose import Key, KeySet, jws
from tokenkeep.jose.encoding import decode_base64url, encode_base64url
from tokenkeep.verifier import (
    AsyncTokenVerifier,
    KeyFetching,
    Profile,
    RevocationFeed,
    TokenVerifier,
    feed_client,
)
from tokenkeep.verifier.feed_following import FIRST_PAUSE, LONGEST_PAUSE, PACE
from tokenkeep.verifier.remote import Limits

SESSION: Final = digest(RevocationKind.SESSION, ISSUER, str(CLAIMS["sid"]))
SOON: Final = 0.2
"""Seconds in which a feed is given up that does not answer; keys, and good answers, have their usual time."""
LATE: Final = "no whole answer came within 0.2 seconds"
SHORT: Final = 3.0
"""Seconds of a staleness under which no request waits for news."""


def test_revoked_token_is_refused(follow: Follow, feed: FeedPublisher):
    """The first token waits for everything that is revoked; what is revoked later is known as soon as it is told."""
    feed.revoke(digest(RevocationKind.TOKEN, ISSUER, "gone"))
    verifier = follow()
    assert verifier.verdict(token(token_id="gone")) == "invalid_token: revoked"
    verifier.follow(token())
    feed.revoke(SESSION)
    verifier.wait_for("the news", lambda: verifier.status.entries == 2)
    assert verifier.verdict(token()) == "invalid_token: revoked"
    assert verifier.verdict(token({"sid": "another"})) == "good"


def test_requests_are_those_agreed_on(follow: Follow, feed: FeedPublisher):
    """First everything, then by long poll what is new, each with the token of the feed."""
    feed.revoke(SESSION)
    verifier = follow()
    verifier.follow(token({"sid": "another"}))
    bearer = f"Bearer {FEED_TOKEN}"
    assert feed.questions == [Question(None, None, None, bearer), Question("first", 1, 10, bearer)]
    assert {request.headers["accept-encoding"] for request in feed.web.requests} == {"identity"}
    assert "authorization" not in feed.web.requests[0].headers, "keys are asked for without the token of the feed"


def test_public_feed_needs_no_token(follow: Follow, feed: FeedPublisher):
    """Without a token, no header is sent."""
    feed.token = None
    verifier = follow(revocations=feed_of(feed, token=None))
    assert verifier.verdict(token()) == "good"
    assert feed.questions[0].authorization is None


@pytest.mark.parametrize("slash", ["", "/"])
def test_feed_is_below_the_issuer_by_default(follow: Follow, feed: FeedPublisher, slash: str):
    """Without an address the feed is looked for where Tokenkeep publishes it."""
    issuer = feed.url.removesuffix("/revocations") + slash
    feed.lie = telling(issuer=issuer)
    verifier = follow(issuer=issuer, revocations=feed_of(feed, url=None))
    assert verifier.verdict(token(issuer=issuer)) == "good"


def test_answers_without_news_keep_it_fresh(follow: Follow, feed: FeedPublisher):
    """As long as the server confirms, good tokens are accepted, however long nothing is revoked."""
    verifier = follow()
    verifier.follow(token())
    for count in range(2, 7):
        verifier.let_pass(10.0)
        feed.let_go()
        verifier.wait_for("the next request", lambda count=count: len(feed.questions) == count + 1)
        verifier.wait_for("it to wait", lambda: feed.waiting == 1)
        assert verifier.verdict(token()) == "good"
    assert verifier.status.age == 10.0, "it counts from when the request was sent whose answer came last"


def test_silence_makes_it_stale(follow: Follow, feed: FeedPublisher):
    """Without an answer good tokens are refused with 503 from the staleness on, revoked ones stay invalid."""
    feed.revoke(digest(RevocationKind.TOKEN, ISSUER, "gone"))
    verifier = follow()
    verifier.follow(token())
    verifier.let_pass(STALENESS - PACE - 0.01)
    assert verifier.verdict(token()) == "good"
    verifier.let_pass(0.01)
    assert verifier.verdict(token()) == "unavailable: the revocations are stale: no answer has come in time"
    assert verifier.verdict(token(token_id="gone")) == "invalid_token: revoked"
    assert not verifier.ready()
    feed.let_go()
    verifier.wait_for("freshness", lambda: verifier.verdict(token()) == "good")
    assert verifier.ready()


def signed(payload: dict[str, Any], key: Key = KEY, **header: str) -> str:
    """Return a JWS with that payload."""
    return jws.sign(json.dumps(payload).encode(), key, header=header)


def retyped(text: str) -> str:
    """Return the document signed again as an access token."""
    content = jws.verify(text, KEY, algorithms=["ES256"], max_size=100_000)
    return jws.sign(content.payload, KEY, header={"typ": "at+jwt"})


def tampered(text: str) -> str:
    """Return the document with another payload under the old signature."""
    head, payload, signature = text.split(".")
    changed = json.loads(decode_base64url(payload)) | {"entries": []}
    return ".".join([head, encode_base64url(json.dumps(changed).encode()), signature])


def unsigned(text: str) -> str:
    """Return the document with `alg: none`."""
    head = encode_base64url(json.dumps({"alg": "none", "typ": FEED_TYPE}).encode())
    return f"{head}.{text.split('.')[1]}."


def with_public_key_as_secret(text: str) -> str:
    """Return the document signed by HMAC, under the name of the published key."""
    content = jws.verify(text, KEY, algorithms=["ES256"], max_size=100_000)
    return jws.sign(content.payload, Key.generate("HS256", kid=KEY.kid), header={"typ": FEED_TYPE})


def forged(text: str) -> str:
    """Return the document signed by another key of the same name."""
    content = jws.verify(text, KEY, algorithms=["ES256"], max_size=100_000)
    return jws.sign(content.payload, Key.generate("ES256", kid=KEY.kid), header={"typ": FEED_TYPE})


def compress(handler: Handler) -> None:
    """Claim that the answer is compressed."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/jwt")
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()


def redirect(handler: Handler) -> None:
    """Send whoever asks elsewhere on this server."""
    handler.send_response(307)
    handler.send_header("Location", "/elsewhere")
    handler.end_headers()


def behave(name: str) -> Callable[[FeedPublisher], None]:
    """Return what makes a publisher behave as its web server can."""
    return lambda feed: setattr(feed, "behaviour", getattr(feed.web, name))


def put(name: str, value: object) -> Callable[[FeedPublisher], None]:
    """Return what changes an attribute of a publisher."""
    return lambda feed: setattr(feed, name, value)


HOSTILE: Final[dict[str, tuple[Callable[[FeedPublisher], Any], str]]] = {
    "another type": (put("forge", retyped), "typ is not"),
    "tampered": (put("forge", tampered), "invalid signature"),
    "unsigned": (put("forge", unsigned), "algorithm"),
    "hmac": (put("forge", with_public_key_as_secret), "algorithm"),
    "forged": (put("forge", forged), "invalid signature"),
    "unknown key": (put("key", OTHER_KEY), "the issuer does not publish|the key is unknown"),
    "another issuer": (put("lie", telling(issuer="https://other.example")), "another issuer"),
    "expired": (put("lie", telling(issued_at=NOW - 3600, expires_at=NOW - 3540)), "expired"),
    "of yesterday": (put("lie", telling(issued_at=NOW - 86_400, expires_at=NOW - 86_340)), "expired"),
    "of the future": (put("lie", telling(issued_at=NOW + 3600, expires_at=NOW + 3660)), "the clocks differ"),
    "kept for ever": (put("lie", telling(issued_at=NOW - 3600, expires_at=NOW + 3600)), "kept back|issued before"),
    "no document": (put("forge", lambda _: signed({"iss": ISSUER}, typ=FEED_TYPE)), "'entries' is a list"),
    "an access token": (put("forge", lambda _: token()), "typ is not"),
    "nothing": (put("forge", lambda _: ""), "malformed"),
    "a page": (put("forge", lambda _: "<html>Sign in</html>"), "malformed"),
    "a page that says so": (put("headers", {"Content-Type": "text/html"}), "is no application/jwt, but 'text/html'"),
    "no type": (put("headers", {}), "does not say what it is"),
    "wrong token": (put("token", "another"), "status 401; set token to the feed_token of the server"),
    "no feed": (put("status", 404), "status 404; the server has no feed without feed_token or feed_public"),
    "stale server": (put("status", 503), "status 503; the server does not know"),
    "error": (put("status", 500), "status 500"),
    "empty answer": (put("status", 204), "status 204"),
    "redirect": (put("behaviour", redirect), "status 307, and redirects are not followed"),
    "compressed": (put("behaviour", compress), "compressed"),
    "no end": (behave("never_end"), "larger than 1048576 bytes"),
    "too large": (behave("promise_too_much"), "larger than 1048576 bytes"),
    "silence": (behave("stay_silent"), LATE),
    "trickling head": (behave("trickle_the_head"), LATE),
    "hanging up": (behave("hang_up"), "RemoteProtocolError"),
    "nonsense": (behave("speak_nonsense"), "RemoteProtocolError"),
}


@pytest.fixture
def small_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are read up to a megabyte."""
    monkeypatch.setattr(feed_client, "LARGEST_DOCUMENT", 1024 * 1024)


def elapse_between_requests(verifier: Any, seconds: float) -> None:
    """Let time pass in steps, each of which ends before the next request would."""
    rest = seconds
    while rest > 0:
        step = min(rest, FIRST_PAUSE)
        fetches = verifier.status.fetches
        verifier.let_pass(step)
        rest -= step
        if verifier.verifier._feed._course.following._next_at <= verifier._clock.monotonic():
            verifier.wait_for_questions(fetches + 1)


def give_up_soon(patch: pytest.MonkeyPatch) -> None:
    """Have requests for the feed, and no others, be given up soon."""
    patch.setattr(feed_client, "Limits", lambda _seconds, size, *, pause: Limits(SOON, size))


@pytest.mark.parametrize("hostility", HOSTILE)
@pytest.mark.usefixtures("small_documents")
def test_hostile_answer_changes_nothing(
    follow: Follow, feed: FeedPublisher, caplog: pytest.LogCaptureFixture, hostility: str
):
    """Good tokens go on for the staleness and no longer, revoked ones stay refused, the log says why, all recovers."""
    change, why = HOSTILE[hostility]
    caplog.set_level(logging.INFO)
    feed.revoke(digest(RevocationKind.TOKEN, ISSUER, "gone"))
    verifier = follow(revocations=feed_of(feed, max_staleness=timedelta(seconds=SHORT)))
    assert verifier.verdict(token()) == "good"
    good = {name: getattr(feed, name) for name in ("forge", "key", "lie", "headers", "token", "status", "behaviour")}
    change(feed)
    with pytest.MonkeyPatch.context() as patch:
        if why == LATE:
            give_up_soon(patch)
        verifier.let_pass(PACE)
        verifier.wait_for_questions(2)
        assert verifier.verdict(token()) == "good", "what is known is fresh still"
        elapse_between_requests(verifier, SHORT)
        verdict = verifier.verdict(token())
        assert verdict.startswith("unavailable: the revocations are stale: "), verdict
        assert verifier.verdict(token(token_id="gone")) == "invalid_token: revoked"
        status = verifier.status
        assert (status.usable, status.entries) == (False, 1)
        assert status.failures >= 2
        assert re.search(why, caplog.text)
        assert FEED_TOKEN not in caplog.text
    for name, value in good.items():
        setattr(feed, name, value)
    verifier.let_pass(LONGEST_PAUSE)
    verifier.wait_for("recovery", lambda: verifier.verdict(token()) == "good")
    assert verifier.status.trouble is None


@pytest.mark.parametrize("when_stale", ["refuse", "accept"])
@pytest.mark.parametrize("hostility", HOSTILE)
@pytest.mark.usefixtures("small_documents")
def test_hostile_answer_at_the_start_accepts_nobody(
    follow: Follow, feed: FeedPublisher, monkeypatch: pytest.MonkeyPatch, hostility: str, when_stale: str
):
    """Before everything that is revoked is known nothing is accepted or called invalid, and the refusal says why."""
    change, why = HOSTILE[hostility]
    change(feed)
    if why == LATE:
        give_up_soon(monkeypatch)
    verifier = follow(revocations=feed_of(feed, when_stale=when_stale))
    verdict = verifier.verdict(token())
    assert verdict.startswith("unavailable: the revocations are not known yet: ")
    assert re.search(why, verdict)
    assert not verifier.ready()
    assert not verifier.status.usable
    assert len(feed.questions) == 1, "nobody asks more often because a token came"


def test_time_for_an_answer_is_the_one_that_was_set(follow: Follow, feed: FeedPublisher):
    """A feed that does not answer is given up after the timeout with which keys are fetched."""
    feed.behaviour = feed.web.stay_silent
    verifier = follow(fetching=KeyFetching(timeout=timedelta(seconds=0.3)), keys=KeySet([KEY.public()]), jwks_url=None)
    assert "no whole answer came within 0.3 seconds" in verifier.verdict(token())


@pytest.mark.parametrize(
    "lie",
    [telling(issued_at=NOW - 1), telling(upto=1, entries=()), telling(after=1, upto=1, entries=())],
    ids=["issued before", "shorter", "shorter and later"],
)
def test_feed_that_goes_backwards_is_refused(follow: Follow, feed: FeedPublisher, lie: Any):
    """A document that is older than what is known, by its time or by its number, is no news."""
    feed.revoke(SESSION, digest(RevocationKind.TOKEN, ISSUER, "gone"))
    verifier = follow()
    assert verifier.verdict(token()) == "invalid_token: revoked"
    feed.lie = lie
    verifier.let_pass(PACE)
    verifier.wait_for("the request", lambda: feed.waiting == 1)
    feed.let_go()
    verifier.wait_for("its refusal", lambda: verifier.status.failures == 1)
    assert verifier.status.entries == 2
    assert verifier.verdict(token()) == "invalid_token: revoked"


def test_gap_is_closed_by_asking_for_everything(follow: Follow, feed: FeedPublisher):
    """A document that leaves something out is not believed, and everything is asked for."""
    verifier = follow()
    verifier.follow(token())
    feed.lie = lambda true: telling(after=1, entries=true.entries[1:])(true) if true.upto == 2 else true
    feed.revoke(SESSION, digest(RevocationKind.TOKEN, ISSUER, "gone"))
    verifier.wait_for("the answer", lambda: feed.answered == 2)
    feed.lie = None
    verifier.wait_for_questions(2)
    assert verifier.status.entries == 0
    verifier.let_pass(FIRST_PAUSE)
    verifier.wait_for("everything", lambda: verifier.status.entries == 2)
    assert feed.questions[2].epoch is None
    assert verifier.verdict(token()) == "invalid_token: revoked"


def test_new_history_is_followed(follow: Follow, feed: FeedPublisher, caplog: pytest.LogCaptureFixture):
    """After a recovery of the server its new history replaces the old one, whatever the numbers are."""
    caplog.set_level(logging.INFO)
    feed.revoke(digest(RevocationKind.TOKEN, ISSUER, "gone"))
    verifier = follow()
    verifier.follow(token())
    feed.begin_anew("second")
    verifier.wait_for("the new history", lambda: verifier.status.entries == 0)
    assert verifier.verdict(token(token_id="gone")) == "good"
    verifier.let_pass(FIRST_PAUSE)
    verifier.wait_for("a request that follows it", lambda: len(feed.questions) == 3)
    assert (feed.questions[2].epoch, feed.questions[2].after) == ("second", 0)
    assert "taken anew: a new history has begun" in caplog.text


def test_what_the_server_has_forgotten_comes_with_everything(follow: Follow, feed: FeedPublisher):
    """A server that does not hold what is asked for sends everything, which is taken."""
    verifier = follow()
    verifier.follow(token())
    feed.forgotten = 1
    feed.revoke(SESSION, digest(RevocationKind.TOKEN, ISSUER, "gone"))
    verifier.wait_for("everything", lambda: verifier.status.entries == 2)
    assert verifier.verdict(token()) == "invalid_token: revoked"


def test_new_key_is_looked_up_once(follow: Follow, feed: FeedPublisher):
    """A document of a key that is not held has the key set fetched once more; if it is there, it is believed."""
    verifier = follow()
    verifier.follow(token())
    feed.web.body = document(KEY, OTHER_KEY)
    feed.key = OTHER_KEY
    verifier.let_pass(10.0)
    feed.revoke(SESSION)
    verifier.wait_for("the news", lambda: verifier.status.entries == 1)
    assert [request.path for request in feed.web.requests if "jwks" in request.path] == ["/jwks.json"] * 2


def test_document_of_an_unknown_key_costs_one_fetch_per_cooldown(follow: Follow, feed: FeedPublisher):
    """A feed that is signed with foreign keys cannot have the key set fetched again and again."""
    verifier = follow(revocations=feed_of(feed, max_staleness=timedelta(seconds=SHORT)))
    assert verifier.verdict(token()) == "good"
    feed.key = OTHER_KEY
    elapse_between_requests(verifier, 9.0)
    assert verifier.status.failures >= 4
    assert len([request for request in feed.web.requests if "jwks" in request.path]) == 1
    elapse_between_requests(verifier, LONGEST_PAUSE)
    assert len([request for request in feed.web.requests if "jwks" in request.path]) == 2


@pytest.mark.parametrize(
    "keys", [KEY.public(), KeySet([KEY.public()]), lambda: KeySet([KEY.public()])], ids=["key", "set", "function"]
)
def test_feed_is_followed_with_given_keys(follow: Follow, feed: FeedPublisher, keys: Any):
    """Where keys are given, documents are held to them, and none are fetched."""
    feed.revoke(SESSION)
    verifier = follow(jwks_url=None, keys=keys)
    assert verifier.verdict(token()) == "invalid_token: revoked"
    assert [request.path for request in feed.web.requests] == ["/revocations"]


def test_given_keys_refuse_others(follow: Follow, feed: FeedPublisher):
    """Where keys are given, a document of another key is refused."""
    feed.key = OTHER_KEY
    verifier = follow(jwks_url=None, keys=KeySet([KEY.public()]))
    assert "signed with a key that the issuer does not publish" in verifier.verdict(token())


def test_server_that_answers_at_once_is_not_hammered(follow: Follow, feed: FeedPublisher):
    """A server that does not wait is asked no more often than if it did."""
    feed.patient = False
    verifier = follow()
    assert verifier.verdict(token()) == "good"
    verifier.let_pass(PACE)
    verifier.wait_for_questions(2)
    for _ in range(9):
        verifier.let_pass(1.0)
    assert len(feed.questions) == 2
    verifier.let_pass(1.0)
    verifier.wait_for_questions(3)


def test_server_that_is_busy_is_left_alone(follow: Follow, feed: FeedPublisher):
    """`Retry-After` of a 503 is heeded."""
    feed.status = 503
    feed.headers = {"Retry-After": "7"}
    verifier = follow()
    assert verifier.verdict(token()).startswith("unavailable")
    for _ in range(13):
        verifier.let_pass(0.5)
    assert len(feed.questions) == 1
    verifier.let_pass(0.5)
    verifier.wait_for_questions(2)


def test_stale_may_be_accepted_and_is_told(follow: Follow, feed: FeedPublisher, caplog: pytest.LogCaptureFixture):
    """With `when_stale="accept"` good tokens go on past the staleness, counted and told; revoked ones do not."""
    caplog.set_level(logging.INFO)
    feed.revoke(digest(RevocationKind.TOKEN, ISSUER, "gone"))
    verifier = follow(revocations=feed_of(feed, when_stale="accept"))
    verifier.follow(token())
    feed.status = 500
    feed.let_go()
    verifier.wait_for("the failure", lambda: verifier.status.failures == 1)
    verifier.let_pass(STALENESS)
    verifier.wait_for("another failure", lambda: verifier.status.failures == 2)
    assert verifier.verdict(token()) == "good"
    assert verifier.verdict(token()) == "good"
    assert verifier.verdict(token(token_id="gone")) == "invalid_token: revoked"
    assert verifier.ready()
    status = verifier.status
    assert (status.usable, status.fresh, status.accepted_stale) == (True, False, 2)
    assert caplog.text.count("tokens are accepted all the same: the revocations are stale: status 500") == 1
    feed.status = 200
    verifier.let_pass(LONGEST_PAUSE)
    verifier.wait_for("recovery", lambda: verifier.status.fresh)


def test_each_turn_is_told_once(follow: Follow, feed: FeedPublisher, caplog: pytest.LogCaptureFixture):
    """Known, failing, stale and known again make a line each, however many tokens come; none has a secret in it."""
    caplog.set_level(logging.DEBUG, logger="tokenkeep")
    verifier = follow(revocations=feed_of(feed, max_staleness=timedelta(seconds=SHORT)))
    text = token()
    assert verifier.verdict(text) == "good"
    feed.status = 500
    verifier.let_pass(PACE)
    verifier.wait_for_questions(2)
    elapse_between_requests(verifier, SHORT)
    for _ in range(3):
        assert verifier.verdict(text).startswith("unavailable")
    feed.status = 200
    verifier.let_pass(LONGEST_PAUSE)
    verifier.wait_for("recovery", lambda: verifier.verdict(text) == "good")
    verifier.wait_for("the last line", lambda: len(caplog.records) >= 4)
    where = f"revocations from {feed.url}"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", f"{where}: all are known"),
        ("WARNING", f"{where}: status 500"),
        ("WARNING", f"{where}: no token is accepted: the revocations are stale: status 500"),
        ("INFO", f"{where}: all are known"),
    ]


def test_defect_is_told_and_survived(
    follow: Follow, feed: FeedPublisher, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """What ought not to happen is logged with its traceback, counts as no answer, and the feed goes on."""
    with monkeypatch.context() as patched:
        patched.setattr(feed_client, "read_feed", lambda *_, **__: 1 / 0)
        verifier = follow()
        assert verifier.verdict(token()) == "unavailable: the revocations are not known yet: ZeroDivisionError"
        verifier.wait_for("the line", lambda: "the fetch failed" in caplog.text)
    verifier.let_pass(LONGEST_PAUSE)
    verifier.wait_for("recovery", lambda: verifier.verdict(token()) == "good")


def test_nobody_listens(follow: Follow, feed: FeedPublisher, unused_tcp_port_factory: Callable[[], int]):
    """A feed that is not there is said to be so."""
    verifier = follow(revocations=feed_of(feed, url=f"http://127.0.0.1:{unused_tcp_port_factory()}/revocations"))
    assert "ConnectError" in verifier.verdict(token())


def test_keys_that_are_not_known_make_the_feed_unknown(follow: Follow, feed: FeedPublisher):
    """Readiness says no while there are no keys, and the status of the feed says that it was not asked for."""
    feed.web.status = 500
    verifier = follow()
    verifier.enter()
    verifier.wait_for("the failure", lambda: verifier.status.failures == 1)
    assert "the keys of the document are not known" in str(verifier.status.trouble)
    assert not verifier.ready()


def test_feed_over_https(follow: Follow, feed: FeedPublisher, tmp_path: Path):
    """The certificate of the feed must be trusted, by what the fetching of keys trusts."""
    certificate = Certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate.cert, certificate.key)
    with publishing(KEY, tls=server) as web:
        web.behaviour = feed.answer
        url = web.url.replace("jwks.json", "revocations")
        trusting = KeyFetching(tls=certificate.context())
        policy = feed_of(feed, url=url)
        assert follow(fetching=trusting, revocations=policy).verdict(token()) == "good"
        assert "CERTIFICATE_VERIFY_FAILED" in follow(revocations=policy).verdict(token())


WRONG: Final[list[dict[str, Any]]] = [
    {"url": "http://auth.example/revocations"},
    {"url": "https://10.0.0.1/revocations"},
    {"url": "https://user:password@auth.example/revocations"},
    {"url": "file:///etc/passwd"},
    {"url": "https://auth.example/revocations#all"},
]


@pytest.mark.parametrize("verifier", [TokenVerifier, AsyncTokenVerifier])
@pytest.mark.parametrize("policy", WRONG, ids=str)
def test_feed_is_followed_over_https_or_on_this_machine(verifier: type, policy: dict[str, str]):
    """An address from which anything could come is refused when the verifier is made."""
    arguments: dict[str, Any] = {"issuer": "https://auth.example", "audience": AUDIENCE, "algorithms": ["ES256"]}
    assert verifier(**arguments, revocations=RevocationFeed(max_staleness=timedelta(seconds=30)))
    with pytest.raises(ValueError, match="revocation feed"):
        verifier(**arguments, revocations=RevocationFeed(max_staleness=timedelta(seconds=30), **policy))


@pytest.mark.parametrize("verifier", [TokenVerifier, AsyncTokenVerifier])
@pytest.mark.parametrize(
    "changes",
    [
        {"profile": Profile.RFC_9068},
        {"profile": Profile.PLAIN},
        {"issuer": "http://auth.example", "keys": KEY.public()},
        {"algorithms": ["HS256"], "keys": Key.generate("HS256")},
        {"revocations": "https://auth.example/revocations"},
        {"revocations": []},
    ],
    ids=["rfc 9068", "plain", "http", "shared secret", "address", "list"],
)
def test_verifier_that_could_not_hold_to_the_feed_cannot_be_made(verifier: type, changes: dict[str, Any]):
    """Tokens that need not name what is revoked, feeds that anybody could write, and what is no feed are refused."""
    arguments = {
        "issuer": "https://auth.example",
        "audience": AUDIENCE,
        "algorithms": ["ES256"],
        "revocations": RevocationFeed(max_staleness=timedelta(seconds=30)),
    }
    assert verifier(**arguments)
    with pytest.raises((ValueError, TypeError)):
        verifier(**{**arguments, **changes})


@pytest.mark.parametrize("verifier", [TokenVerifier, AsyncTokenVerifier])
def test_missing_http_library_is_named_at_once(verifier: type, monkeypatch: pytest.MonkeyPatch):
    """Without the library that fetches, a verifier that would follow a feed cannot be made."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"tokenkeep\[verifier\]"):
        verifier(
            issuer="https://auth.example",
            audience=AUDIENCE,
            algorithms=["ES256"],
            keys=KEY.public(),
            revocations=RevocationFeed(max_staleness=timedelta(seconds=30)),
        )


def test_clock_that_runs_ahead_is_told(follow: Follow, clock: SettableClock):
    """A reader whose own clock is wrong accepts nothing, and says that the clocks differ."""
    verifier = follow(clock=lambda: clock.now() / 1000 - 30)
    assert "the clocks differ" in verifier.verdict(token(now=NOW - 30))
