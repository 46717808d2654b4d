"""The files of deploy/ with which a proxy guards a service, run by the real nginx, Caddy and HAProxy if installed."""

from __future__ import annotations

import hmac
import json
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest

from tests.certificate import Certificate
from tests.deployment.guarded import (
    ADDRESS,
    GUARDS,
    ISSUER,
    ORDERS,
    OTHER,
    PASSWORD,
    Answer,
    Service,
    Stage,
    export_keys,
    installed,
)
from tests.deployment.proxy_process import Site, running
from tests.jose.samples import assemble, compact
from tests.ports import free_port
from tests.system.server_process import ServerProcess, wait_until
from tokenkeep.api.forward_auth import IDENTITY_HEADERS
from tokenkeep.jose import Key, jwt

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("system")]

ASKING: Final = ["nginx", "caddy"]
"""Those that ask Tokenkeep about each request."""
NAME: Final = "Zoë O'Neil (100%) \"\\ 李小龍"[:16]
CHALLENGES: Final = {
    "missing_token": "Bearer",
    "invalid_token": 'Bearer error="invalid_token"',
    "forbidden": 'Bearer error="insufficient_scope"',
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stage]]:
    """Every proxy that is installed, each in front of the same service, with one auth server beside it."""
    folder = tmp_path_factory.mktemp("guarded")
    with ExitStack() as stack:
        service = stack.enter_context(Service())
        server = stack.enter_context(
            ServerProcess(
                folder,
                issuer=ISSUER,
                audiences=f"{ORDERS},{OTHER}",
                trusted_proxies="127.0.0.1",
                environ={"TOKENKEEP_RATE_LIMITS": "on", "TOKENKEEP_LOGIN_LIMIT_ADDRESS": "1000/1m"},
            )
        )
        server.start()
        for name, role in ((NAME, "user"), ("Root", "admin")):
            server.add_user(name, PASSWORD, role=role)
        ready: dict[str, Stage] = {}
        for name, guard in GUARDS.items():
            if not installed(name):
                continue
            own = tmp_path_factory.mktemp(name)
            stage = Stage(name, free_port(), Certificate(own, "localhost").context(), server, service, own)
            stage.read_keys()
            if name == "haproxy":
                assert export_keys(own, stage.keys).returncode == 0
            stack.enter_context(running(guard(Site(stage.port, server.port, own), service), own))
            wait_until(stage.answers, f"{name} refuses requests")
            ready[name] = stage
        yield ready


@pytest.fixture(params=list(GUARDS))
def stage(request: pytest.FixtureRequest, stages: dict[str, Stage]) -> Stage:
    """Each proxy in turn; what the service was sent before is forgotten."""
    if request.param not in stages:
        pytest.skip(f"{request.param} is not installed")
    stages[request.param].service.received.clear()
    return stages[request.param]


@pytest.fixture(scope="module")
def ada(stages: dict[str, Stage]) -> str:
    """An access token of a user."""
    return next(iter(stages.values())).login(NAME)["accessToken"] if stages else ""


@pytest.fixture(scope="module")
def root(stages: dict[str, Stage]) -> str:
    """An access token of an administrator."""
    return next(iter(stages.values())).login("Root")["accessToken"] if stages else ""


def assert_refused(stage: Stage, answer: Answer, code: str, reason: str | None = None) -> None:
    """Hold an answer to a problem document with one challenge, and make sure that the service was not asked."""
    assert answer.status == (403 if code == "forbidden" else 401), answer.body
    assert answer.headers.get_all("www-authenticate") == [CHALLENGES[code]]
    assert answer.headers.get_all("cache-control") == ["no-store"]
    assert answer.headers.get_content_type() == "application/problem+json"
    document = json.loads(answer.body)
    assert (document["code"], document.get("reason"), document["status"]) == (code, reason, answer.status)
    assert document["error"] == code.capitalize().replace("_", " ")
    assert not any(name.lower().startswith("x-auth") for name in answer.headers)
    assert stage.service.received == []


