"""A state machine drives the flows of a real server beside a small model, and looks for differences at each step."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.flows import prepared
from tests.flows.session_model import DAY, FAMILIAR, HOUR, MINUTE, SECOND, Handed, Line, Person, let_in, verdict_on
from tests.flows.stage import Stage, hash_for_nothing
from tests.settable_clock import START, SettableClock
from tokenkeep.domain.errors import InvalidCredentials, InvalidRefreshToken, NotFound, NoValidRefreshToken
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.sessions import Client, Delivery, RefreshToken
from tokenkeep.flows.change_password import Passwords
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

T = TypeVar("T")

NAMES: Final = ("Ada", "Bob")
PROGRAMS: Final = ("browser", "thief")
WAYS: Final = ("cookie", "body")
ROLES: Final = ("user", "admin")
JUMPS: Final = (1, 9_999, 10_000, MINUTE, 15 * MINUTE, 15 * MINUTE + 5 * SECOND, HOUR, 2 * HOUR - 1, 2 * HOUR, 31 * DAY)
FURTHEST_BACK: Final = 30 * SECOND
"""How far the clock is ever set back: further would revive what has expired, on any clock."""

some_name = st.sampled_from(NAMES)


class SessionMachine(RuleBasedStateMachine):
    """A server, and the model of what it ought to do."""

    settings: Settings
    number: Final = count()
    handed = Bundle("handed")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = SettableClock(START + DAY)
        self.latest = self.clock.now()
        directory = self.settings.data_dir.with_name(f"machine-{next(self.number)}")
        prepared.copy(self.settings.data_dir, directory)
        self.own = replace(self.settings, data_dir=directory)
        self.people: dict[str, Person] = {}
        self.lines: list[Line] = []
        self.pairs: list[Handed] = []
        self.passwords = count()
        self.open()

    def open(self) -> None:
        """Start the server."""
        server = AuthServer(self.own, clock=self.clock)
        self.run(server.open())
        self.stage = Stage(server, self.clock)

    def run(self, steps: Coroutine[Any, Any, T]) -> T:
        """Return what the server does."""
        return self.runner.run(steps)

    @property
    def now(self) -> int:
        """The instant of this step."""
        return self.clock.now()

    @initialize()
    def begin(self) -> None:
        """Two people have accounts."""
        for name in NAMES:
            self.add(name)

    def add(self, name: str) -> None:
        """Somebody gets an account."""
        person = Person(name, f"marmot-cellar-bridge-{next(self.passwords)}")
        self.run(self.stage.add(name, password=person.password))
        self.people[name] = person

    def hand(self, line: Line, pair: TokenPair, program: str) -> Handed:
        """Note a pair that was handed out, and hold its access token to what it must say."""
        person = line.person
        place = len(line.made) - 1
        if place == len(line.tokens):
            assert pair.refresh_token not in {token for each in self.lines for token in each.tokens}
            line.tokens.append(pair.refresh_token)
            line.program = program
        assert pair.refresh_token == line.tokens[place]
        handed = Handed(line, place, pair.refresh_token, pair.access_token, person.role, person.version, self.now)
        said = self.stage.read(pair)
        assert (said.name, said.role, said.version) == (person.name, person.role, person.version)
        assert said.authenticated_at == line.made[0] // SECOND
        assert said.session_id == RefreshToken.parse(pair.refresh_token).session_id
        self.pairs.append(handed)
        return handed

    def begin_line(self, person: Person, pair: TokenPair, program: str, way: str) -> Handed:
        """Note a session that has begun."""
        line = Line(person, way, program, [self.now])
        self.lines.append(line)
        return self.hand(line, pair, program)

    def cut_all(self, person: Person) -> None:
        """End every session and access token of somebody in the model."""
        person.version += 1
        for line in self.lines:
            line.cut |= line.person is person

    @rule(
        target=handed,
        name=some_name,
        right=st.sampled_from([True, True, True, False]),
        program=st.sampled_from(PROGRAMS),
        way=st.sampled_from(WAYS),
    )
    def log_in(self, name: str, right: bool, program: str, way: str) -> Handed | MultipleResults[Handed]:
        """Somebody tries a password."""
        return self.attempt(name, right=right, program=program, way=way, before=None)

    @rule(target=handed, name=some_name, before=handed)
    def log_in_again(self, name: str, before: Handed) -> Handed | MultipleResults[Handed]:
        """Somebody logs in where a session is, of theirs or of another."""
        return self.attempt(name, right=True, program="browser", way="cookie", before=before)

    def attempt(
        self, name: str, *, right: bool, program: str, way: str, before: Handed | None
    ) -> Handed | MultipleResults[Handed]:
        """Log in, and compare."""
        person = self.people[name]
        login = self.stage.login(
            name,
            person.password if right else "another-password",
            client=Client(program),
            delivery=Delivery(way),
            replaces=before.refresh if before else None,
        )
        if person.gone or person.disabled or not right:
            with pytest.raises(InvalidCredentials):
                self.run(login)
            return multiple()
        pair = self.run(login)
        if before is not None:
            before.line.cut = True
        return self.begin_line(person, pair, program, way)

    @rule(target=handed, before=handed)
    def refresh_newest(self, before: Handed) -> Handed | MultipleResults[Handed]:
        """Whoever has the newest token of a session goes on."""
        line = before.line
        newest = replace(before, place=len(line.tokens) - 1, refresh=line.tokens[-1])
        return self.refresh(newest, program=line.program, way=line.way)

    @rule(target=handed, before=handed)
    def refresh_once_more(self, before: Handed) -> Handed | MultipleResults[Handed]:
        """A program sends a token again: a lost answer, a slow tab, a copy of an old jar."""
        return self.refresh(before, program=before.line.program, way=before.line.way)

    @rule(target=handed, before=handed, program=st.sampled_from(PROGRAMS), way=st.sampled_from(WAYS))
    def steal(self, before: Handed, program: str, way: str) -> Handed | MultipleResults[Handed]:
        """Somebody who came by a token tries it."""
        return self.refresh(before, program=program, way=way)

    def refresh(self, before: Handed, *, program: str, way: str) -> Handed | MultipleResults[Handed]:
        """Refresh, and compare."""
        line, expected = before.line, verdict_on(before, program=program, way=way, now=self.now)
        refresh = self.stage.refresh(before.refresh, client=Client(program), delivery=Delivery(way))
        if expected == "rotated":
            line.made.append(self.now)
        if expected in {"rotated", "replayed"} and line.end // SECOND > self.now // SECOND:
            return self.hand(line, self.run(refresh), program)
        with pytest.raises((InvalidRefreshToken, NoValidRefreshToken)) as refusal:
            self.run(refresh)
        if expected == "reused":
            line.cut = True
        if expected in {"rotated", "replayed"}:
            line.cut = True  # no whole second of it is left, and nobody was handed its newest token
            self.run(self.stage.logout(before.refresh))
        else:
            assert refusal.value.detail == expected
            assert isinstance(refusal.value, InvalidRefreshToken) == (expected in {"invalid", "overtaken"})
        return multiple()

    @rule(handed=handed)
    def log_out(self, handed: Handed) -> None:
        """Somebody logs out with any token of a session."""
        line = handed.line
        ends = not (line.cut or line.forgotten or line.person.gone)
        assert self.run(self.stage.logout(handed.refresh)) == ends
        line.cut |= ends

    def owner(self, handed: Handed) -> AccountId | None:
        """Return whose access token it is, if it opens the door."""
        return AccountId(self.stage.server.verifier.verify(handed.access).subject) if self.opens(handed) else None

    def opens(self, handed: Handed) -> bool:
        """Tell whether an access token of the model opens the door."""
        return let_in(handed, self.now)

    @rule(handed=handed, other=handed)
    def end_one(self, handed: Handed, other: Handed) -> None:
        """Somebody ends a session from their list, or tries one that is not on it."""
        owner = self.owner(handed)
        if owner is None:
            return
        line = other.line
        session = RefreshToken.parse(other.refresh).session_id
        end = self.stage.parts.services.end_sessions.end_one(owner, session, Client())
        if line.person is not handed.line.person or line.forgotten or line.over(self.now):
            with pytest.raises(NotFound):
                self.run(end)
        else:
            self.run(end)
            line.cut = True

    @rule(handed=handed)
    def end_all(self, handed: Handed) -> None:
        """Somebody logs out everywhere."""
        owner = self.owner(handed)
        if owner is not None:
            self.run(self.stage.parts.services.end_sessions.end_all(owner, Client(), actor=owner))
            self.cut_all(handed.line.person)

    @rule(target=handed, handed_before=handed, right=st.sampled_from([True, True, False]))
    def change_password(self, handed_before: Handed, right: bool) -> Handed | MultipleResults[Handed]:
        """Somebody changes their password, or tries to without knowing it."""
        if not self.opens(handed_before):
            return multiple()
        line, new = handed_before.line, f"marmot-cellar-bridge-{next(self.passwords)}"
        passwords = Passwords(line.person.password if right else "another-password", new)
        token = self.stage.server.verifier.verify(handed_before.access)
        change = self.stage.parts.services.change_password.change(token, passwords, Client("browser"))
        if not right:
            with pytest.raises(InvalidCredentials):
                self.run(change)
            return multiple()
        pair, way = self.run(change)
        assert way == ("cookie" if line.forgotten else line.way)
        self.cut_all(line.person)
        line.person.password = new
        return self.begin_line(line.person, pair, "browser", way.value)

    @rule(name=some_name, deed=st.sampled_from(["disable", "enable", "role", "password", "delete"]))
    def administer(self, name: str, deed: str) -> None:
        """An operator changes an account."""
        person, accounts = self.people[name], self.stage.server.accounts
        if person.gone:
            self.add(name)
        elif deed == "disable":
            self.run(accounts.disable(name, actor="operator"))
            if not person.disabled:
                self.cut_all(person)
            person.disabled = True
        elif deed == "enable":
            self.run(accounts.enable(name, actor="operator"))
            person.disabled = False
        elif deed == "role":
            person.role = ROLES[person.role == "user"]
            person.version += 1
            self.run(accounts.set_role(name, person.role, actor="operator"))
        elif deed == "password":
            person.password = f"marmot-cellar-bridge-{next(self.passwords)}"
            self.run(accounts.set_password(name, person.password, actor="operator"))
            self.cut_all(person)
        else:
            self.run(accounts.delete(name, actor="operator"))
            person.gone = True

    @rule(jump=st.sampled_from(JUMPS))
    def wait(self, jump: int) -> None:
        """Time passes."""
        self.clock.advance(jump)
        self.latest = max(self.latest, self.now)

    @precondition(lambda self: self.now > self.latest - FURTHEST_BACK + 10 * SECOND)
    @rule(jump=st.sampled_from([1, SECOND, 10 * SECOND]))
    def set_back(self, jump: int) -> None:
        """Somebody corrects the clock."""
        self.clock.advance(-jump)

    @rule()
    def tidy(self) -> None:
        """The server forgets what can no longer matter, and looks at what was revoked."""
        self.run(self.stage.parts.purge.purge())
        self.run(self.stage.parts.follow_revocations.poll())
        for line in self.lines:
            line.forgotten |= line.end < self.now and line.made[0] < self.now - FAMILIAR

    @rule()
    def restart(self) -> None:
        """The server is stopped and started."""
        self.run(self.stage.server.close())
        self.open()

    @invariant()
    def access_tokens_agree(self) -> None:
        """The server accepts exactly the access tokens that the model lets in."""
        for handed in self.pairs:
            pair = TokenPair(handed.access, 0, handed.refresh, 0)
            assert self.stage.accepts(pair) == self.opens(handed)

    @invariant()
    def sessions_agree(self) -> None:
        """The server counts as many live sessions as the model."""

        live = sum(1 for line in self.lines if not (line.person.gone or line.over(self.now)))
        assert self.run(self.stage.parts.storage.read(lambda tx: tx.sessions.count_live(now=tx.now))) == live

    def teardown(self) -> None:
        """Show at the end that no token of anything that is over does anything."""
        for handed in self.pairs:
            line = handed.line
            if line.person.gone or line.over(self.now):
                with pytest.raises((InvalidRefreshToken, NoValidRefreshToken)):
                    self.run(
                        self.stage.refresh(handed.refresh, client=Client(line.program), delivery=Delivery(line.way))
                    )
        self.run(self.stage.server.close())
        self.runner.close()


def test_the_flows_do_what_the_model_says(prepared_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever is done in whatever order, server and model agree on every refresh, access token and session."""
    hash_for_nothing(monkeypatch)
    settings = Settings(
        data_dir=prepared.copy(prepared_directory, tmp_path / "data"),
        hash_concurrency=1,
        rate_limits=False,
        session_ttl=timedelta(hours=5),
        refresh_idle_ttl=timedelta(hours=2),
    )
    machine = type("Machine", (SessionMachine,), {"settings": settings})
    thorough = hypothesis.settings.default.max_examples > 1_000
    run_state_machine_as_test(
        machine,
        settings=hypothesis.settings(
            max_examples=1_000 if thorough else 40,
            stateful_step_count=60 if thorough else 40,
            derandomize=not thorough,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
