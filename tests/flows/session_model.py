"""What a session ought to be, in a few lines and in other words than the code: the model that the flows are held to.

It keeps the whole past of each session, where the code keeps two instants and a number. Instants are milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

WINDOW: Final = 10 * SECOND
IDLE: Final = 40 * MINUTE
WHOLE: Final = HOUR
ACCESS: Final = 15 * MINUTE
LEEWAY: Final = 5 * SECOND
FAMILIAR: Final = 30 * DAY
MOST: Final = 3
"""Sessions of one person that live at once."""


@dataclass(eq=False)
class Person:
    """Somebody with a name and a password."""

    name: str
    password: str
    role: str = "user"
    version: int = 1
    """Grows whenever all access tokens of the person must end."""
    disabled: bool = False
    gone: bool = False


@dataclass(eq=False)
class Line:
    """A session: its refresh tokens in their order, and when each was made."""

    person: Person
    way: str
    program: str
    made: list[int]
    used: int
    """When a token of it was last handed out, also one that was handed out before."""
    tokens: list[str] = field(default_factory=list)
    cut: bool = False
    forgotten: bool = False

    @property
    def end(self) -> int:
        """When it is over, whatever happens."""
        return self.made[0] + WHOLE

    def over(self, now: int) -> bool:
        """Whether nothing can come of it any more."""
        return self.cut or self.person.disabled or now >= self.end or now >= self.made[-1] + IDLE


@dataclass(eq=False)
class Handed:
    """A pair of tokens as it was handed out: the refresh token by its place in the line."""

    line: Line
    place: int
    refresh: str
    access: str
    version: int
    issued: int


def verdict_on(handed: Handed, *, program: str, way: str, now: int) -> str:
    """Return what a refresh with this token must come to."""
    line = handed.line
    if line.person.gone or line.forgotten or way != line.way:
        return "invalid"
    if line.over(now):
        return "ended"
    newer = len(line.made) - 1 - handed.place
    if newer == 0:
        return "rotated"
    lately = now < line.made[handed.place + 1] + WINDOW
    if lately and newer == 1 and program == line.program:
        return "replayed"
    if lately and newer == 2:
        return "overtaken"
    return "reused"


def lives_left(line: Line, now: int) -> tuple[int, int]:
    """Return for how many seconds the access and the refresh token handed out now are said to be good."""
    access = min(ACCESS // SECOND, line.end // SECOND - now // SECOND)
    return access, (min(line.made[-1] + IDLE, line.end) - now) // SECOND


def let_in(handed: Handed, now: int) -> bool:
    """Return whether the access token must be accepted."""
    person = handed.line.person
    if person.gone or handed.line.cut or handed.version != person.version:
        return False
    began = handed.issued // SECOND * SECOND
    ends = min(began + ACCESS, handed.line.end // SECOND * SECOND)
    return began - LEEWAY <= now < ends + LEEWAY


def crowded_out(lines: list[Line], opened: Line, now: int) -> list[Line]:
    """Return which sessions of a person end once one more is opened; of equals, those that come first in `lines`."""
    others = [line for line in lines if line.person is opened.person and line is not opened and not line.over(now)]
    others.sort(key=lambda line: line.used)
    return others[: max(0, len(others) + 1 - MOST)]
