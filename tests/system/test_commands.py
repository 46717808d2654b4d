"""Commands beside the running server: what they change takes effect in it within a second."""

from __future__ import annotations

import json

import pytest

from tests.system.server_process import ServerProcess, wait_until
from tests.system.visitor import Visitor
from tests.system.workers import SPREAD
from tokenkeep.chores import REVOCATION_POLL

PASSWORD = "correct-horse-battery"
NEW_PASSWORD = "wrong-donkey-fuel-cell"
pytestmark = [pytest.mark.slow, pytest.mark.engines("sqlite", "fleet")]


def signed_in(server: ServerProcess, name: str) -> Visitor:
    """Return somebody who has just logged in."""
    server.add_user(name, PASSWORD)
    visitor = Visitor(server, name, PASSWORD)
    assert visitor.login().status_code == 200
    assert visitor.signed_in()
    return visitor


def wait_for_the_end(visitor: Visitor) -> None:
    """Fail unless every process refuses the access token soon, because it was revoked."""
    assert visitor.shut_out(within=SPREAD)


def test_what_commands_change_is_read_within_a_second():
    """A server looks for what was revoked, and for what became of accounts, several times a second."""
    assert REVOCATION_POLL <= 0.5


def test_disabling_ends_everything(server: ServerProcess):
    """A disabled account's access tokens, sessions and password are refused; enabled again, only the password works."""
    ada = signed_in(server, "Ada")
    server.command("users", "disable", "Ada")
    wait_for_the_end(ada)
    assert ada.refresh().json()["code"] == "no_valid_refresh_token"
    assert ada.login().json()["code"] == "invalid_credentials"
    server.command("users", "enable", "Ada")
    assert ada.shut_out()
    assert ada.refresh().json()["code"] == "no_valid_refresh_token"
    assert ada.login().status_code == 200
    assert ada.signed_in()


def test_deleting_ends_everything(server: ServerProcess):
    """A deleted account's access tokens, sessions and password are refused, also when its name is given away again."""
    ada = signed_in(server, "Ada")
    server.command("users", "delete", "Ada", "--yes")
    wait_for_the_end(ada)
    for _ in range(2):
        assert ada.refresh().json()["code"] == "invalid_refresh_token"
        assert ada.login().json()["code"] == "invalid_credentials"
        if "Ada" not in server.command("users", "list"):
            server.add_user("Ada", NEW_PASSWORD)
    assert ada.shut_out()


def test_a_new_role_or_password_counts_at_once(server: ServerProcess):
    """A role comes with the next refresh of the session that goes on; a password ends everything that was before it."""
    ada = signed_in(server, "Ada")
    assert ada.get("/admin").status_code == 403
    server.command("users", "set-role", "Ada", "admin")
    wait_for_the_end(ada)
    assert ada.refresh().status_code == 200
    assert ada.get("/me").json()["role"] == "admin"
    assert ada.get("/admin").status_code == 200
    server.command("users", "set-password", "Ada", "--password-stdin", typed=f"{NEW_PASSWORD}\n")
    wait_for_the_end(ada)
    assert ada.refresh().json()["code"] == "no_valid_refresh_token"
    assert ada.login().json()["code"] == "invalid_credentials"
    changed = Visitor(server, "Ada", NEW_PASSWORD)
    assert changed.login().status_code == 200
    assert changed.signed_in()


def test_ended_sessions_end_at_once(server: ServerProcess):
    """Access tokens of sessions that a command ends are refused within a second, of one account or of everyone."""
    ada, grace = signed_in(server, "Ada"), signed_in(server, "Grace")
    assert server.command("sessions", "revoke", "Ada") == "ended 1 sessions of Ada\n"
    wait_for_the_end(ada)
    assert ada.refresh().json()["code"] == "no_valid_refresh_token"
    assert grace.signed_in()
    assert ada.login().status_code == 200
    [session, _] = [json.loads(line) for line in server.command("sessions", "list", "--json").splitlines()]
    assert session["name"] == "Ada"
    server.command("sessions", "revoke", "--session", session["id"])
    wait_for_the_end(ada)
    assert grace.signed_in()
    assert ada.login().status_code == 200
    assert server.command("sessions", "revoke", "--all", "--yes") == "ended 2 sessions\n"
    wait_for_the_end(ada)
    wait_for_the_end(grace)
    assert ada.login().status_code == 200
    assert ada.signed_in()


@pytest.mark.engines("sqlite")
def test_one_token_ends_at_once(server: ServerProcess):
    """A token that a command revokes is refused within a second; another one of the same session is accepted."""
    ada = signed_in(server, "Ada")
    revoked = ada.access_token
    assert ada.refresh().status_code == 200
    server.command("token", "revoke", typed=revoked)
    wait_until(lambda: ada.get("/me", token=revoked).status_code == 401, "the token is refused", within=SPREAD)
    assert ada.signed_in()
    assert ada.refresh().status_code == 200


@pytest.mark.engines("sqlite")
def test_accounts_are_listed_and_mistakes_told_in_one_line(server: ServerProcess):
    """The list shows what server and commands have done, and no password; a refused command ends with exit code 1."""
    ada = signed_in(server, "Ada")
    server.add_user("Bob", PASSWORD, role="admin")
    for words, complaint in (
        (("users", "add", "ada", "--password-stdin"), "taken"),
        (("users", "disable", "Nobody"), "no account named 'Nobody'"),
    ):
        done = server.run(*words, typed=f"{PASSWORD}\n")
        assert done.returncode == 1
        assert done.stdout == ""
        *hints, refusal = done.stderr.splitlines()
        assert hints == [f"data directory: {server.data}"]
        assert refusal.startswith("tokenkeep: ")
        assert complaint in refusal
    printed = server.command("users", "list", "--json")
    listed = {account["name"]: account for account in map(json.loads, printed.splitlines())}
    assert {name: account["role"] for name, account in listed.items()} == {"Ada": "user", "Bob": "admin"}
    assert listed["Ada"]["id"] == ada.get("/me").json()["id"]
    assert listed["Ada"]["lastLoginAt"] is not None
    assert listed["Bob"]["lastLoginAt"] is None
    for secret in (PASSWORD, "argon2"):
        assert secret not in printed
