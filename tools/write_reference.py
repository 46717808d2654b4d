"""Writes docs/settings.md and docs/errors.md from the code, so that neither can fall behind it.

    python tools/write_reference.py            write both pages
    python tools/write_reference.py --check    exit with 1 if a page is not what would be written

What the code cannot tell is kept here: the usual cause and the fix of each error code, and an example of settings
that breaks each safety rule. A code or a rule without its entry is an error, and so is an entry without its code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from tokenkeep.api.problems import CODES, problem
from tokenkeep.cli.explanations import explain
from tokenkeep.jose.errors import TokenError, UsageError
from tokenkeep.settings import Secret, Settings, SettingsError
from tokenkeep.settings.kinds import Kind
from tokenkeep.settings.options import OPTIONS, Option
from tokenkeep.settings.safety import Finding, judge_safety

DOCS = Path(__file__).resolve().parent.parent / "docs"
GENERATED = "<!-- Written by tools/write_reference.py; change the code or that tool, then run it again. -->"


class Incomplete(Exception):
    """A code, rule or message has no entry here, or an entry has nothing left that it belongs to."""


@dataclass(frozen=True)
class Entry:
    """What the code does not say of an error: its usual cause, and what to do."""

    cause: str
    fix: str


PROBLEMS = {
    "malformed_request": Entry(
        "The body is not one well-formed JSON object, a member appears twice in it, the request ended early, or the "
        "request carries twice what it may carry once (`Host`, `Content-Type`, `Authorization`, `Origin`, …, the "
        "refresh cookie), or a transfer coding other than chunked. Or the query has a parameter that the route does "
        "not know, or one twice.",
        "Send one JSON object in UTF-8 and each header once. For two cookies: delete the cookies of this site in the "
        "browser; another application on the same host may have set the second one.",
    ),
    "invalid_credentials": Entry(
        "The name is unknown, the password is wrong, it was a temporary one and its 24 hours are over, or the account "
        "is disabled. These are not told apart on purpose.",
        "Check the name with `tokenkeep users list`. Set another password with `tokenkeep users set-password NAME`, or "
        "let a disabled account in again with `tokenkeep users enable NAME`.",
    ),
    "no_valid_refresh_token": Entry(
        "No refresh token was sent, or its session is over: logged out, expired, ended by an operator or by `tokenkeep "
        "recover`, or ended because the token was used twice. In a browser also: the cookie belongs to another host "
        "name, or the issuer is https and the page is not.",
        "Log in again. If it happens to everyone, compare the host name in the browser with the issuer.",
    ),
    "invalid_refresh_token": Entry(
        "The refresh token is damaged or forged, was sent in the body although its session uses the cookie (or the "
        "reverse, or both at once), or is two refreshes behind. After a change of the server secret: the old one is "
        "not in `previous_secrets`.",
        "Try once more with the newest token; if that fails, log in again.",
    ),
    "missing_token": Entry(
        "The request has no `Authorization: Bearer …` header. Some proxies remove it.",
        "Send the access token in that header, and let the proxy pass it on.",
    ),
    "invalid_token": Entry(
        "`reason` is `TokenExpiredError`: the access token is older than `access_ttl`. Any other reason: it is "
        "damaged, of another issuer, for another audience, or its session has ended. The log line of the request names "
        "the exact code of the token engine; see below.",
        "Refresh, then try again. If new tokens are refused, compare `issuer` with what clients call, and the clocks.",
    ),
    "invalid_feed_token": Entry(
        "`/revocations` was asked without an `Authorization: Bearer` header, or with another token than `feed_token`.",
        "Give the service that follows the feed the token that the server has.",
    ),
    "forbidden": Entry(
        "The token is good, but the account's role does not suffice. For administrators: the role was taken away, or "
        "all sessions were ended, a moment ago.",
        "Give the account the role: `tokenkeep users set-role NAME ROLE`. The next refresh carries it.",
    ),
    "password_change_required": Entry(
        "The password is right, but a temporary one: it is good for setting another one only, within 24 hours.",
        "Log in once more with the same password and `newPassword` beside it.",
    ),
    "cross_site": Entry(
        "The page that sent the request is of another origin than the issuer's. `http://localhost:8000` and "
        "`http://127.0.0.1:8000` are two origins. Also: a browser asked for delivery in the body.",
        "Open the page under the issuer's own address, or name its origin in `allowed_origins` if it is on the same "
        "site.",
    ),
    "https_required": Entry(
        "The issuer is https, and plain http came from an address that is neither this machine's own nor in "
        "`trusted_proxies`.",
        "Call the https address. If it came through your proxy, name the proxy's address in `trusted_proxies`.",
    ),
    "not_found": Entry(
        "There is no such path, or it is not for this caller: `/metrics` without the operations token, "
        "`/revocations` where neither `feed_token` nor `feed_public` is set or tokens are signed with a shared secret, "
        "`/openapi.json` without `api_docs`, `/register` without `registration`, an id that nobody has, something that "
        "belongs to another account.",
        "Compare the path with `tokenkeep openapi`. For metrics, send `Authorization: Bearer` with the `ops_token`.",
    ),
    "method_not_allowed": Entry(
        "The path exists, but not with this method.", "Use a method that the `Allow` header of the answer names."
    ),
    "name_taken": Entry(
        "Another account has this name, or one that reads the same (case and look-alike forms do not count).",
        "Choose another name; `tokenkeep users list` shows those that are taken.",
    ),
    "last_administrator": Entry(
        "An administrator who is the only enabled one asked to be disabled, deleted, or given another role. Others do "
        "not count while their password is a temporary one, or if they have none.",
        "Make somebody else an administrator first, and have them log in. "
        "On the host, `tokenkeep users` refuses nothing of it.",
    ),
    "verifiers_not_ready": Entry(
        "A rotation of the signing keys was asked for, and the next key has another algorithm: `signing_algorithm` was "
        "changed. Verifiers name the algorithms that they accept, and would refuse every token of it.",
        "Have every verifier accept the old and the new algorithm, then say so: `keys rotate --verifiers-ready`, or "
        '`{"verifiersReady": true}`. See [keys](keys.md#change-the-algorithm).',
    ),
    "request_timeout": Entry(
        "The body of the request did not arrive within ten seconds.",
        "Send it whole. If it happens often, let the proxy buffer request bodies.",
    ),
    "body_too_large": Entry(
        "The body has more than 16 KiB, or its `Content-Length` is no number.", "Send what the route asks for, only."
    ),
    "unsupported_media_type": Entry(
        "The body is not declared as JSON.", "Send `Content-Type: application/json`; forms are not accepted."
    ),
    "misdirected_request": Entry(
        "The `Host` header names neither the issuer nor the address that is listened on. Usually a proxy that replaces "
        "the header, or a second name of the machine.",
        "Let the proxy pass the `Host` header on, or name the other host in `allowed_hosts`.",
    ),
    "invalid_field": Entry(
        "The member that `field` names is missing, unknown, of the wrong type, or breaks a rule that `error` tells. "
        "In a query: the parameter of that name. A name that is refused may look like another one; see "
        "[names](administration.md#names).",
        "Correct that member.",
    ),
    "too_many_requests": Entry(
        "One address has tried too often (`login_limit_address`, `refresh_limit_address`; `logout_limit_address` for "
        "logouts that ended no session), all together have "
        "(`login_limit_everyone`), or the last failed attempts on this name are too recent: after five in a row it "
        "must rest for 1, 2, 4 … seconds, at most five minutes. Behind a proxy that `trusted_proxies` does not name, "
        "all clients are one address. The answer carries `Retry-After`, and in `RateLimit` the name of the limit; see "
        "[Limits on attempts](limits.md).",
        "Wait as long as `Retry-After` says. If it happens to everyone, look at the `address` in the log lines: is it "
        "the proxy's, name the proxy in `trusted_proxies`.",
    ),
    "headers_too_large": Entry(
        "The headers of the request have more than 16 KiB together, mostly cookies of other applications on the host.",
        "Delete those cookies, or give Tokenkeep a host name of its own.",
    ),
    "internal_error": Entry(
        "A defect of Tokenkeep. The client is told nothing; the log has a line of level `error` with the traceback.",
        "Look up the log by the `X-Request-Id` of the answer, and report it with the traceback.",
    ),
    "unavailable": Entry(
        "It is not known at the moment whether tokens have been revoked, because the database has not answered for "
        "longer than `revocation_max_staleness`; or the database was put back to an older state under the running "
        "server, which then does nothing by it. Nothing was decided. The answer carries `Retry-After`. A service with "
        "a verifier answers the same while it cannot fetch the issuer's keys. `/readyz` answers with it, or with "
        "`storage_unavailable`, and names in `missing` [what it lacks](deployment.md#health).",
        "Look at the database and at the log; the server goes on by itself when the database answers. If it was put "
        "back, go on [as the log says](backup.md#restore). For a service, "
        "see [what happens when the auth server is down](verifier.md#when-the-auth-server-is-down).",
    ),
    "storage_unavailable": Entry(
        "The database did not answer, is locked, read-only or full. Nothing was changed. The answer carries "
        "`Retry-After`.",
        "The log line of the request says what the database said. Mend that; the server goes on by itself.",
    ),
    "busy": Entry(
        "More passwords are waiting to be checked than can be checked in five seconds. The answer carries "
        "`Retry-After`.",
        "Try again. If it is not an attack, raise `hash_concurrency` (`argon2_memory` each) up to the number of "
        "processor cores.",
    ),
}
"""Cause and fix of every code of a problem document."""

NEVER_RAISED = {"KeySelectionError", "ClaimError"}
"""Errors of the token engine that only stand for those below them."""

WRONG_CALLS = {
    "invalid_argument": Entry(
        "An argument has a value that makes no sense, such as an empty list of algorithms or a leeway of an hour.",
        "The message names the argument and what it may be.",
    ),
    "reserved_name": Entry(
        "A claim or header parameter was given that only the engine may set, such as `exp` or `alg`.",
        "Use the argument for it, such as `lifetime`, or another name.",
    ),
    "wrong_type": Entry("An argument has the wrong type.", "The message names the argument and its type."),
    "key_required": Entry("No key was given.", "Give a `Key` or a `KeySet`; there are no unsigned tokens."),
}
"""Cause and fix of every code that a wrong call of the token engine raises."""

UNSAFE: dict[str, tuple[dict[str, Any], ...]] = {
    "issuer-transport": ({"issuer": "http://auth.example.com"},),
    "listener": ({"host": "0.0.0.0"},),
    "tls-issuer": ({"tls_cert": Path("cert.pem"), "tls_key": Path("key.pem")},),
    "database-transport": (
        {"database_url": Secret("postgresql://tokenkeep@db.example.com/tokenkeep?sslmode=require")},
        {"database_url": Secret("postgresql://tokenkeep@db.example.com:five/tokenkeep")},
    ),
    "redis-transport": (
        {"redis_url": Secret("redis://tokenkeep:password@redis.example.com/0")},
        {"redis_url": Secret("redis://redis.example.com:five/0")},
    ),
    "server-secret": ({"secret": Secret("password")}, {"secret": Secret("secret" * 6)}),
    "access-life": ({"access_ttl": timedelta(hours=2)},),
    "shared-algorithm": ({"signing_algorithm": "HS256", "audiences": ("https://orders.example.com",)},),
    "allowed-origins": ({"allowed_origins": ("*",)}, {"allowed_origins": ("http://app.example.com",)}),
    "trusted-proxies": ({"trusted_proxies": ("everyone",)}, {"trusted_proxies": ("0.0.0.0/0",)}),
    "rate-limits": ({"rate_limits": False, "issuer": "https://auth.example.com"},),
    "workers": ({"workers": 3}, {"workers": 3, "database_url": Secret("postgresql:///tokenkeep")}),
    "password-hashing": ({"argon2_memory": 8_192},),
    "ops-token": ({"ops_token": Secret("short")}, {"ops_token": Secret("changeme" * 8)}),
    "feed-token": (
        {"feed_token": Secret("short")},
        {"feed_token": Secret("changeme" * 8)},
        {
            "feed_token": Secret("one token for two purposes, 7a3f9c"),
            "ops_token": Secret("one token for two purposes, 7a3f9c"),
        },
    ),
}
"""Settings that break each safety rule."""

CONTRADICTIONS: tuple[dict[str, Any], ...] = (
    {"tls_cert": Path("cert.pem")},
    {"refresh_idle_ttl": timedelta(days=40)},
)
"""Settings that are refused because they do not go together."""


# ------------------------------------------------------------------------------------------------------ settings


def settings_page(options: Iterable[Option] = tuple(OPTIONS.values())) -> str:
    """Return docs/settings.md.

    Raises:
        Incomplete: a safety rule has no example here.
    """
    return "\n".join([_SETTINGS_HEAD, *_settings_table(options), _SETTINGS_MIDDLE, *_rules_table(), ""])


_SETTINGS_HEAD = f"""\
# Settings

