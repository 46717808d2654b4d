"""No secret in any log, error, metric or repr, nor in the database, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import logging
import pickle
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.attacks.http.attacker import JSON, NAME, Attacker, Reply, filled
from tests.attacks.http.canaries import (
    BASIC,
    DATABASE_PASSWORD,
    DPOP,
    FEED_TOKEN,
    FIRST_PASSWORD,
    FORGED_ACCESS,
    FORGED_REFRESH,
    MISTYPED_NAME,
    NEW_PASSWORD,
    NEWCOMER,
    OPS_TOKEN,
    PASSWORD,
    SERVER_SECRET,
    WRONG_PASSWORD,
    Canaries,
)
from tests.attacks.http.conftest import OpenServer
from tests.attacks.http.wire import Target
from tests.system.server_process import ServerProcess
from tokenkeep.api import dispatch
from tokenkeep.api.routes import routes_served
from tokenkeep.assembly import SystemClock
from tokenkeep.backends import choose_database, choose_redis
from tokenkeep.cli.main import commands
from tokenkeep.domain.secrets import SecretRing
from tokenkeep.jose import Key, KeySet
from tokenkeep.observability import set_up_logging
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.data_directory import DataDirectory
from tokenkeep.storage.sealing import Sealer

FORCED = (
    "tokenkeep.api.dispatch.read_body",
    "tokenkeep.api.cookies.CookiePolicy.read",
    "tokenkeep.api.cookies.CookiePolicy.set",
    "tokenkeep.api.cookies.CookiePolicy.clear",
    "tokenkeep.domain.sessions.RefreshToken.parse",
    "tokenkeep.domain.sessions.RefreshToken.authentic",
    "tokenkeep.flows.login.Login.login",
    "tokenkeep.flows.register.Register.register",
    "tokenkeep.flows.create_account.CreateAccount.draft",
    "tokenkeep.flows.create_account.CreateAccount.store",
    "tokenkeep.flows.administer_remotely.AdministerRemotely.create",
    "tokenkeep.flows.login.normalise_password",
    "tokenkeep.flows.login.Login._claim_and_open",
    "tokenkeep.flows.login.require_successor",
    "tokenkeep.flows.login.Login._replace",
    "tokenkeep.flows.change_password.ChangePassword.change",
    "tokenkeep.flows.replace_password.require_other",
    "tokenkeep.flows.replace_password.ReplacePassword.replace",
    "tokenkeep.flows.replace_password.ReplacePassword._replace",
    "tokenkeep.flows.new_passwords.NewPasswords.judged",
    "tokenkeep.flows.open_session.OpenSession.open",
    "tokenkeep.flows.token_families.SessionDraft.draw",
    "tokenkeep.flows.token_families.refresh_token_text",
    "tokenkeep.flows.limit_attempts.LimitAttempts.admit_password",
    "tokenkeep.flows.note_refusals.NoteRefusals.pseudonym",
    "tokenkeep.flows.refresh.Refresh.refresh",
    "tokenkeep.flows.logout.Logout.logout",
    "tokenkeep.flows.issue_tokens.TokenIssuer.issue",
    "tokenkeep.flows.key_ring.KeyRing.signer",
    "tokenkeep.flows.publish_revocations.PublishRevocations.answer",
    "tokenkeep.flows.publish_revocations.sign_feed",
    "tokenkeep.flows.key_ring.KeyRing.public_keys",
    "tokenkeep.passwords.pool.HashingPool.verify",
    "tokenkeep.passwords.pool.HashingPool.hash",
    "tokenkeep.passwords.argon2id.Argon2id.hash",
    "tokenkeep.passwords.argon2id.Argon2id.verify",
    "tokenkeep.storage.sql.sqlite.SqliteDatabase.read",
    "tokenkeep.storage.sql.sqlite.SqliteDatabase.transact",
    "tokenkeep.storage.sql.sqlite.SqliteTransaction.fetch_one",
    "tokenkeep.storage.sql.sqlite.SqliteTransaction.execute",
    "tokenkeep.verifier.verifier.TokenVerifier.verify",
    "tokenkeep.verifier.verifier.TokenVerifier.authenticate",
    "tokenkeep.jose.jwt.verify_with_policy",
    "tokenkeep.jose.jwt.issue",
    "tokenkeep.api.endpoint.Answer.encoded",
    "tokenkeep.api.requests.decode_object",
    "tokenkeep.observability.Metrics.exposition",
)


@pytest.fixture
def canaries() -> Canaries:
    """The secrets of a story."""
    return Canaries()


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Tell that it is."""
        return True


