"""Handlers of the account routes: register, and what administrators do with other people's accounts."""

from __future__ import annotations

from typing import Any, cast

from msgspec import UNSET

from tokenkeep.api.endpoint import Answer, Call
from tokenkeep.api.instants import seconds
from tokenkeep.api.schemas import (
    CreatedUser,
    Done,
    NewUserRequest,
    Registered,
    RegisterRequest,
    RoleRequest,
    User,
    UserList,
    UserQuery,
)
from tokenkeep.domain.accounts import Account, parse_name
from tokenkeep.domain.errors import InvalidField
from tokenkeep.domain.identifiers import AccountId, parse_account_id
from tokenkeep.flows.find_account import by_id
from tokenkeep.flows.login import Credentials


async def register(call: Call[RegisterRequest]) -> Answer:
    """Make an account for whoever asks; they log in as everyone does."""
    body = call.required_body()
    account = await call.services.register.register(Credentials(body.name, body.password), call.client)
    return Answer(Registered(account.id, account.name, account.role))


async def list_users(call: Call[Any]) -> Answer:
    """List accounts in the order of their names, a page at a time."""
    query = cast("UserQuery", call.query)
    after = "" if query.after is UNSET else _key(query.after)
    page = await call.services.administer.page(after, query.limit, by=call.administrator())
    return Answer(UserList([_user(each) for each in page.items], page.items[-1].name if page.more else None))


async def create_user(call: Call[NewUserRequest]) -> Answer:
    """Create an account, and show the password that was drawn for it."""
    body = call.required_body()
    created = await call.services.administer.create(body.name, body.role, by=call.administrator())
    return Answer(CreatedUser(_user(created.account), created.first_password))


async def view_user(call: Call[Any]) -> Answer:
    """Show one account."""
    return Answer(_user(await call.services.administer.view(_named(call), by=call.administrator())))


async def disable_user(call: Call[Any]) -> Answer:
    """Disable an account."""
    return Answer(_user(await call.services.administer.disable(_named(call), by=call.administrator())))


async def enable_user(call: Call[Any]) -> Answer:
    """Enable an account."""
    return Answer(_user(await call.services.administer.enable(_named(call), by=call.administrator())))


async def set_role(call: Call[RoleRequest]) -> Answer:
    """Give an account another role."""
    role = call.required_body().role
    return Answer(_user(await call.services.administer.set_role(_named(call), role, by=call.administrator())))


async def delete_user(call: Call[Any]) -> Answer:
    """Delete an account."""
    await call.services.administer.delete(_named(call), by=call.administrator())
    return Answer(Done(ok=True))


async def end_user_sessions(call: Call[Any]) -> Answer:
    """End all sessions of an account."""
    await call.services.expel.from_account(by_id(_named(call)), by=call.administrator())
    return Answer(Done(ok=True))


def _named(call: Call[Any]) -> AccountId:
    return parse_account_id(call.path["user"])


def _key(after: str) -> str:
    """Return the place in the order of names that a page begins after."""
    try:
        return parse_name(after).key
    except InvalidField as refusal:
        raise InvalidField("after", refusal.sentence) from None


def _user(account: Account) -> User:
    return User(
        id=account.id,
        name=account.name,
        role=account.role,
        disabled=account.disabled,
        created_at=seconds(account.created_at),
        last_login_at=seconds(account.last_login_at),
        password_expires_at=seconds(account.password_expires_at),
    )
