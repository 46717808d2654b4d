"""A state machine drives the flows of a real server beside a small model, and looks for differences at each step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.flows import prepared
from tests.flows.session_model import (
    DAY,
    FAMILIAR,
    IDLE,
    MINUTE,
    MOST,
    SECOND,
    WHOLE,
    Handed,
    Line,
    Person,
    crowded_out,
    let_in,
    lives_left,
    verdict_on,
)
from tests.flows.stage import Stage, hash_for_nothing
from tests.settable_clock import START, SettableClock
from tokenkeep.domain.errors import InvalidCredentials, InvalidRefreshToken, NotFound, NoValidRefreshToken
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.sessions import Client, Delivery, RefreshToken
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.replace_password import Passwords
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[Any]], Any]

NAMES: Final = ("Ada", "Bob")
PROGRAMS: Final = ("browser", "thief")
WAYS: Final = ("cookie", "body")
MOSTLY: Final = (True, True, True, False)
SHORT_WAITS: Final = (1, SECOND, 5 * SECOND, 9_999, 10_000)
LONG_WAITS: Final = (10 * MINUTE, 15 * MINUTE, 15 * MINUTE + 5 * SECOND, 20 * MINUTE, IDLE - 1, IDLE, 31 * DAY)
CHANGES: Final = ("role", "role", "password", "disable", "enable", "enable", "delete")
CHORES: Final = ("tidy", "restart", "set the clock back", "set the clock back")
FURTHEST_BACK: Final = 30 * SECOND
"""How far the clock is ever set back, all in all: further would revive what has expired, on any clock."""


class World:
    """A server on SQLite with a clock to set, and the model of what it ought to do."""

    number: Final = count()

    def __init__(self, settings: Settings) -> None:
        self.runner = asyncio.Runner()
        self.clock = SettableClock(START + DAY)
        self.latest = self.clock.now()
        directory = settings.data_dir.with_name(f"world-{next(self.number)}")
        self.settings = replace(settings, data_dir=prepared.copy(settings.data_dir, directory))
        self.people: dict[str, Person] = {}
        self.lines: list[Line] = []
        self.pairs: list[Handed] = []
        self.passwords = count()
        self.open()
        for name in NAMES:
            self.add(name)
            self.try_to_enter(name, right=True, program="browser", way="cookie")

    def open(self) -> None:
        """Start the server."""
        server = AuthServer(self.settings, clock=self.clock)
        self.run(server.open())
        self.stage = Stage(server, self.clock)

    def close(self) -> None:
        """Stop the server for good."""
        self.run(self.stage.server.close())
        self.runner.close()

    def run(self, steps: Coroutine[Any, Any, T]) -> T:
        """Return what the server does."""
        return self.runner.run(steps)

    @property
    def now(self) -> int:
        """The instant of this step."""
        return self.clock.now()

    def living(self) -> list[Line]:
        """Return the sessions of which something can come."""
        return [line for line in self.lines if not (line.person.gone or line.over(self.now))]

    def admitted(self) -> list[Handed]:
        """Return the pairs whose access tokens open the door."""
        return [handed for handed in self.pairs if let_in(handed, self.now)]

    def token_of(self, line: Line, behind: int) -> Handed:
        """Return a token of a session, so many before its newest one."""
        place = max(0, len(line.tokens) - 1 - behind)
        return next(handed for handed in self.pairs if handed.line is line and handed.place == place)

    def owner_of(self, handed: Handed) -> AccountId:
        """Return whose access token it is."""
        return AccountId(self.stage.server.verifier.verify(handed.access).subject)

    def new_password(self) -> str:
        """Return a password nobody has had."""
        return f"marmot-cellar-bridge-{next(self.passwords)}"

    def add(self, name: str) -> None:
        """Give somebody an account."""
        person = Person(name, self.new_password())
        self.run(self.stage.add(name, password=person.password))
        self.people[name] = person

    def cut_all(self, person: Person) -> None:
        """End every session and access token of somebody in the model."""
        person.version += 1
        for line in self.lines:
            line.cut |= line.person is person

    def begin_line(self, person: Person, pair: TokenPair, program: str, way: str) -> None:
        """Note a session that has begun, and that others have ended if there were too many."""
        self.lines.append(Line(person, way, program, [self.now], self.now))
        self.hand(self.lines[-1], pair, program)
        # Of those used at the same instant, the one with the greatest id goes first.
        by_id = sorted(self.lines, key=lambda line: session_of(line.tokens[0]), reverse=True)
        for line in crowded_out(by_id, self.lines[-1], self.now):
            line.cut = True

    def hand(self, line: Line, pair: TokenPair, program: str) -> None:
        """Note a pair that was handed out, and hold it to what it must say."""
        person = line.person
        place = len(line.made) - 1
        if place == len(line.tokens):
            assert pair.refresh_token not in {token for each in self.lines for token in each.tokens}
            line.tokens.append(pair.refresh_token)
            line.program = program
        assert pair.refresh_token == line.tokens[place]
        assert (pair.expires_in, pair.refresh_expires_in) == lives_left(line, self.now)
        said = self.stage.read(pair)
        assert (said.name, said.role, said.version) == (person.name, person.role, person.version)
        assert said.authenticated_at == line.made[0] // SECOND
        assert said.session_id == session_of(pair.refresh_token)
        self.pairs.append(Handed(line, place, pair.refresh_token, pair.access_token, person.version, self.now))

    def try_to_enter(self, name: str, *, right: bool, program: str, way: str, before: Handed | None = None) -> None:
        """Log in, and compare."""
        person = self.people[name]
        login = self.stage.login(
            name,
            person.password if right else "marmot-cellar-ladder",
            client=Client(program),
            delivery=Delivery(way),
            replaces=before.refresh if before else None,
        )
        if person.gone or person.disabled or not right:
            with pytest.raises(InvalidCredentials):
                self.run(login)
            return
        pair = self.run(login)
        if before is not None:
            before.line.cut = True
        self.begin_line(person, pair, program, way)

    def refresh(self, before: Handed, *, program: str, way: str) -> None:
        """Refresh, and compare."""
        line, expected = before.line, verdict_on(before, program=program, way=way, now=self.now)
        refresh = self.stage.refresh(before.refresh, client=Client(program), delivery=Delivery(way))
        if expected == "rotated":
            line.made.append(self.now)
        if expected in {"rotated", "replayed"}:
            line.used = self.now
        if expected in {"rotated", "replayed"} and line.end // SECOND > self.now // SECOND:
            self.hand(line, self.run(refresh), program)
            return
        with pytest.raises((InvalidRefreshToken, NoValidRefreshToken)) as refusal:
            self.run(refresh)
        if expected == "reused":
            line.cut = True
        if expected in {"rotated", "replayed"}:
            # No whole second of the session is left, and nobody was handed its newest token.
            self.run(self.stage.logout(before.refresh))
            line.cut = True
        else:
            assert refusal.value.detail == expected
            assert isinstance(refusal.value, InvalidRefreshToken) == (expected in {"invalid", "overtaken"})

    def pass_time(self, milliseconds: int) -> None:
        """Move the clock on."""
        self.clock.advance(milliseconds)
        self.latest = max(self.latest, self.now)

    def check_access(self, pairs: list[Handed]) -> None:
        """Hold access tokens against the model."""
        for handed in pairs:
            pair = TokenPair(handed.access, 0, handed.refresh, 0)
            assert self.stage.accepts(pair) == let_in(handed, self.now)

    def check_sessions(self) -> None:
        """Hold the number of live sessions against the model."""
        counted = self.run(self.stage.parts.storage.read(lambda tx: tx.sessions.count_live(now=tx.now)))
        assert counted == len(self.living())

    def check_the_end(self) -> None:
        """Hold every token that was ever handed out against the model, where it changes nothing."""
        self.check_access(self.pairs)
        living = self.living()
        for handed in self.pairs:
            line = handed.line
            if line not in living:
                assert verdict_on(handed, program=line.program, way=line.way, now=self.now) in {"ended", "invalid"}
                self.refresh(handed, program=line.program, way=line.way)


def go_on(world: World, draw: Draw) -> None:
    """A program refreshes some times with pauses; then comes a slow tab of it, with a token from before."""
    line = one_of(world.living(), draw)
    if line is None:
        return
    for pause in draw(st.lists(st.sampled_from((0, 0, *SHORT_WAITS, 15 * MINUTE)), max_size=4)):
        world.refresh(world.token_of(line, 0), program=line.program, way=line.way)
        world.pass_time(pause)
    world.refresh(world.token_of(line, draw(st.sampled_from((0, 1, 2, 2, 3)))), program=line.program, way=line.way)


def steal(world: World, draw: Draw) -> None:
    """Somebody who came by a token of any session tries it, one way or the other."""
    line = one_of(world.lines, draw)
    if line is not None:
        token = world.token_of(line, draw(st.sampled_from((0, 0, 1, 2))))
        world.refresh(token, program=draw(st.sampled_from(PROGRAMS)), way=draw(st.sampled_from((line.way, *WAYS))))


def log_in(world: World, draw: Draw) -> None:
    """Somebody tries a password."""
    world.try_to_enter(
        draw(st.sampled_from(NAMES)),
        right=draw(st.sampled_from(MOSTLY)),
        program=draw(st.sampled_from(PROGRAMS)),
        way=draw(st.sampled_from(WAYS)),
    )


def log_in_over(world: World, draw: Draw) -> None:
    """Somebody logs in where a session is, of theirs or of another."""
    name, before = draw(st.sampled_from(NAMES)), one_of(world.pairs, draw)
    world.try_to_enter(name, right=True, program="browser", way="cookie", before=before)


def log_out(world: World, draw: Draw) -> None:
    """Somebody logs out with any token of a session."""
    handed = one_of(world.pairs, draw)
    if handed is not None:
        line = handed.line
        ends = not (line.cut or line.forgotten or line.person.gone)
        assert world.run(world.stage.logout(handed.refresh)) == ends
        line.cut |= ends


def end_one(world: World, draw: Draw) -> None:
    """Somebody ends a session from their list, or tries one that is not on it."""
    mine, aimed_at = one_of(world.admitted(), draw), one_of(world.pairs, draw)
    if mine is None or aimed_at is None:
        return
    line, session = aimed_at.line, SessionId(session_of(aimed_at.refresh))
    end = world.stage.parts.services.end_sessions.end_one(world.owner_of(mine), session, Client())
    if line.person is not mine.line.person or line.forgotten or line.over(world.now):
        with pytest.raises(NotFound):
            world.run(end)
    else:
        world.run(end)
        line.cut = True


def end_all(world: World, draw: Draw) -> None:
    """Somebody logs out everywhere."""
    mine = one_of(world.admitted(), draw)
    if mine is not None:
        owner = world.owner_of(mine)
        world.run(world.stage.parts.services.end_sessions.end_all(owner, Client()))
        world.cut_all(mine.line.person)


def change_password(world: World, draw: Draw) -> None:
    """Somebody changes their password, or tries to without knowing it."""
    mine = one_of(world.admitted(), draw)
    if mine is None:
        return
    person, right, new = mine.line.person, draw(st.sampled_from(MOSTLY)), world.new_password()
    passwords = Passwords(person.password if right else "marmot-cellar-ladder", new)
    token = world.stage.server.verifier.verify(mine.access)
    change = world.stage.parts.services.change_password.change(token, passwords, Client("browser"))
    if not right:
        with pytest.raises(InvalidCredentials):
            world.run(change)
        return
    pair, way = world.run(change)
    assert way == mine.line.way
    world.cut_all(person)
    person.password = new
    world.begin_line(person, pair, "browser", way.value)


def administer(world: World, draw: Draw) -> None:
    """An operator changes an account, or makes one where there is none."""
    name, change = draw(st.sampled_from(NAMES)), draw(st.sampled_from(CHANGES))
    person, accounts = world.people[name], world.stage.server.accounts
    if person.gone:
        world.add(name)
    elif change == "disable":
        world.run(accounts.disable(name, actor="operator"))
        if not person.disabled:
            world.cut_all(person)
        person.disabled = True
    elif change == "enable":
        world.run(accounts.enable(name, actor="operator"))
        person.disabled = False
    elif change == "role":
        person.role = "user" if person.role == "admin" else "admin"
        person.version += 1
        world.run(accounts.set_role(name, person.role, actor="operator"))
    elif change == "password":
        person.password = world.new_password()
        world.run(accounts.set_password(name, person.password, actor="operator"))
        world.cut_all(person)
    else:
        world.run(accounts.delete(name, actor="operator"))
        person.gone = True


def wait(world: World, draw: Draw) -> None:
    """Time passes."""
    world.pass_time(draw(st.sampled_from(SHORT_WAITS + LONG_WAITS)))


def keep_house(world: World, draw: Draw) -> None:
    """The server is tidied or started anew, or somebody corrects the clock."""
    chore = draw(st.sampled_from(CHORES))
    if chore == "tidy":
        world.run(world.stage.parts.purge.purge())
        world.run(world.stage.parts.follow_revocations.poll())
        for line in world.lines:
            line.forgotten |= line.end < world.now and line.made[0] < world.now - FAMILIAR
    elif chore == "restart":
        world.run(world.stage.server.close())
        world.open()
        world.check_access(world.pairs)
    else:
        world.clock.advance(-min(SECOND, world.now - world.latest + FURTHEST_BACK))


DEEDS: Final = {
    go_on: 6,
    steal: 3,
    log_in: 2,
    log_in_over: 1,
    log_out: 1,
    end_one: 1,
    end_all: 1,
    change_password: 1,
    administer: 2,
    wait: 1,
    keep_house: 2,
}
"""What may happen, and how often."""

some_deed = st.sampled_from([deed for deed, weight in DEEDS.items() for _ in range(weight)])


class SessionMachine(RuleBasedStateMachine):
    """Lets one thing after the other happen in a world, and compares."""

    settings: Settings

    @initialize()
    def begin(self) -> None:
        """Two people have accounts, and have logged in."""
        self.world = World(self.settings)

    @rule(deed=some_deed, data=st.data())
    def happen(self, deed: Callable[[World, Draw], None], data: st.DataObject) -> None:
        """Something happens."""
        deed(self.world, data.draw)

    @invariant()
    def access_tokens_agree(self) -> None:
        """The server accepts exactly the access tokens that the model lets in; old ones are tried again in the end."""
        self.world.check_access(self.world.admitted() + self.world.pairs[-10:])

    @invariant()
    def sessions_agree(self) -> None:
        """The server counts as many live sessions as the model."""
        self.world.check_sessions()

    def teardown(self) -> None:
        """Show at the end that no token of anything that is over does anything."""
        try:
            self.world.check_the_end()
        finally:
            self.world.close()


def one_of(things: list[T], draw: Draw) -> T | None:
    """Return one of some things, in the simplest case the last; None if there is none."""
    return things[-1 - draw(st.integers(0, len(things) - 1))] if things else None


def session_of(token: str) -> str:
    """Return the id of the session that a refresh token names."""
    return RefreshToken.parse(token).session_id


def test_the_flows_do_what_the_model_says(prepared_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever is done in whatever order, server and model agree on every refresh, access token and session."""
    hash_for_nothing(monkeypatch)
    settings = Settings(
        data_dir=prepared.copy(prepared_directory, tmp_path / "data"),
        hash_concurrency=1,
        rate_limits=False,
        max_sessions=MOST,
        session_ttl=timedelta(milliseconds=WHOLE),
        refresh_idle_ttl=timedelta(milliseconds=IDLE),
    )
    thorough = hypothesis.settings.default.max_examples > 1_000
    run_state_machine_as_test(
        type("Machine", (SessionMachine,), {"settings": settings}),
        settings=hypothesis.settings(
            max_examples=1_000 if thorough else 40,
            stateful_step_count=50,
            derandomize=not thorough,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
