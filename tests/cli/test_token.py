"""`tokenkeep token`: a token is explained to a person and checked against a key, whatever it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.verifier.publisher import publishing
from tokenkeep.jose import Key, KeySet, jws, jwt

KEY = Key.generate("ES256")
ISSUER = "https://auth.example.com"


def token(claims: dict[str, Any] | None = None, *, key: Key = KEY, ago: int = 0, **changes: Any) -> str:
    """Return an access token that was issued some seconds ago."""
    arguments: dict[str, Any] = {
        "issuer": ISSUER,
        "subject": "AAAAAAAAAAAAAAAAAAAAAA",
        "audience": "https://api.example.com",
        "lifetime": timedelta(minutes=15),
        "token_type": "at+jwt",
        "now": time.time() - ago,
        **changes,
    }
    return jwt.issue({"name": "Ada", "role": "admin", "sid": "s", "ver": 1, **(claims or {})}, key, **arguments)


def unsigned(claims: bytes, header: bytes = b'{"alg":"none"}') -> str:
    """Return a token with any header and claims, that no key has signed."""
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in (header, claims)) + "."


def test_token_is_explained(run: Run):
    """Header, claims and times are shown with their meaning, and that nothing was checked is said plainly."""
    outcome = run("token", "inspect", stdin=token(ago=60))
    assert (outcome.code, outcome.err) == (0, "")
    for told in ("ES256", "at+jwt", KEY.kid, ISSUER, "Ada", "admin", "which key signed it", "issuer: who made it"):
        assert told in outcome.out
    assert re.search(r"6\d seconds ago", outcome.out)
    assert "It expires in 14 minutes." in outcome.out
    assert "UTC" in outcome.out
    assert "NOT been checked" in outcome.out


def test_expired_token_is_called_expired(run: Run):
    """How long ago a token expired is said in words."""
    assert "It expired 2 hours ago." in run("token", "inspect", stdin=token(ago=2 * 3_600 + 900)).out
    assert "It expired 30 days ago." in run("token", "inspect", stdin=token(ago=30 * 86_400 + 900)).out


def test_token_without_an_expiry_is_called_so(run: Run):
    """A token that verifiers would refuse for its missing or senseless expiry is still explained."""
    for claims in (b"{}", b'{"exp":"soon"}', b'{"exp":true}', b'{"exp":null}'):
        assert "no expiry" in run("token", "inspect", stdin=unsigned(claims)).out


def test_token_as_json(run: Run):
    """`--json` prints header and claims as they are, and that nothing was verified."""
    given = token({"list": [1, {"a": None}], "name": "Zoë"})
    document = json.loads(run("token", "inspect", "--json", stdin=given).out)
    assert document["verified"] is False
    assert document["header"] == {"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid}
    assert document["claims"]["list"] == [1, {"a": None}]
    assert document["claims"]["name"] == "Zoë"


@pytest.mark.parametrize("wrapping", ["{}", "{}\n", "  {}  \n", "Bearer {}", "Bearer {}\n"])
def test_token_is_found_in_what_was_pasted(run: Run, wrapping: str):
    """White space around it and the scheme before it do not matter."""
    assert run("token", "inspect", stdin=wrapping.format(token())).code == 0


def test_token_may_be_an_argument(run: Run):
    """A token can be given as an argument too."""
    assert "Ada" in run("token", "inspect", token()).out


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "hello",
        "a.b",
        "a.b.c",
        "....",
        "e30",
        "e30.e30.e30.e30",
        unsigned(b"[]"),
        unsigned(b"{}", b"[]"),
        unsigned(b'{"a":1,"a":2}'),
        unsigned(b'{"a":NaN}'),
        unsigned(b"\xff"),
        unsigned(b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"),
        unsigned(b'{"exp":' + b"9" * 5_000 + b"}"),
        "x" * 100_000,
        "ü.ü.ü",
        "tkr_" + "A" * 71,
    ],
    ids=lambda text: text[:20],
)
@pytest.mark.parametrize("command", [["inspect"], ["inspect", "--json"]])
def test_garbage_is_called_malformed(run: Run, command: list[str], garbage: str):
    """What is no token ends in one line and exit code 1, and is not repeated."""
    outcome = run("token", *command, stdin=garbage)
    assert outcome.code == 1
    assert "malformed token" in outcome.complaint
    assert len(outcome.err) < 200


def test_bytes_that_are_no_text_are_called_malformed(folder: Path):
    """Standard input that is no text ends in one line too."""
    command = Path(sys.executable).with_name("tokenkeep")
    ended = subprocess.run(
        [command, "token", "inspect"],
        input=b"\xff\xfe\x00garbage",
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode in {1, 2}
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "instant", ["9" * 400, "-" + "9" * 400, "1e308", "-1", "0", "253402300800", "1e-300", "0.5", "9" * 4_000]
)
@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
def test_absurd_instants_are_shown(run: Run, name: str, instant: str):
    """An instant of no calendar is shown as what it is, and is no reason to fail."""
    outcome = run("token", "inspect", stdin=unsigned(f'{{"{name}":{instant}}}'.encode()))
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("text", ["[bold]x[/bold]", "[/]", "[/x]", ":smile:", "[link=https://evil.example]x[/link]"])
def test_claims_are_shown_as_they_are(run: Run, text: str):
    """No claim is taken for markup of a terminal."""
    assert text in run("token", "inspect", stdin=token({"name": text, text: "x"})).out


def test_claims_cannot_move_the_cursor(run: Run):
    """What a terminal would obey is shown as an escape."""
    hostile = "\x1b[2J\x07\u202e\r\n\x9b31m"
    outcome = run("token", "inspect", stdin=token({"name": hostile, hostile: hostile}))
    assert outcome.code == 0
    for character in set(hostile) - set("[2J31m\n"):
        assert character not in outcome.out


def test_long_claims_are_whole(run: Run):
    """A long value is shown to its end."""
    outcome = run("token", "inspect", stdin=token({"name": "x" * 300 + "END"}))
    assert "END" in "".join(outcome.out.split())


@pytest.fixture
def pem(folder: Path) -> Path:
    """A file with the public key."""
    path = folder / "key.pem"
    path.write_bytes(KEY.public().to_pem())
    return path


@pytest.fixture
def jwks(folder: Path) -> Path:
    """A file with the key set."""
    path = folder / "jwks.json"
    path.write_text(json.dumps(KeySet([KEY.public()]).to_jwks()))
    return path


def test_good_token_is_called_good(run: Run, pem: Path, jwks: Path):
    """A good token is said to be good, and what was not compared is said too."""
    for key in (["--key", str(jwks)], ["--key", str(pem), "--alg", "ES256"]):
        outcome = run("token", "verify", *key, stdin=token())
        assert outcome.code == 0
        assert "The signature is good." in outcome.out
        assert "Not compared, since nothing was given to compare with: iss, aud, typ." in outcome.out
    asked = ["--issuer", ISSUER, "--audience", "https://api.example.com", "--type", "at+jwt"]
    assert "Not compared" not in run("token", "verify", "--key", str(jwks), *asked, stdin=token()).out
    document = json.loads(run("token", "verify", "--key", str(jwks), "--json", stdin=token()).out)
    assert (document["verified"], document["notCompared"]) == (True, ["iss", "aud", "typ"])


@pytest.mark.parametrize(
    ("given", "asked", "complaint"),
    [
        (lambda: token(key=Key.generate("ES256", kid=KEY.kid)), [], "invalid signature"),
        (lambda: token(key=Key.generate("ES256")), [], "key not found"),
        (lambda: token(key=Key.generate("HS256", kid=KEY.kid)), [], "algorithm not allowed"),
        (lambda: unsigned(b"{}"), [], "algorithm not allowed"),
        (lambda: token(ago=3_600), [], "token expired"),
        (lambda: token(ago=-3_600), [], "token issued in the future"),
        (token, ["--issuer", "https://evil.example"], "issuer not accepted"),
        (token, ["--audience", "https://evil.example"], "audience not accepted"),
        (token, ["--type", "JWT"], "token type not accepted"),
        (lambda: "hello", [], "malformed token"),
        (lambda: "", [], "malformed token"),
    ],
)
def test_refused_token_is_explained(run: Run, jwks: Path, given: Any, asked: list[str], complaint: str):
    """A token that is refused ends with 1, in words and as JSON."""
    text = given()
    outcome = run("token", "verify", "--key", str(jwks), *asked, stdin=text)
    assert outcome.code == 1
    assert complaint in outcome.complaint
    as_json = run("token", "verify", "--key", str(jwks), *asked, "--json", stdin=text)
    assert as_json.code == 1
    document = json.loads(as_json.out)
    assert document["verified"] is False
    assert complaint in document["message"]
    assert document["hint"]


def test_keys_are_fetched(run: Run):
    """A token is checked with the keys that its issuer publishes; what of them cannot be used is said."""
    with publishing(KEY) as publisher:
        asked = ["--jwks", publisher.url, "--issuer", ISSUER]
        assert "The signature is good." in run("token", "verify", *asked, stdin=token()).out
        publisher.publish({"kty": "oct", "k": "c2VjcmV0"}, KEY)
        outcome = run("token", "verify", *asked, stdin=token())
        assert outcome.code == 0
        assert "left out of the key set: keys[0]: invalid key: symmetric keys" in outcome.err
        assert "key not found" in run("token", "verify", *asked, stdin=token(key=Key.generate("ES256"))).complaint


def test_keys_that_cannot_be_fetched_are_explained(run: Run, unused_tcp_port_factory: Callable[[], int]):
    """A redirect, an error, a page, an empty set and nobody at all: each is said in one line."""
    with publishing(KEY) as publisher:
        asked = ["--jwks", publisher.url]
        publisher.status, publisher.headers = 302, {"Location": "https://evil.example/"}
        assert "status 302, and redirects are not followed" in run("token", "verify", *asked, stdin=token()).complaint
        publisher.status, publisher.headers = 503, {}
        assert "status 503" in run("token", "verify", *asked, stdin=token()).complaint
        publisher.publish()
        assert "there is no key in the key set" in run("token", "verify", *asked, stdin=token()).complaint
        publisher.body = b"<html>"
        assert "invalid key set" in run("token", "verify", *asked, stdin=token()).complaint
    gone = f"http://127.0.0.1:{unused_tcp_port_factory()}/jwks.json"
    assert "ConnectError" in run("token", "verify", "--jwks", gone, stdin=token()).complaint


@pytest.mark.parametrize("typ", ["", " ", "a b", "at+jwt ", "ü", "x" * 200, "\n", "\u2028"])
def test_a_signed_token_of_no_type_is_refused(run: Run, jwks: Path, typ: str):
    """A token is refused for a typ that is the name of nothing, and the person at the terminal made no mistake."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "a", "exp": now + 600}
    text = jws.sign(json.dumps(claims).encode(), KEY, header={"typ": typ})
    for asked in ([], ["--issuer", ISSUER, "--audience", "a"], ["--type", "JWT"]):
        outcome = run("token", "verify", "--key", str(jwks), *asked, stdin=text)
        assert outcome.code == 1
        assert "token type not accepted" in outcome.complaint