def truth(token: str) -> dict[str, list[str]]:
    """Return what a service must be told about the bearer of a token."""
    claims = jwt.decode_unverified(token).claims
    names = ("sub", "name", "role", "aud", "client_id", "sid", "exp")
    return {header.lower(): [str(claims[name])] for header, name in zip(IDENTITY_HEADERS, names, strict=True)}


def decoded(claimed: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return headers as a service reads them, after making sure that they are ASCII without reserved characters."""
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%")
    for values in claimed.values():
        assert set("".join(values)) <= allowed, values
    return {name: [unquote(value, errors="strict") for value in values] for name, values in claimed.items()}


def test_a_good_token_passes_and_the_service_learns_who_it_is(stage: Stage, ada: str):
    """The service gets the request as it was sent, the bearer in headers, the client's address, and not the token."""
    sent = [("X-Own", "kept"), ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "203.0.113.10")]
    answer = stage.ask("/orders/7?role=admin&audience=x&x=%2F", ada, method="DELETE", headers=sent)
    told = answer.told()
    assert decoded(answer.claimed()) == truth(ada)
    assert (told["method"], told["target"]) == ("DELETE", "/orders/7?role=admin&audience=x&x=%2F")
    headers = {name.lower(): value for name, value in told["headers"]}
    assert headers["x-own"] == "kept"
    assert headers["host"] == f"localhost:{stage.port}"
    assert [value for name, value in told["headers"] if name.lower() == "x-forwarded-for"] == [ADDRESS]
    assert "authorization" not in headers
    assert ada not in str(told)


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_the_body_arrives_whole(stage: Stage, ada: str, method: str, in_pieces: bool):
    """A body reaches the service byte for byte, whether its length was told before or not."""
    sent = secrets.token_bytes(300_000)
    pieces = [sent[start : start + 30_000] for start in range(0, len(sent), 30_000)]
    answer = stage.ask("/orders", ada, method=method, body=pieces if in_pieces else sent)
    assert answer.told()["body"].encode("latin-1") == sent


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_body_without_a_token_is_refused(stage: Stage, in_pieces: bool):
    """Whoever has no token cannot send the service a body either."""
    body = b"x" * 10_000
    try:
        answer = stage.ask("/orders", method="POST", body=[body] if in_pieces else body)
    except OSError:  # a proxy that has answered need not read on, and may be gone before the client has said it all
        assert stage.service.received == []
    else:
        assert_refused(stage, answer, "missing_token")


def spelt(name: str) -> list[str]:
    """Return ways to write a header's name that a service could take for it."""
    first, second, third = name.split("-")
    joined = [f"{first}{one}{second}{two}{third}" for one in "-_" for two in "-_"]
    return [way for each in joined for way in (each, each.lower(), each.upper())]


@pytest.mark.parametrize("name", IDENTITY_HEADERS)
def test_nobody_can_claim_to_be_somebody(stage: Stage, ada: str, name: str):
    """A header that a client invents never reaches the service, however it is spelt, once or twice."""
    forged = [(way, value) for way in spelt(name) for value in ("forged", "")]
    assert_refused(stage, stage.ask("/", headers=forged), "missing_token")
    for headers in (forged, *([each] for each in forged)):
        answer = stage.ask("/", ada, headers=headers)
        assert decoded(answer.claimed()) == truth(ada)
        assert b"forged" not in answer.body


def test_without_a_token_nobody_passes(stage: Stage, ada: str):
    """No token, another scheme, and a token in another place: 401, and the service is not asked."""
    assert_refused(stage, stage.ask("/"), "missing_token")
    assert_refused(stage, stage.ask("/", method="OPTIONS"), "missing_token")
    assert_refused(stage, stage.ask("/", headers=[("Authorization", "Basic QWRhOngK")]), "missing_token")
    assert_refused(stage, stage.ask(f"/?access_token={ada}"), "missing_token")
    assert_refused(stage, stage.ask("/", headers=[("Cookie", f"access_token={ada}")]), "missing_token")
    assert_refused(stage, stage.ask("/", headers=[("Proxy-Authorization", f"Bearer {ada}")]), "missing_token")
    head = stage.ask("/", method="HEAD")
    assert (head.status, head.body) == (401, b"")


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer {} x",
        "Bearer {},{}",
        "Bearer {},x",
        "Bearer x,{}",
        "Bearer {}=",
        "Bearer {}.x",
        "Bearer \t{}",
    ],
)
def test_what_is_no_bearer_token_is_refused(stage: Stage, ada: str, header: str):
    """Broken credentials are an invalid token."""
    sent = [("Authorization", header.replace("{}", ada))]
    assert_refused(stage, stage.ask("/", headers=sent), "invalid_token", "JsonWebTokenError")


