"""The drill: a server that is killed at random moments has done all that it answered, and nothing by halves."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.system.conftest import SQLITE
from tests.system.recovery.crowd import Crowd
from tests.system.surroundings.forked import ForkedServer

pytestmark = SQLITE

OPERATIONS: Final = 300
OPERATIONS_A_LIFE: Final = 20
SEED: Final = 20_261_123


@pytest.mark.slow
def test_a_server_that_is_killed_has_done_all_that_it_answered(tmp_path: Path):
    """Three hundred logins, refreshes, logouts and commands, the whole process group killed after every twenty."""
    kills = 0
    with ForkedServer(tmp_path, refresh_grace="60s", log_level="warning") as server:
        server.start()
        crowd = Crowd(server, ["Ada", "Bob", "Cleo", "Dan"], operations=OPERATIONS, seed=SEED)
        crowd.add_accounts()
        while crowd.left:
            crowd.work_until(crowd.kill_everything, OPERATIONS_A_LIFE)
            kills += 1
            crowd.check_stored()
            server.start()
            crowd.check_served(every=not crowd.left)
        assert server.stop() == 0
        crowd.check_stored()
        assert "Traceback" not in server.log
    told = sum((person.told for person in crowd.people), start=type(crowd.did)())
    print(f"{crowd.begun} operations, {kills} kills; {dict(crowd.did)}; told {dict(told)}; {crowd.looked_at} answers")
    assert crowd.begun == OPERATIONS
    assert crowd.did["unanswered"] > 0
