"""The route that a proxy asks before it lets a request pass, and what it tells the service behind the proxy.

Not here: what the proxies do with it (`deploy/`, docs/proxies.md).
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

from msgspec import UNSET

from tokenkeep.api.endpoint import Answer, Call, Services
from tokenkeep.api.problems import RequestRefused
from tokenkeep.api.schemas import Done, QueryParameters, VerifyQuery
from tokenkeep.contract.access_token import AccessToken
from tokenkeep.verifier import TokenVerifier

IDENTITY_HEADERS: Final = (
    "X-Auth-Subject",
    "X-Auth-Name",
    "X-Auth-Role",
    "X-Auth-Audience",
    "X-Auth-Client",
    "X-Auth-Session",
    "X-Auth-Expires",
)
"""What every success carries, so that a proxy that copies them leaves nothing of a client's own."""

_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]*")


def verifier_asked_for(query: QueryParameters | None, services: Services) -> TokenVerifier:
    """Return the verifier for the audience that a query names; that of this server itself if it names none.

    Raises:
        RequestRefused: that audience is not served here.
    """
    asked = query.audience if isinstance(query, VerifyQuery) else UNSET
    if asked is UNSET:
        return services.verifier
    verifier = services.verifiers.get(asked)
    if verifier is None:
        raise RequestRefused(
            "invalid_field", "This audience is not served here; see the setting audiences", field="audience"
        )
    return verifier


async def verify(call: Call[Any]) -> Answer:
    """Tell a proxy whether the bearer may pass, and who it is, from the access token alone."""
    token = call.bearer()
    if isinstance(call.query, VerifyQuery) and call.query.role is not UNSET:
        call.services.verifier.require_role(token, call.query.role)
    return Answer(Done(ok=True), identity_headers(token))


def identity_headers(token: AccessToken) -> dict[str, str]:
    """Return every header of `IDENTITY_HEADERS`, percent-encoded; a claim that the token lacks is an empty one."""
    values = (
        token.subject,
        token.name,
        token.role,
        " ".join(token.audience),
        token.client_id,
        token.session_id,
        str(int(token.expires_at)),
    )
    return dict(zip(IDENTITY_HEADERS, (_encoded(value) for value in values), strict=True))


def _encoded(value: str | None) -> str:
    # Most values are unreserved, and this is asked about every request of a service.
    return value if value is not None and _UNRESERVED.fullmatch(value) else quote(value or "", safe="")