def test_two_tokens_are_one_too_many(stage: Stage, ada: str, root: str):
    """Two Authorization headers let nobody pass: the service could read the other one."""
    for first, second in ((ada, ada), (ada, root), (ada, "x"), ("x", ada)):
        headers = [("Authorization", f"Bearer {first}"), ("authorization", f"Bearer {second}")]
        assert stage.ask("/", headers=headers).status == 400
    assert stage.service.received == []


ADMIN_PATHS: Final = (
    "/admin",
    "/admin/",
    "/admin/users?x",
    "/Admin/users",
    "/ADMIN",
    "/%61dmin",
    "/adm%69n/",
    "/admin%2Fx",
)
BENT_PATHS: Final = ("//admin", "/./admin", "/x/../admin", "/%2e/admin", "/x/%2E%2e/admin", "/%2fadmin", "///ADMIN")


@pytest.mark.parametrize("path", [*ADMIN_PATHS, *BENT_PATHS])
def test_a_role_is_needed_for_some_paths(stage: Stage, ada: str, root: str, path: str):
    """However a path is spelt that needs a role, who has another one does not pass; bent ones may be refused to all."""
    refused = stage.ask(path, ada)
    if path in ADMIN_PATHS or refused.status != 400:
        assert_refused(stage, refused, "forbidden")
        assert decoded(stage.ask(path, root).claimed()) == truth(root)
    assert all(
        unquote(value) == "admin"
        for told in stage.service.received
        for name, value in told["headers"]
        if name.lower() == "x-auth-role"
    )
    stage.service.received.clear()
    assert_refused(stage, stage.ask(ADMIN_PATHS[0]), "missing_token")


def bad_tokens(stage: Stage) -> dict[str, tuple[str, str]]:
    """Return tokens that must not be accepted, made with the real key where only the rest is wrong, and the reason."""
    key, kid = stage.signer, stage.signer.kid if stage.signer else ""
    assert key is not None
    good = stage.login(NAME)["accessToken"]
    claims = dict(jwt.decode_unverified(good).claims) | {"aud": ORDERS}
    head, payload, signature = good.split(".")
    now = int(time.time())
    public = key.public().to_pem()
    stranger = Key.generate("ES256", kid=kid)
    upper = Key.generate("ES384", kid=kid)

    def made(sign: Any = key.sign, *, alg: str | None = "ES256", typ: str | None = "at+jwt", **changes: Any) -> str:
        header = {name: value for name, value in {"alg": alg, "typ": typ, "kid": kid}.items() if value is not None}
        body = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return assemble(compact(header), compact(body), sign)

    def shared(signed: bytes) -> bytes:
        return hmac.digest(public, signed, "sha256")

    assert stage.ask("/", made()).status == 200, "what is made here is accepted when nothing is wrong"
    stage.service.received.clear()
    wrong = {
        "another signature": f"{head}.{payload}.{signature[:-4]}{'AAAA' if signature[-4:] != 'AAAA' else 'BBBB'}",
        "no signature": f"{head}.{payload}.",
        "two parts": f"{head}.{payload}",
        "more claims than signed": f"{head}.{made(role='admin').split('.')[1]}.{signature}",
        "another key": made(stranger.sign),
        "alg none": made(lambda _: b"", alg="none"),
        "alg none, signed": made(alg="none"),
        "no alg": made(alg=None),
        "HS256 with the public key": made(shared, alg="HS256"),
        "called ES256, signed as HS256": made(shared),
        "called HS256": made(alg="HS256"),
        "called ES384": made(alg="ES384"),
        "ES384": made(upper.sign, alg="ES384"),
        "called es256": made(alg="es256"),
        "an ID token": made(typ="JWT"),
        "no typ": made(typ=None),
        "another issuer": made(iss="https://auth.example.com.evil.example"),
        "no issuer": made(iss=None),
        "another service": made(aud=OTHER),
        "the auth server": made(aud=ISSUER),
        "nobody": made(aud=None),
        "part of the audience": made(aud=ORDERS[:-1]),
        "no subject": made(sub=None),
        "no expiry": made(exp=None),
        "another token of ours": stage.login(NAME)["refreshToken"],
    }
    expired = {
        "expired": made(iat=now - 1000, exp=now - 100),
        "expired long ago": made(iat=0, exp=1),
    }
    if stage.name in ASKING:
        # HAProxy reads a number in quotes as one, and words as 0. Only who holds the key could write such a token.
        wrong |= {"an expiry in words": made(exp="tomorrow"), "an expiry in quotes": made(exp=str(now + 600))}
    reasons = {name: (token, "JsonWebTokenError") for name, token in wrong.items()}
    return reasons | {name: (token, "TokenExpiredError") for name, token in expired.items()}