@pytest.fixture
def written() -> Callable[[], str]:
    """Everything logged at the lowest level, once as JSON and once as for a terminal."""
    root = logging.getLogger()
    streams = [io.StringIO(), Terminal()]
    both: list[logging.Handler] = []
    for stream in streams:
        set_up_logging(level="debug", stream=stream)
        both += root.handlers
    root.handlers = both
    root.setLevel(logging.NOTSET)
    return lambda: "\n".join(stream.getvalue() for stream in streams)


@pytest.fixture
async def victim(attack: OpenServer) -> Attacker:
    """A server whose secrets, and whose accounts' passwords, one of them temporary, are canaries."""
    attacker: Attacker = await attack(
        secret=Secret(SERVER_SECRET),
        ops_token=Secret(OPS_TOKEN),
        feed_token=Secret(FEED_TOKEN),
        rate_limits=False,
        registration=True,
    )
    await attacker.server.accounts.create(NAME, PASSWORD, role="admin", actor="operator")
    await attacker.server.accounts.create(NEWCOMER, FIRST_PASSWORD, role="user", actor="operator", temporary=True)
    return attacker


async def test_no_answer_log_or_metric_gives_a_secret_away(
    victim: Attacker, canaries: Canaries, written: Callable[[], str]
) -> None:
    """Through every route, rightly and wrongly asked, no secret is logged, counted, or sent to whom it is not for."""
    for reply in await _story(victim, canaries):
        assert not canaries.found_in(_shown(reply)), reply

    metrics = await victim.ask("GET", "/metrics")
    assert metrics.status == 200
    assert not canaries.found_in(metrics.body.decode())
    assert not canaries.found_in(written())


