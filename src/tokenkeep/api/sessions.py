"""Handlers of the session routes: log in, refresh, log out, who am I, one's own sessions, another password."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tokenkeep.api.endpoint import Answer, Call
from tokenkeep.api.instants import seconds
from tokenkeep.api.problems import RequestRefused
from tokenkeep.api.schemas import (
    Done,
    LoginRequest,
    LogoutRequest,
    Me,
    PasswordRequest,
    RefreshRequest,
    SessionItem,
    SessionList,
    TokenResponse,
)
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.errors import InvalidRefreshToken, NoValidRefreshToken
from tokenkeep.domain.identifiers import AccountId, parse_session_id
from tokenkeep.domain.sessions import Delivery, RefreshToken, Verdict
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.login import Credentials
from tokenkeep.flows.replace_password import Passwords

PARTING: Final = 0.01
"""Seconds that news of a hang-up may take at least; somebody who waits for an answer takes longer to give it up."""


async def login(call: Call[LoginRequest]) -> Answer:
    """Open a session and hand out its first pair of tokens."""
    body = call.required_body()
    delivery = Delivery(body.delivery)
    _check_delivery(call, delivery)
    pair = await call.services.login.login(
        Credentials(body.name, body.password, body.new_password),
        call.client,
        delivery=delivery,
        audience=body.audience,
        replaces=_replaced(call.cookie),
    )
    return _hand_over(call, pair, delivery)


async def refresh(call: Call[RefreshRequest]) -> Answer:
    """Exchange a refresh token for the next pair."""
    sent = call.body.refresh_token if call.body else None
    if sent is not None and call.cookie is not None:
        call.services.refusals.note(EventKind.REFRESH_REFUSED, call.client, detail=Verdict.INVALID.value)
        raise InvalidRefreshToken("cookie and body at once")
    delivery = Delivery.COOKIE if sent is None else Delivery.BODY
    _check_delivery(call, delivery)
    presented = call.cookie if sent is None else sent
    if presented is None:
        raise NoValidRefreshToken("absent")
    audience = call.body.audience if call.body else None
    clock = asyncio.get_running_loop().time
    began = clock()

    async def still_waits() -> bool:
        # News of a hang-up may still be under way, and the more there is to do the longer. It is waited for as long as
        # the verdict has taken, or a few milliseconds, not longer: a good token is answered after a durable change and
        # a signature, so that nobody far away can know by then that no answer is coming, and leave because of that.
        return await call.still_waits(within=max(clock() - began, PARTING))

    pair = await call.services.refresh.refresh(
        presented, call.client, delivery=delivery, audience=audience, still_waits=still_waits
    )
    return _hand_over(call, pair, delivery)


async def logout(call: Call[LogoutRequest]) -> Answer:
    """End the session of the refresh token sent; without one, or with an unknown one, the answer is the same."""
    sent = call.body.refresh_token if call.body else None
    for presented in (call.cookie, sent):
        if presented is not None:
            await call.services.logout.logout(presented, call.client)
    return Answer(Done(ok=True), {"Set-Cookie": call.services.cookies.clear()})


async def me(call: Call[Any]) -> Answer:
    """Tell who the bearer is, from the access token alone."""
    token = call.bearer()
    return Answer(Me(id=token.subject, name=token.name or "", role=token.role or ""))


async def list_sessions(call: Call[Any]) -> Answer:
    """List the bearer's live sessions, the one that asks marked."""
    token = call.bearer()
    live = await call.services.list_sessions.live(AccountId(token.subject))
    items = [
        SessionItem(
            id=session.id,
            created_at=seconds(session.created_at),
            last_used_at=seconds(session.last_used_at),
            expires_at=seconds(min(session.idle_expires_at, session.expires_at)),
            user_agent=session.user_agent,
            address=session.address,
            current=session.id == token.session_id,
        )
        for session in live
    ]
    return Answer(SessionList(items))


async def end_session(call: Call[Any]) -> Answer:
    """End one of the bearer's sessions."""
    owner = AccountId(call.bearer().subject)
    await call.services.end_sessions.end_one(owner, parse_session_id(call.path["session"]), call.client)
    return Answer(Done(ok=True))


async def end_all_sessions(call: Call[Any]) -> Answer:
    """End all of the bearer's sessions and access tokens, the ones that ask too."""
    owner = AccountId(call.bearer().subject)
    await call.services.end_sessions.end_all(owner, call.client)
    return Answer(Done(ok=True), {"Set-Cookie": call.services.cookies.clear()})


async def change_password(call: Call[PasswordRequest]) -> Answer:
    """Replace the bearer's password, and hand over the first pair of a new session."""
    body = call.required_body()
    passwords = Passwords(body.current_password, body.new_password)
    # A page never gets a refresh token that its scripts can read, however its session began.
    wanted = Delivery.COOKIE if call.from_browser else None
    pair, delivery = await call.services.change_password.change(call.bearer(), passwords, call.client, delivery=wanted)
    return _hand_over(call, pair, delivery)


def _check_delivery(call: Call[Any], delivery: Delivery) -> None:
    """Return if a client may have its refresh token in this way: scripts of a page could read one in a body."""
    if delivery is Delivery.BODY and call.from_browser:
        raise RequestRefused("cross_site", "Delivery in the body is for clients that are not browsers")


def _hand_over(call: Call[Any], pair: TokenPair, delivery: Delivery) -> Answer:
    in_body = pair.refresh_token if delivery is Delivery.BODY else None
    body = TokenResponse(pair.access_token, "Bearer", pair.expires_in, in_body)
    if delivery is Delivery.BODY:
        return Answer(body)
    cookie = call.services.cookies.set(pair.refresh_token, pair.refresh_expires_in)
    return Answer(body, {"Set-Cookie": cookie})


def _replaced(cookie: str | None) -> RefreshToken | None:
    if cookie is None:
        return None
    try:
        return RefreshToken.parse(cookie)
    except InvalidRefreshToken:
        return None