def test_tokens_that_are_not_good_are_refused(stage: Stage):
    """Forged, meant for another, incomplete or expired: 401, and the service is not asked."""
    for what, (token, reason) in bad_tokens(stage).items():
        answer = stage.ask("/", token)
        assert answer.status == 401, what
        assert_refused(stage, answer, "invalid_token", reason)


def test_the_end_of_a_session_is_noticed_by_who_asks(stage: Stage):
    """After a logout the token is refused, but by HAProxy, which knows of its expiry only."""
    session = stage.login(NAME)
    assert stage.ask("/", session["accessToken"]).status == 200
    out = stage.server.request("POST", "/logout", json={"refreshToken": session["refreshToken"]})
    assert out.json() == {"ok": True}
    stage.service.received.clear()
    answer = stage.ask("/", session["accessToken"])
    if stage.name in ASKING:
        assert_refused(stage, answer, "invalid_token", "JsonWebTokenError")
    else:
        assert answer.status == 200


def test_what_the_service_answers_is_left_alone(stage: Stage, ada: str):
    """Its own refusals and failures go back to the client as they are, and are not taken for the guard's."""
    for status in (400, 401, 403, 404, 500, 503):
        answer = stage.ask(f"/answer/{status}", ada)
        assert answer.status == status
        assert json.loads(answer.body)["target"] == f"/answer/{status}"
        assert answer.headers.get_all("www-authenticate") is None


@pytest.mark.parametrize("stage", ["nginx"], indirect=True)
@pytest.mark.parametrize("path", ["/.tokenkeep/verify", "/.tokenkeep/verify-admin", "/.tokenkeep/", "/.tokenkeep/x"])
def test_the_question_cannot_be_asked_from_outside(stage: Stage, ada: str, path: str):
    """The locations with which nginx asks are not there for clients."""
    assert stage.ask(path, ada).status == 404
    assert stage.service.received == []


@pytest.mark.parametrize("stage", ["nginx"], indirect=True)
def test_what_the_service_takes_is_not_too_much_for_tokenkeep(stage: Stage, ada: str):
    """nginx asks with the token only, so that large cookies of the service cannot make the question too large."""
    large = [(f"X-Large-{number}", "x" * 7_000) for number in range(3)]
    assert decoded(stage.ask("/", ada, headers=large).claimed()) == truth(ada)


