"""The overview: for those who are administrators now, whatever their access token says."""

import pytest

from tests.flows.stage import Stage
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import Forbidden
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.signing_keys import KeyState

DAY = 86_400_000


@pytest.fixture
async def root(stage: Stage) -> Account:
    """An administrator."""
    return await stage.add("Root", role="admin")


async def test_administrator_sees_numbers_and_keys(stage: Stage, root: Account):
    """Accounts, live sessions and published keys are counted as they are."""
    await stage.add("Ada")
    ended, expired = await stage.login("Ada"), await stage.login("Ada")
    await stage.logout(ended.refresh_token)
    stage.clock.advance(7 * DAY - 1)
    await stage.login("Ada")
    overview = await stage.parts.services.overview.view(root.id)
    assert (overview.accounts, overview.live_sessions) == (2, 2)
    stage.clock.advance(1)
    assert (await stage.parts.services.overview.view(root.id)).live_sessions == 1
    assert expired
    assert {key.state for key in overview.signing_keys} == {KeyState.ACTIVE, KeyState.UPCOMING}


async def test_role_is_read_again(stage: Stage, root: Account):
    """Who has lost the role sees nothing, though an old access token may still say it."""
    assert await stage.parts.services.overview.view(root.id)
    await stage.execute("UPDATE accounts SET role = 'user' WHERE name = 'Root'")
    with pytest.raises(Forbidden):
        await stage.parts.services.overview.view(root.id)


async def test_others_see_nothing(stage: Stage, root: Account):
    """A user, a disabled administrator, and an account that is not there are all forbidden."""
    ada = await stage.add("Ada")
    for viewer in (ada.id, AccountId("AAAAAAAAAAAAAAAAAAAAAA"), AccountId("")):
        with pytest.raises(Forbidden):
            await stage.parts.services.overview.view(viewer)
    await stage.execute("UPDATE accounts SET disabled_at = 1 WHERE name = 'Root'")
    with pytest.raises(Forbidden):
        await stage.parts.services.overview.view(root.id)
