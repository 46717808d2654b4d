"""The history of a database: which states may be served after which."""

import pytest

from tokenkeep.domain.history import Position, RolledBack, check_history

MARK = Position("epoch-1", 7)


@pytest.mark.parametrize(
    ("mark", "stored", "new"),
    [
        (None, Position("epoch-1", 0), False),
        (None, Position("epoch-1", 0), True),
        (MARK, Position("epoch-1", 7), False),
        (MARK, Position("epoch-1", 8), False),
        (MARK, Position("epoch-2", 0), True),
    ],
    ids=["no mark", "no mark, new", "the same", "later", "a new database"],
)
def test_history_that_goes_on_is_served(mark: Position | None, stored: Position, new: bool):
    """The same state, a later one, and a database made just now revive nothing."""
    check_history(mark, stored, new=new)


@pytest.mark.parametrize(
    "stored",
    [Position("epoch-1", 6), Position("epoch-1", 0), Position("epoch-2", 7), Position("epoch-2", 8), Position("", 7)],
    ids=["one earlier", "the beginning", "another epoch", "another epoch, later", "no epoch"],
)
def test_history_that_was_put_back_is_refused(stored: Position):
    """An earlier state, or another database, is refused with what to do."""
    with pytest.raises(RolledBack, match="tokenkeep recover"):
        check_history(MARK, stored, new=False)