@pytest.mark.parametrize("claims", [{"iss": ""}, {"aud": ""}, {"aud": []}, {"aud": [5]}, {"iss": None}, {"iss": 5}])
def test_a_signed_token_that_names_nobody_is_refused(run: Run, jwks: Path, claims: dict[str, Any]):
    """A token whose issuer or audience is empty or no text is refused, also when there is nothing to compare with."""
    full = {"iss": ISSUER, "aud": "a", "exp": int(time.time()) + 600, **claims}
    outcome = run("token", "verify", "--key", str(jwks), stdin=jws.sign(json.dumps(full).encode(), KEY))
    assert outcome.code == 1
    assert any(name in outcome.complaint for name in ("issuer", "audience", "iss", "aud"))


@pytest.mark.parametrize("option", ["--issuer", "--audience", "--type", "--alg"])
def test_nothing_is_not_compared_with(run: Run, jwks: Path, option: str):
    """An empty value, as of a variable that is not set, is refused: it would compare nothing."""
    outcome = run("token", "verify", "--key", str(jwks), option, "", stdin=token())
    assert outcome.code == 2
    assert option in outcome.err
    assert "empty" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--key", "missing.pem", "--alg", "ES256"],
        ["--key", "key.pem"],
        ["--key", "key.pem", "--alg", "XX256"],
        ["--key", "key.pem", "--alg", "RS256"],
        ["--key", "key.pem", "--alg", ""],
        ["--key", "jwks.json", "--alg", "XX256"],
        ["--key", "jwks.json", "--alg", "none"],
        ["--key", "jwks.json", "--leeway", "61s"],
        ["--key", "jwks.json", "--leeway", "five"],
        ["--key", "jwks.json", "--type", "a b"],
        ["--key", "jwks.json", "--jwks", "https://auth.example.com/jwks.json"],
        ["--key", "garbage"],
        ["--key", "garbage", "--alg", "ES256"],
        ["--key", "empty", "--alg", "ES256"],
        ["--key", "broken.json"],
        ["--key", "folder", "--alg", "ES256"],
        ["--jwks", "http://auth.example.com/jwks.json"],
        ["--jwks", "nonsense"],
        ["--jwks", ""],
        ["--jwks", "https://169.254.169.254/latest"],
    ],
    ids=" ".join,
)
def test_wrong_call_is_no_traceback(run: Run, pem: Path, jwks: Path, arguments: list[str]):
    """Keys, algorithms and times that make no sense are said to, with another exit code than success."""
    folder = pem.parent
    (folder / "garbage").write_bytes(b"\xff\x00garbage")
    (folder / "empty").write_bytes(b"")
    (folder / "broken.json").write_text('{"keys": 7}')
    (folder / "folder").mkdir()
    outcome = run("token", "verify", *arguments, stdin=token())
    assert outcome.code in {1, 2}
    assert outcome.complaint