@pytest.mark.parametrize("stage", ASKING, indirect=True)
def test_the_audit_log_knows_the_client(stage: Stage):
    """A refused token is noted with the address and the program of the client, not those of the proxy."""
    agent = f"agent/{secrets.token_hex(8)}"
    # Of one place the audit log takes 60 refusals a minute: this one has not been refused before.
    place = ADDRESS.replace("127.0.0.5", f"127.0.1.{ASKING.index(stage.name)}")
    stage.ask("/", "x", headers=[("User-Agent", agent), ("X-Forwarded-For", "203.0.113.9")], address=place)

    def noted() -> list[dict[str, Any]]:
        found = stage.server.command("audit", "search", "--kind", "token_refused", "--json")
        events = [json.loads(line) for line in found.splitlines() if line.startswith("{")]
        return [event for event in events if agent in event.values()]

    wait_until(lambda: bool(noted()), "the refusal is in the audit log")
    assert {event["address"] for event in noted()} == {place}


@pytest.mark.parametrize("stage", ASKING, indirect=True)
def test_nobody_passes_while_tokenkeep_is_away(stage: Stage, ada: str, root: str):
    """While the auth server does not answer, requests fail, and when it is back they pass again."""
    stage.server.stop()
    try:
        for token, path in ((ada, "/"), (root, "/admin"), (None, "/"), ("x", "/")):
            assert stage.ask(path, token).status >= 500
        assert stage.service.received == []
    finally:
        stage.server.start()
    wait_until(lambda: stage.ask("/", ada).status == 200, "requests pass again")


@pytest.mark.parametrize("stage", ["haproxy"], indirect=True)
def test_haproxy_needs_nobody(stage: Stage, ada: str):
    """HAProxy goes on while the auth server is away, since it has the keys."""
    stage.server.stop()
    try:
        assert decoded(stage.ask("/", ada).claimed()) == truth(ada)
        stage.service.received.clear()
        assert_refused(stage, stage.ask("/", f"{ada}x"), "invalid_token", "JsonWebTokenError")
    finally:
        stage.server.start()


StartHaproxy = Callable[[Mapping[int, bytes]], Stage]


@pytest.fixture
def start_haproxy(stages: dict[str, Stage], tmp_path: Path) -> Iterator[StartHaproxy]:
    """Starts a HAProxy of the test's own with what stands in its four places for keys; a place left out is no file."""
    if "haproxy" not in stages:
        pytest.skip("haproxy is not installed")
    with ExitStack() as stack:

        def start(places: Mapping[int, bytes]) -> Stage:
            folder = tmp_path / f"haproxy-{len(list(tmp_path.iterdir()))}"
            (folder / "keys").mkdir(parents=True)
            for place, content in places.items():
                (folder / "keys" / f"{place}.pem").write_bytes(content)
            context = Certificate(folder, "localhost").context()
            stage = replace(stages["haproxy"], port=free_port(), context=context, folder=folder)
            command = GUARDS["haproxy"](Site(stage.port, stage.server.port, folder), stage.service)
            process = stack.enter_context(running(command, folder))
            (folder / "pid").write_text(str(process.pid))
            wait_until(stage.answers, "haproxy refuses requests")
            wait_until(lambda: catches(process.pid, signal.SIGUSR2), "haproxy can be told to reload")
            stage.service.received.clear()
            return stage

        yield start


def catches(pid: int, signum: signal.Signals) -> bool:
    """Tell whether a process has a handler for a signal; until then it would miss it."""
    status = Path(f"/proc/{pid}/status").read_text()
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (signum - 1) & 1)


def export_and_reload(stage: Stage, keys: Iterable[Key]) -> None:
    """Give HAProxy other keys, as an operator does."""
    done = export_keys(stage.folder, keys, reload=f"kill -USR2 $(cat {stage.folder}/pid)")
    assert (done.returncode, done.stderr) == (0, "")


def strangers(count: int) -> list[Key]:
    """Return public keys that nobody signs with."""
    return [Key.generate("ES256").public() for _ in range(count)]


def signing_key(stage: Stage) -> Key:
    """Return the public part of the key that signs now."""
    assert stage.signer is not None
    return stage.signer.public()


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_haproxy_is_given_new_keys(start_haproxy: StartHaproxy, ada: str, place: int):
    """After the script has run, tokens of the keys that it found are accepted, wherever they stand among them."""
    stage = start_haproxy(dict.fromkeys(range(1, 5), strangers(1)[0].to_pem()))
    assert_refused(stage, stage.ask("/", ada), "invalid_token", "JsonWebTokenError")
    keys = strangers(3)
    keys.insert(place, signing_key(stage))
    export_and_reload(stage, keys)
    wait_until(lambda: stage.ask("/", ada).status == 200, "the new keys are in use")