{GENERATED}

Values come from four places. A later one wins:

1. the defaults below;
2. the file `tokenkeep.toml` in the working directory, or the one named by `--config` or `TOKENKEEP_CONFIG`;
3. environment variables `TOKENKEEP_…`; for a secret also `TOKENKEEP_…_FILE`, which names a file that holds it (one
   newline at its end is removed);
4. flags of `tokenkeep serve` and `tokenkeep doctor`. Other commands have the few flags that they need.

In the file, names are written as below: `access_ttl = "10m"`, `trusted_proxies = ["10.0.0.5"]`. In variables and
flags a list is one text with commas. A duration is a number with `ms`, `s`, `m`, `h` or `d`. A switch is `on` or
`off`. A rate is a number and a duration: `60/1m`.

An unknown name is an error in every place, so that a misspelt setting cannot silently keep its default.
`tokenkeep settings` shows the values in force and where each came from; secrets are masked. `tokenkeep doctor`
judges them.

A change takes effect at the next start, or after a [reload](deployment.md#exit-codes-and-signals); `host`, `port`,
`workers`, `data_dir`, `tls_cert` and `tls_key` want a start.

## Every setting
"""

_SETTINGS_MIDDLE = """\

Secrets are not flags: the arguments of a process are visible to everyone on the machine.

## What may not start

Each rule is checked at every start, and by `tokenkeep doctor`. A broken rule ends `tokenkeep serve` with exit code
1 and its fix. An override lets it pass; it is logged as a warning at each start.
"""


_IMPOSSIBLE: dict[Kind, tuple[Any, ...]] = {
    Kind.DURATION: (timedelta(-1),),
    Kind.INTEGER: (-1,),
    Kind.SECRET: (Secret("\0"),),
    Kind.TEXT: ("\0", "http://Example.com/"),
}


def _settings_table(options: Iterable[Option]) -> Iterator[str]:
    yield "| setting | kind | default | variable | flag | meaning |"
    yield "|---|---|---|---|---|---|"
    for option in options:
        variable = f"`{option.variable}`" + (f" or `{option.variable}_FILE`" if option.kind.secret else "")
        flag = "not as a flag: secret" if option.kind.secret else f"`{option.flag}`"
        meaning = " ".join(filter(None, [option.help, _bounds(option)]))
        yield _row(f"`{option.name}`", option.kind.word, f"`{option.show(option.default)}`", variable, flag, meaning)


def _bounds(option: Option) -> str:
    """Return what a value must be, in the words with which an impossible one is refused."""
    check = next((each.metadata["check"] for each in fields(Settings) if each.name == option.name), None)
    impossible = _IMPOSSIBLE.get(option.kind, ())
    complaints = dict.fromkeys(filter(None, map(check, impossible))) if check else ()
    return " ".join(f"It {complaint}." for complaint in complaints)


def _rules_table() -> Iterator[str]:
    yield "| rule | refused, for example | fix | override |"
    yield "|---|---|---|---|"
    rules = dict.fromkeys(finding.rule for finding in judge_safety(Settings()))
    _match("safety rule", rules, UNSAFE)
    for rule in rules:
        for example in UNSAFE[rule]:
            finding = _finding_of(rule, example)
            fix, _, rest = finding.fix.partition(" (or ")
            yield _row(rule, finding.found, fix, f"`{rest.removesuffix(')')}`" if rest else "none")
    for example in CONTRADICTIONS:
        try:
            Settings(**example)
        except SettingsError as error:
            thing, _, fix = str(error).partition(": ")
            yield _row("(contradiction)", thing, fix or "make them agree", "none")
        else:
            raise Incomplete(f"{example} is allowed")


def _finding_of(rule: str, example: dict[str, Any]) -> Finding:
    for finding in judge_safety(Settings(**example)):
        if finding.rule == rule and not finding.ok:
            return finding
    raise Incomplete(f"the example {example} does not break the rule {rule}")


# -------------------------------------------------------------------------------------------------------- errors


def errors_page(codes: Iterable[str] = CODES, entries: Mapping[str, Entry] = PROBLEMS) -> str:
    """Return docs/errors.md.

    Raises:
        Incomplete: a code has no cause and fix, or a cause and fix has no code.
    """
    codes = tuple(codes)
    _match("error code", codes, entries)
    parts = [_ERRORS_HEAD]
    for code in sorted(codes, key=lambda each: (_document(each)["status"], codes.index(each))):
        parts += _problem_section(code, entries[code])
    return "\n".join([*parts, _ENGINE_HEAD, *_engine_table(), _CALLS_HEAD, *_calls_table(), ""])


_ERRORS_HEAD = f"""\
# Errors

{GENERATED}

Every refusal is an `application/problem+json` document: `type`, `title`, `status`, `code` (stable, for programs),
`error` (a sentence for people; sometimes more exact than below), and where it helps `field`, `reason` or `missing`.
The answer's `X-Request-Id` is the `request_id` of its log line, which says more than the client is told.

Two sorts of requests get no document, since they end before they are requests: what is not well-formed HTTP/1.1 (400,
or the end of the connection), and what has a path over 64 KiB (414), more than 100 headers or a header section far
above 64 KiB (431). Their answers are empty, and they are not logged.

What `tokenkeep serve` says when it does not start is in [deployment](deployment.md#when-it-does-not-start).
"""

_ENGINE_HEAD = """\
## Codes of the token engine

Why a token was refused. The server answers `invalid_token` and logs one of these; `tokenkeep token verify` and the
library tell them directly. `reason` is the name that clients of jsonwebtoken know.
"""

_CALLS_HEAD = """\

## Codes of wrong calls

Raised by the library before it looks at any token, because the calling code is wrong. No client can cause them.
"""


def _problem_section(code: str, entry: Entry) -> list[str]:
    document = _document(code)
    return [
        f"## `{code}`",
        "",
        f"**{document['status']}** “{document['error']}”",
        "",
        f"- Cause: {entry.cause}",
        f"- Fix: {entry.fix}",
        "",
    ]


def _document(code: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(bytes(problem(code).body))
    except KeyError:
        raise Incomplete(f"no error code {code}") from None
    return document


def _engine_table() -> Iterator[str]:
    yield "| code | `reason` | message | cause and fix |"
    yield "|---|---|---|---|"
    for error in _below(TokenError):
        if not explain(error.code):
            raise Incomplete(f"cli/explanations.py does not explain {error.code}")
        yield _row(f"`{error.code}`", f"`{error.reason}`", error.sentence, explain(error.code))


def _calls_table() -> Iterator[str]:
    yield "| code | error | cause | fix |"
    yield "|---|---|---|---|"
    raised = {error.code: error for error in _below(UsageError)}
    _match("code of a wrong call", raised, WRONG_CALLS)
    for code, error in raised.items():
        yield _row(f"`{code}`", f"`{error.__name__}`", WRONG_CALLS[code].cause, WRONG_CALLS[code].fix)


def _below(root: type[Any]) -> Iterator[type[Any]]:
    """Yield the errors below a root that are raised themselves, in the order of the tree."""
    for error in root.__subclasses__():
        if error.__module__ == root.__module__:
            if error.__name__ not in NEVER_RAISED:
                yield error
            yield from _below(error)


# --------------------------------------------------------------------------------------------------------- pages


def _match(what: str, needed: Iterable[str], given: Iterable[str]) -> None:
    missing, left = set(needed) - set(given), set(given) - set(needed)
    if missing:
        raise Incomplete(f"no entry in tools/write_reference.py for {what} {', '.join(sorted(missing))}")
    if left:
        raise Incomplete(f"an entry in tools/write_reference.py is for no {what}: {', '.join(sorted(left))}")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


PAGES: Mapping[str, Callable[[], str]] = {"settings.md": settings_page, "errors.md": errors_page}


def main(arguments: list[str], folder: Path = DOCS) -> int:
    """Write the pages, or compare them; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    behind = []
    for name, page in PAGES.items():
        path = folder / name
        text = page()
        if not arguments:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            behind.append(name)
    for name in behind:
        print(f"docs/{name} is behind the code; run: python tools/write_reference.py", file=sys.stderr)
    return 1 if behind else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Incomplete as error:
        sys.exit(f"write_reference: {error}")
