"""What a row of the route table is made of, what its handler is given, and what it gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar, cast

import msgspec

from tokenkeep.api.cookies import CookiePolicy
from tokenkeep.api.outbox import Outbox
from tokenkeep.api.schemas import QueryParameters, RequestBody, ResponseBody
from tokenkeep.contract.access_token import AccessToken
from tokenkeep.domain.sessions import Client
from tokenkeep.flows.administer_remotely import AdministerRemotely
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.change_password import ChangePassword
from tokenkeep.flows.check_readiness import CheckReadiness
from tokenkeep.flows.end_sessions import EndSessions
from tokenkeep.flows.expel import Expel
from tokenkeep.flows.key_ring import KeyRing
from tokenkeep.flows.list_keys import ListKeys
from tokenkeep.flows.list_sessions import ListSessions
from tokenkeep.flows.login import Login
from tokenkeep.flows.logout import Logout
from tokenkeep.flows.note_refusals import NoteRefusals
from tokenkeep.flows.overview import ViewOverview
from tokenkeep.flows.publish_revocations import PublishRevocations
from tokenkeep.flows.refresh import Refresh
from tokenkeep.flows.register import Register
from tokenkeep.flows.revoke_key import RevokeKey
from tokenkeep.flows.rotate_keys import RotateKeys
from tokenkeep.verifier import TokenVerifier

B = TypeVar("B", bound=RequestBody)


@dataclass(frozen=True, slots=True)
class Feed:
    """The revocation feed, where there is one; without a token anyone may read it."""

    publish: PublishRevocations
    token: str | None = field(repr=False)
    outbox: Outbox = field(default_factory=Outbox)


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers may call. `verifiers` are by audience; `verifier` is the one among them of this server itself."""

    login: Login
    refresh: Refresh
    logout: Logout
    change_password: ChangePassword
    list_sessions: ListSessions
    end_sessions: EndSessions
    expel: Expel
    overview: ViewOverview
    administer: AdministerRemotely
    register: Register
    key_ring: KeyRing
    key_set_age: int
    """Seconds for which anyone may keep the published key set."""
    list_keys: ListKeys
    rotate_keys: RotateKeys
    revoke_key: RevokeKey
    verifier: TokenVerifier
    verifiers: Mapping[str, TokenVerifier]
    refusals: NoteRefusals
    cookies: CookiePolicy
    readiness: CheckReadiness
    metrics: Callable[[], bytes]
    ops_token: str | None = field(repr=False)
    feed: Feed | None
    local: bool


class Guard(Enum):
    """Who may call a route. Every row names one; there is no default."""

    PUBLIC = "public"
    BEARER = "bearer"
    AUDIENCE = "audience"
    """The bearer of a token for the audience that the query names."""
    ADMIN = "admin"
    OPERATIONS = "operations"
    FEED = "feed"


async def _stays() -> None:
    """Wait for somebody who does not go away."""
    await asyncio.Future()


@dataclass(frozen=True, slots=True)
class Call(Generic[B]):
    """A request that has passed its guard."""

    services: Services = field(repr=False)
    client: Client
    body: B | None = None
    query: QueryParameters | None = None
    token: AccessToken | None = None
    cookie: str | None = field(default=None, repr=False)
    from_browser: bool = False
    if_none_match: str | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    gone: Callable[[], Awaitable[None]] = field(default=_stays, repr=False)
    """Returns when the client has gone away; for handlers that keep it waiting."""

    async def still_waits(self, *, within: float) -> bool:
        """Tell whether the client has not gone away, as far as that is seen within some seconds."""
        leaving = asyncio.ensure_future(self.gone())
        try:
            await asyncio.wait([leaving], timeout=within)
            return not leaving.done() or leaving.exception() is not None
        finally:
            leaving.cancel()

    def required_body(self) -> B:
        """Return the body of a route that does not go without one."""
        return cast("B", self.body)

    def bearer(self) -> AccessToken:
        """Return the verified access token of a route that is guarded by one."""
        return cast("AccessToken", self.token)

    def administrator(self) -> Authority:
        """Return the authority of the bearer of a route that is guarded for administrators."""
        token = self.bearer()
        # No account has version 0: a token without one is no authority.
        return Authority(token.subject, self.client, token_version=token.version or 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: a body, or text already encoded, with its headers. Its repr shows neither: both may hold tokens."""

    body: ResponseBody | bytes = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    media_type: str = "application/json"
    not_modified: bool = False
    outbox: Outbox | None = None
    """By which way it is sent, if it can be large."""

    def encoded(self) -> bytes:
        """Return the body as it is sent."""
        return self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)


Handler = Callable[[Call[Any]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the route table.

    Attributes:
        answer: the schema of a success; None for text that is no JSON.
        text: the media type of that text.
        query: the schema of its query, if it takes one.
        creates: whether a success has made something that was not there before.
        cookie: whether it takes or sets the refresh cookie, so that only certain pages may call it.
        own_pages: whether only certain pages may call it although it neither takes nor sets the cookie.
        revalidated: whether a client that names what it has may be told that it has it already.
        headers: the headers of a success that are an answer in themselves.
        refusals: the codes that this route answers besides those that any route may.
    """

    method: str
    path: str
    guard: Guard
    handler: Handler
    answer: type[ResponseBody] | None
    summary: str
    body: type[RequestBody] | None = None
    body_required: bool = False
    query: type[QueryParameters] | None = None
    creates: bool = False
    cookie: bool = False
    own_pages: bool = False
    revalidated: bool = False
    headers: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    text: str = "text/plain"