def test_haproxy_forgets_keys_that_are_gone(start_haproxy: StartHaproxy, stages: dict[str, Stage], ada: str):
    """After the script has run, tokens of a key that is not exported any more are refused."""
    stage = start_haproxy(dict.fromkeys(range(1, 5), signing_key(stages["haproxy"]).to_pem()))
    assert stage.ask("/", ada).status == 200
    export_and_reload(stage, [key for key in stage.keys if key.kid != signing_key(stage).kid])
    wait_until(lambda: stage.ask("/", ada).status == 401, "the key that is gone is not in use any more")
    stage.service.received.clear()
    assert_refused(stage, stage.ask("/", ada), "invalid_token", "JsonWebTokenError")


@pytest.mark.parametrize("content", [None, b"", b"no key"])
def test_a_place_without_a_key_lets_nobody_in(
    start_haproxy: StartHaproxy, stages: dict[str, Stage], ada: str, content: bytes | None
):
    """A file that holds no key, or is not there, makes no token good, and does not spoil the other places."""
    broken = {} if content is None else dict.fromkeys(range(1, 5), content)
    stage = start_haproxy(broken)
    for bad in (ada, "x.x.x", "x"):
        assert_refused(stage, stage.ask("/", bad), "invalid_token", "JsonWebTokenError")
    one = start_haproxy({**broken, 4: signing_key(stages["haproxy"]).to_pem()})
    assert one.ask("/", ada).status == 200


def test_the_script_reloads_when_something_has_changed(tmp_path: Path):
    """The same keys again are no reason to reload; a reload that failed is tried again, and others are told."""
    keys = [Key.generate("ES256").public() for _ in range(2)]
    reload = f"echo reload >> {tmp_path}/reloads"
    for _ in range(2):
        assert export_keys(tmp_path, keys, reload=reload).returncode == 0
    assert (tmp_path / "reloads").read_text() == "reload\n"
    written = [(tmp_path / "keys" / f"{place}.pem").read_bytes() for place in range(1, 5)]
    assert written == [keys[0].to_pem(), keys[1].to_pem(), keys[0].to_pem(), keys[0].to_pem()]
    assert export_keys(tmp_path, keys[:1], reload="false").returncode != 0
    assert export_keys(tmp_path, keys[:1], reload=reload).returncode == 0
    assert (tmp_path / "reloads").read_text() == "reload\nreload\n"
    assert sorted(each.name for each in (tmp_path / "keys").iterdir()) == ["1.pem", "2.pem", "3.pem", "4.pem", "loaded"]


@pytest.mark.parametrize("count", [0, 5])
def test_the_script_changes_nothing_when_it_cannot_do_it_all(tmp_path: Path, count: int):
    """Without keys, or with more than there are places, it says so and leaves those that HAProxy has."""
    keys = [Key.generate("ES256").public() for _ in range(5)]
    assert export_keys(tmp_path, keys[:2]).returncode == 0
    before = (tmp_path / "keys" / "1.pem").read_bytes()
    done = export_keys(tmp_path, keys[::-1][:count], reload="echo never >&2")
    assert done.returncode == 1
    assert done.stderr == (
        f"guard-haproxy-keys: there are {count} public keys, and guard-haproxy.cfg has 4 places for them\n"
    )
    assert (tmp_path / "keys" / "1.pem").read_bytes() == before


def test_a_failed_export_is_told(tmp_path: Path):
    """When Tokenkeep's command fails, so does the script."""
    commands = tmp_path / "commands"
    assert export_keys(tmp_path, [Key.generate("ES256").public()]).returncode == 0
    (commands / "as-tokenkeep").write_text("#!/bin/sh\necho 'no database' >&2\nexit 3\n")
    done = subprocess.run(
        ["sh", str(commands / "script")], env={"PATH": f"{commands}:/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, b"no database\n")