@pytest.mark.parametrize("function", FORCED)
async def test_an_error_anywhere_gives_no_secret_away(
    victim: Attacker, canaries: Canaries, written: Callable[[], str], monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """Whatever fails unforeseen, with secrets in every frame above: the client learns nothing, nor does the log."""
    tokens = await _entered(victim, canaries)
    before = len(written())
    with monkeypatch.context() as patched:
        owner, _, name = function.rpartition(".")
        patched.setattr(function, _failing(_found(owner), name))
        replies = await _every_route(victim, tokens)

    failed = [reply for reply in replies if reply.status == 500]
    for reply in replies:
        assert not canaries.found_in(_shown(reply))
        if reply.status == 500:
            document = reply.refused(500, "internal_error")
            assert document["error"] == "Internal error"
            assert "forced" not in reply.body.decode()
    logged = written()[before:]
    assert failed
    assert "the failure that was forced" in logged
    assert not canaries.found_in(logged)
    assert (await victim.ask("GET", "/livez")).status == 200


async def test_no_object_shows_a_secret(victim: Attacker, canaries: Canaries) -> None:
    """The repr of each object of ours that is handed from function to function shows no secret (crash reports do)."""
    tokens = await _entered(victim, canaries)
    shown: dict[str, str] = {}

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if event == "return":
            candidates = [argument]
        elif event == "call" and "tokenkeep" in frame.f_code.co_filename:
            candidates = list(frame.f_locals.values())
        else:
            return
        for value in candidates:
            if type(value).__module__.partition(".")[0] == "tokenkeep" and not isinstance(value, type):
                with contextlib.suppress(Exception):  # an object may be only just being made
                    shown[repr(value)] = type(value).__qualname__

    sys.setprofile(look)
    try:
        replies = [*await _every_route(victim, tokens), *await _every_route(victim, await _entered(victim, canaries))]
    finally:
        sys.setprofile(None)

    for reply in replies:
        canaries.add_all(_secrets_of(reply))
    canaries.add_all(each.hex() for each in _session_secrets(victim))
    canaries.add_all(repr(each)[2:-1] for each in _session_secrets(victim))
    assert {"Call", "Answer", "LoginRequest", "Session", "RefreshToken"} <= set(shown.values())
    assert not {f"{name}: {text[:300]}" for text, name in shown.items() if canaries.found_in(text)}


async def test_no_exception_holds_a_secret(
    victim: Attacker, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised on the way to a refusal says no secret: not in its text, its members, or what it came from."""
    raised: list[Exception] = []
    answer = dispatch.problem_of

    def look(error: Exception) -> Any:
        raised.append(error)
        return answer(error)

    monkeypatch.setattr(dispatch, "problem_of", look)
    await _story(victim, canaries)
    for members in (
        {"name": NAME, "password": PASSWORD, "delivery": WRONG_PASSWORD},
        {"name": NAME, "password": PASSWORD, "audience": {WRONG_PASSWORD: WRONG_PASSWORD}},
        {"name": f"{MISTYPED_NAME}\0", "password": WRONG_PASSWORD},
        {"name": NAME, "password": WRONG_PASSWORD * 80},
        {"name": NAME, WRONG_PASSWORD.replace(" ", "_"): PASSWORD},
    ):
        await victim.ask("POST", "/login", headers=[JSON], body=_json(**members))

    assert len({type(error) for error in raised}) >= 5
    for error in raised:
        for each in _chain(error):
            told = [*traceback.format_exception_only(each), repr(each), str(each), repr(each.args)]
            told += [repr(value) for value in getattr(each, "__dict__", {}).values()]
            assert not canaries.found_in("\n".join(told)), type(each)


def test_settings_and_keys_show_no_secret(canaries: Canaries) -> None:
    """Settings, secrets, key rings and keys can be printed, compared and passed on, and cannot be pickled."""
    key = Key.generate("ES256")
    canaries.add(str(key.to_jwk(private=True)["d"]))
    settings = Settings(
        secret=Secret(SERVER_SECRET),
        previous_secrets=(Secret(PASSWORD * 2),),
        ops_token=Secret(OPS_TOKEN),
        feed_token=Secret(FEED_TOKEN),
        database_url=Secret(f"postgresql://canary:{DATABASE_PASSWORD}@127.0.0.1/none"),
        redis_url=Secret(f"redis://canary:{DATABASE_PASSWORD}@127.0.0.1/0"),
    )
    ring = SecretRing(SERVER_SECRET.encode())
    database = choose_database(settings, DataDirectory(Path("nowhere")), SystemClock())
    redis = choose_redis(settings)
    for thing in (
        settings,
        ring,
        key,
        KeySet([key]),
        AuthServer(settings),
        Sealer(ring),
        database,
        redis,
        key.public(),
    ):
        for text in (repr(thing), str(thing), f"{thing}", repr([thing]), repr({"x": thing})):
            assert not canaries.found_in(text), text
    assert settings.secret is not None
    for thing in (settings.secret, ring, settings):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


async def test_the_database_holds_no_password_and_no_token(victim: Attacker, canaries: Canaries) -> None:
    """No byte of the data directory gives away a password, a token, or a mistyped name; the secret is not in it."""
    await _story(victim, canaries)
    await victim.server.close()

    for file in sorted(victim.server.settings.data_dir.iterdir()):
        assert not canaries.found_in(file.read_bytes().decode("latin-1")), file


@pytest.mark.system
@pytest.mark.xdist_group("system")
def test_the_real_server_writes_no_secret_anywhere(
    tmp_path_factory: pytest.TempPathFactory, canaries: Canaries
) -> None:
    """The process with all its libraries, logging everything: no secret on its outputs, nor among its arguments."""
    environ = {"TOKENKEEP_SECRET": SERVER_SECRET, "TOKENKEEP_OPS_TOKEN": OPS_TOKEN, "TOKENKEEP_FEED_TOKEN": FEED_TOKEN}
    with ServerProcess(tmp_path_factory.mktemp("canaries"), environ=environ, log_level="debug") as process:
        process.start()
        process.add_user(NAME, PASSWORD)
        process.command("users", "add", NEWCOMER, "--temporary", "--password-stdin", typed=f"{FIRST_PASSWORD}\n")
        target = Target(process)
        handed_out = [process.request(*asked, **options) for asked, options in _requests({})]
        for answer in handed_out:
            canaries.add_all(_secrets_in(answer.text, answer.headers.get("set-cookie", "")))
        for fields in (f"Authorization: {BASIC}", f"DPoP: {DPOP}", f"Cookie: refreshToken={FORGED_REFRESH}"):
            target.exchange(target.get("/me", fields=f"{fields}\r\n".encode()))
            target.exchange(target.post("/refresh", b"{}", fields=f"{fields}\r\n".encode()))
            target.exchange(target.get("/me", fields=f"{fields}\0\r\n".encode()))
            target.exchange(target.post("/refresh", b"{", fields=f"{fields}\r\nContent-Length: 1\r\n".encode()))
        target.exchange(b"GET /me?token=%s HTTP/1.2\r\n\r\n" % FORGED_ACCESS.encode())
        process.stop()

        assert not canaries.found_in(process.log)
        assert not canaries.found_in(" ".join(process.arguments))


COMMANDS: dict[str, tuple[list[str], str]] = {
    "audit search": (["--json"], ""),
    "audit tail": ([], ""),
    "calibrate": (["--target", "1ms", "--memory", "8MiB"], ""),
    "doctor": (["--json"], ""),
    "keys export": ([], ""),
    "keys list": (["--json"], ""),
    "keys revoke": (["A" * 43, "--yes"], ""),
    "keys rotate": ([], ""),
    "migrate": ([], ""),
    "openapi": ([], ""),
    "purge": ([], ""),
    "recover": (["--yes"], ""),
    "sessions list": (["--json"], ""),
    "sessions revoke": (["--all", "--yes"], ""),
    "settings": (["--json"], ""),
    "token inspect": ([], FORGED_ACCESS),
    "token revoke": ([], FORGED_ACCESS),
    "token verify": (["--key", "key.json"], FORGED_ACCESS),
    "users add": (["Grace", "--temporary", "--password-stdin"], NEW_PASSWORD),
    "users disable": (["Ada"], ""),
    "users enable": (["Ada"], ""),
    "users import": (["accounts.jsonl"], ""),
    "users list": (["--json"], ""),
    "users set-password": (["Ada", "--password-stdin"], NEW_PASSWORD),
    "users set-role": (["Ada", "user"], ""),
    "users delete": (["Ada", "--yes"], ""),
}
"""Arguments and input with which each command does its work; those that print or serve by purpose are left out."""

IMPORTED_HASH = "$2b$04$XsdlX6i3vkUEBtHcTvHk7eBHSFGqQ3v/FEBk6Srr.eKZ3hGmbdtd6"

LEFT_OUT = {"serve", "secret generate"}
"""Served above; prints a secret, since that is what it is for."""


def test_no_command_prints_a_secret(tmp_path: Path, canaries: Canaries, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command, done rightly, without a server, with the wrong secret and with a wrong setting, prints none."""
    monkeypatch.chdir(tmp_path)
    key = Key.generate("ES256").to_jwk(private=True)
    (tmp_path / "key.json").write_text(json.dumps(dict(key)))
    canaries.add(str(key["d"]))
    (tmp_path / "accounts.jsonl").write_text(json.dumps({"name": "Imported", "password_hash": IMPORTED_HASH}))
    canaries.add(IMPORTED_HASH)
    assert {*COMMANDS, *LEFT_OUT} <= set(_names(commands)), "a command is gone"
    unknown = set(_names(commands)) - {*COMMANDS, *LEFT_OUT}
    assert not unknown, f"tell this test how to call {unknown}"
    environ = {
        "TOKENKEEP_SECRET": SERVER_SECRET,
        "TOKENKEEP_OPS_TOKEN": OPS_TOKEN,
        "TOKENKEEP_FEED_TOKEN": FEED_TOKEN,
        "TOKENKEEP_DATA_DIR": "data",
    }
    asyncio.run(_prepare(tmp_path / "data"))
    database = f"postgresql://canary:{DATABASE_PASSWORD}@127.0.0.1:1/none"

    for number, surroundings in enumerate(
        (
            environ,
            {**environ, "TOKENKEEP_SECRET": SERVER_SECRET[:20]},
            {**environ, "TOKENKEEP_OPS_TOKEN": OPS_TOKEN[:20]},
            {**environ, "TOKENKEEP_FEED_TOKEN": FEED_TOKEN[:20]},
            {**environ, "TOKENKEEP_DATABASE_URL": database},
            {**environ, "TOKENKEEP_DATABASE_URL": f"mysql://canary:{DATABASE_PASSWORD}@127.0.0.1/none"},
            {
                **environ,
                "TOKENKEEP_DATABASE_URL": f"postgresql://{DATABASE_PASSWORD}:not a port/[",
                "TOKENKEEP_PORT": "0",
            },
            {**environ, "TOKENKEEP_SECERT": SERVER_SECRET},
            {"TOKENKEEP_SECRET_FILE": SERVER_SECRET},
            {**environ, "TOKENKEEP_PORT": "eighty"},
        )
    ):
        for name, (arguments, typed) in COMMANDS.items():
            result = _run([*name.split(), *arguments], surroundings, typed)
            assert not canaries.found_in(_printed(result)), f"{name}: {_printed(result)}"
            assert number or result.exit_code == (
                1 if name in {"keys revoke", "token verify", "token revoke"} else 0
            ), f"{name}: {_printed(result)}"


async def _prepare(data_dir: Path) -> None:
    """Make what a server would have made, with one account in it."""
    settings = Settings(data_dir=data_dir, secret=Secret(SERVER_SECRET), hash_concurrency=1)
    async with AuthServer(settings) as server:
        await server.accounts.create(NAME, PASSWORD, role="admin", actor="operator")


def test_a_secret_given_as_a_flag_is_refused_and_not_repeated(canaries: Canaries) -> None:
    """No command takes a secret or a password as an argument, where others see it, nor repeats one that was tried."""
    for name in _names(commands):
        for flag in ("--secret", "--ops-token", "--database-url", "--password", "--previous-secrets"):
            result = _run([*name.split(), f"{flag}={SERVER_SECRET}"], {}, "")
            assert result.exit_code == 2, name
            assert not canaries.found_in(_printed(result)), name


async def _story(victim: Attacker, canaries: Canaries) -> list[Reply]:
    """Do what people do and what attackers do; return the answers that must hold no secret."""
    tokens = await _entered(victim, canaries)
    refused = [
        await victim.ask("POST", "/login", headers=[JSON], body=_json(name=NAME, password=WRONG_PASSWORD)),
        await victim.ask("POST", "/login", headers=[JSON], body=_json(name=MISTYPED_NAME, password=WRONG_PASSWORD)),
        await victim.ask("POST", "/login", headers=[JSON], body=_json(name=[MISTYPED_NAME], password=WRONG_PASSWORD)),
        await victim.ask("POST", "/login", headers=[JSON], body=_json(name=NAME, password={"x": WRONG_PASSWORD})),
        await victim.ask("POST", "/login", headers=[JSON], body=_json(name=NAME, passwort=WRONG_PASSWORD)),
        await victim.ask("POST", "/login", headers=[JSON], body=_json(name=NAME, password=PASSWORD)[:-2]),
        await victim.ask(
            "POST", "/login", headers=[JSON], body=_json(name=NAME, password=PASSWORD, audience=OPS_TOKEN)
        ),
        await victim.ask("GET", f"/me?access_token={tokens['access']}"),
        *[
            await victim.ask("POST", "/login", headers=[JSON], body=_json(**members))
            for members in (
                {"name": NEWCOMER, "password": FIRST_PASSWORD},
                {"name": NEWCOMER, "password": FIRST_PASSWORD, "newPassword": FIRST_PASSWORD},
                {"name": NEWCOMER, "password": FIRST_PASSWORD, "newPassword": NEW_PASSWORD * 50},
                {"name": NEWCOMER, "password": FIRST_PASSWORD, "newPassword": {"x": NEW_PASSWORD}},
                {"name": NEWCOMER, "password": WRONG_PASSWORD, "newPassword": NEW_PASSWORD},
                {"name": NAME, "password": PASSWORD, "newPassword": NEW_PASSWORD},
                {"name": MISTYPED_NAME, "password": WRONG_PASSWORD, "newPassword": NEW_PASSWORD},
            )
        ],
    ]
    for value in (
        FORGED_ACCESS,
        f"{tokens['access']}x",
        f"{tokens['access']} {tokens['access']}",
        OPS_TOKEN,
        FEED_TOKEN,
    ):
        refused.append(await victim.ask("GET", "/me", headers=[("Authorization", f"Bearer {value}")]))
    for header in (("Authorization", BASIC), ("DPoP", DPOP), ("Cookie", f"refreshToken={FORGED_REFRESH}")):
        for route in routes_served(registration=True):
            path = route.path.replace("{", "").replace("}", "")
            if route.method != "GET" or route.guard.value in {"bearer", "admin"}:
                refused.append(await victim.ask(route.method, path, headers=[JSON, header], body=b"{}"))
    refused.append(await victim.ask("POST", "/refresh", headers=[JSON], body=_json(refreshToken=FORGED_REFRESH)))
    refused.append(await victim.ask("POST", "/logout", headers=[JSON], body=_json(refreshToken=FORGED_REFRESH)))
    for reply in await _every_route(victim, tokens):
        canaries.add_all(_secrets_of(reply))
    return refused


async def _entered(victim: Attacker, canaries: Canaries) -> dict[str, str]:
    """Log in by cookie, and return what was handed out, which is secret from now on."""
    body = _json(name=NAME, password=PASSWORD)
    reply = await victim.ask("POST", "/login", headers=[JSON], body=body)
    assert reply.status == 200, reply.body
    access, refresh = _secrets_of(reply)
    return {"access": canaries.add(access), "refresh": canaries.add(refresh)}


async def _every_route(victim: Attacker, tokens: dict[str, str]) -> list[Reply]:
    """Ask every route as its user would, credentials included."""
    return [
        await victim.ask(method, path, headers=options.get("headers", {}).items(), body=options.get("content", b""))
        for (method, path), options in _requests(tokens)
    ]


def _requests(tokens: dict[str, str]) -> list[tuple[tuple[str, str], dict[str, Any]]]:
    """Return a good request to each route, those last that end what the tokens are good for, and a few more logins."""
    bodies = {
        "/login": {"name": NAME, "password": PASSWORD},
        "/password": {"currentPassword": PASSWORD, "newPassword": PASSWORD},
        "/register": {"name": "Hedy", "password": PASSWORD},
        "/admin/users": {"name": "Grace"},
        "/admin/users/{user}/role": {"role": "user"},
    }
    order = {path: place for place, path in enumerate(("/refresh", "/login", "/password", "/logout", "/sessions"), 1)}
    requests = []
    for route in sorted(
        routes_served(registration=True, feed=True), key=lambda each: (order.get(each.path, 0), each.method == "DELETE")
    ):
        headers = {"Content-Type": "application/json"}
        if tokens:
            headers["Authorization"] = f"Bearer {tokens['access']}"
        if route.path == "/revocations":
            headers["Authorization"] = f"Bearer {FEED_TOKEN}"
        if tokens and route.path != "/login":  # a login ends the session of the cookie that comes with it
            headers["Cookie"] = f"refreshToken={tokens['refresh']}"
        content = json.dumps(bodies.get(route.path, {})).encode() if route.body else b""
        path = filled(route.path)
        requests.append(((route.method, path), {"headers": headers, "content": content}))
    mistyped = {"name": MISTYPED_NAME, "password": WRONG_PASSWORD}
    by_body = {"name": NAME, "password": PASSWORD, "delivery": "body"}
    first = {"name": NEWCOMER, "password": FIRST_PASSWORD, "newPassword": NEW_PASSWORD}
    bodies_of_logins = (mistyped, first, by_body)
    logins = [{"headers": headers, "content": json.dumps(body).encode()} for body in bodies_of_logins]
    return [*requests, *((("POST", "/login"), options) for options in logins)]


def _session_secrets(victim: Attacker) -> list[bytes]:
    connection = sqlite3.connect(victim.server.settings.data_dir / "tokenkeep.db")
    try:
        return [row[0] for row in connection.execute("SELECT secret FROM sessions")]
    finally:
        connection.close()


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that a traceback shows above it."""
    shown: BaseException | None = error
    while shown is not None:
        yield shown
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)


def _failing(owner: Any, name: str) -> Any:
    """Return a replacement that fails, of the sort that the original is."""
    original = vars(owner)[name]

    def fail(*arguments: Any, **options: Any) -> Any:
        secrets = (PASSWORD, NEW_PASSWORD, SERVER_SECRET, OPS_TOKEN, arguments, options)
        raise RuntimeError(f"the failure that was forced, with {len(secrets)} secrets at hand")

    if isinstance(original, classmethod):
        return classmethod(fail)
    return fail


def _found(path: str) -> Any:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        owner, _, name = path.rpartition(".")
        return getattr(_found(owner), name)


def _shown(reply: Reply) -> str:
    """Return an answer as far as it must hold no secret: tokens that it hands out are meant to be there."""
    if reply.status in {200, 201}:
        return ""
    return reply.body.decode() + repr(reply.headers)


def _secrets_of(reply: Reply) -> list[str]:
    return _secrets_in(reply.body.decode(), "".join(reply.all("set-cookie")))


def _secrets_in(body: str, cookie: str) -> list[str]:
    members = json.loads(body) if body.startswith("{") else {}
    found = [members[name] for name in ("accessToken", "refreshToken", "firstPassword") if name in members]
    handed_out = cookie.partition(";")[0].partition("=")[2]
    return [*found, handed_out] if handed_out else found


def _json(**members: Any) -> bytes:
    return json.dumps(members).encode()


def _names(group: click.Group, before: str = "") -> list[str]:
    """Return the full names of all commands."""
    found: list[str] = []
    for name, command in group.commands.items():
        found += _names(command, f"{before}{name} ") if isinstance(command, click.Group) else [f"{before}{name}"]
    return found


def _run(arguments: list[str], environ: dict[str, str], typed: str) -> Result:
    return CliRunner().invoke(commands, arguments, env=environ, input=typed)


def _printed(result: Result) -> str:
    """Return all that a command told: its output, and the error that `main` prints as one line."""
    return f"{result.output}{result.stderr}{result.exception}"
