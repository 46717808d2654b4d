"""The history of a database: which states may be served after which."""

from contextlib import nullcontext

import pytest

from tokenkeep.domain.history import Position, RolledBack, check_history, check_start

MARK = Position("epoch-1", 7)


@pytest.mark.parametrize("stored", [Position("epoch-1", 7), Position("epoch-1", 8)], ids=["the same", "later"])
def test_history_that_goes_on_is_served(stored: Position):
    """The same state and a later one revive nothing, at the start and after it."""
    check_history(MARK, stored)
    check_start(MARK, stored, unmarked=False)


@pytest.mark.parametrize(
    "stored",
    [Position("epoch-1", 6), Position("epoch-1", 0), Position("epoch-2", 7), Position("epoch-2", 8)],
    ids=["one earlier", "the beginning", "another epoch", "another epoch, later"],
)
@pytest.mark.parametrize("unmarked", [False, True])
def test_history_that_was_put_back_is_refused(stored: Position, unmarked: bool):
    """An earlier state, or another database, is refused with what to do; no setting lets it pass."""
    with pytest.raises(RolledBack, match="tokenkeep recover"):
        check_history(MARK, stored)
    with pytest.raises(RolledBack, match="tokenkeep recover"):
        check_start(MARK, stored, unmarked=unmarked)


def test_a_database_that_becomes_new_while_it_is_served_is_refused():
    """Under a running server a new database is another one."""
    with pytest.raises(RolledBack, match="not the one that was served"):
        check_history(MARK, Position("", 7))


@pytest.mark.parametrize("mark", [None, MARK], ids=["no mark", "the mark of another"])
def test_a_new_database_needs_no_mark(mark: Position | None):
    """A database that was made just now can revive nothing, whatever was served from here before."""
    check_start(mark, Position("", 0), unmarked=False)


@pytest.mark.parametrize("number", [0, 7])
def test_a_history_without_a_mark_is_refused(number: int):
    """Without a mark nobody can tell whether a database was put back: it is refused with both ways on."""
    with pytest.raises(RolledBack, match=r"put back .* tokenkeep recover; .* --allow-unmarked-database on"):
        check_start(None, Position("epoch-1", number), unmarked=False)
    check_start(None, Position("epoch-1", number), unmarked=True)


@pytest.mark.parametrize(
    ("last", "found", "refused"),
    [("this", "this", False), ("this", "that", True), ("this", "", False), ("", "that", False)],
    ids=["the same", "another", "expired since", "not known"],
)
def test_a_number_that_was_given_to_another_revocation_is_noticed(last: str, found: str, refused: bool):
    """A later state is refused if it has another revocation under the mark's number; what is not kept tells nothing."""
    mark, stored = Position("epoch-1", 7, last), Position("epoch-1", 8)
    with pytest.raises(RolledBack, match=r"gone on .* tokenkeep recover") if refused else nullcontext():
        check_history(mark, stored, found=found)
    with pytest.raises(RolledBack, match=r"gone on .* tokenkeep recover") if refused else nullcontext():
        check_start(mark, stored, unmarked=True, found=found)
