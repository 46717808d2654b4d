"""From settings to what each part is told: its small frozen policy, or its routes. The parts know no settings.

Not here: which implementation each flow is given (`assembly`).
"""

from __future__ import annotations

from datetime import timedelta
from importlib import metadata
from typing import Any, Final
from urllib.parse import urlsplit

from tokenkeep.api.addresses import Proxies, hosts_served
from tokenkeep.api.cookies import CookiePolicy
from tokenkeep.api.endpoint import Endpoint
from tokenkeep.api.frame import FramePolicy
from tokenkeep.api.openapi import About, describe, described
from tokenkeep.api.routes import routes_served
from tokenkeep.contract.loopback import leads_to_loopback
from tokenkeep.domain.accounts import PasswordPolicy
from tokenkeep.domain.key_rotation import RotationPolicy
from tokenkeep.domain.limits import Quota
from tokenkeep.domain.server_processes import Accord
from tokenkeep.domain.sessions import SessionPolicy
from tokenkeep.flows.issue_tokens import TokenPolicy
from tokenkeep.flows.limit_attempts import LimitPolicy
from tokenkeep.settings import Settings
from tokenkeep.settings.kinds import Rate

_MILLISECOND: Final = timedelta(milliseconds=1)


def token_policy(settings: Settings) -> TokenPolicy:
    """Return what access tokens say."""
    return TokenPolicy(
        issuer=settings.issuer,
        client_id=settings.client_id,
        audiences=(settings.issuer, *settings.audiences),
        access_life=settings.access_ttl // timedelta(seconds=1),
    )


def accord_of(settings: Settings) -> Accord:
    """Return what all processes that serve one database should be told alike."""
    return Accord(settings.issuer, settings.signing_algorithm)


def password_policy(settings: Settings) -> PasswordPolicy:
    """Return what a new password must be."""
    return PasswordPolicy(settings.password_min_length, ("tokenkeep", urlsplit(settings.issuer).hostname or ""))


def limit_policy(settings: Settings) -> LimitPolicy:
    """Return how often what may be tried."""
    return LimitPolicy(
        login_address=_quota("login-address", settings.login_limit_address),
        login_everyone=_quota("login-everyone", settings.login_limit_everyone),
        refresh_address=_quota("refresh-address", settings.refresh_limit_address),
        logout_address=_quota("logout-address", settings.logout_limit_address),
        enabled=settings.rate_limits,
    )


def _quota(name: str, rate: Rate) -> Quota:
    return Quota(name, rate.count, rate.window // timedelta(seconds=1))


def session_policy(settings: Settings) -> SessionPolicy:
    """Return how long sessions live."""
    return SessionPolicy(
        idle=settings.refresh_idle_ttl // _MILLISECOND,
        absolute=settings.session_ttl // _MILLISECOND,
        grace=settings.refresh_grace // _MILLISECOND,
    )


def rotation_policy(settings: Settings) -> RotationPolicy:
    """Return when signing keys change."""
    return RotationPolicy(settings.key_rotation // _MILLISECOND)


def cookie_policy(settings: Settings) -> CookiePolicy:
    """Return how the refresh cookie is set, and which pages may have it used."""
    return CookiePolicy.of(settings.issuer, settings.allowed_origins)


def frame_policy(settings: Settings, *, mounted: bool) -> FramePolicy:
    """Return what is let in; a mounted server leaves the choice of hosts to the application around it."""
    secure = urlsplit(settings.issuer).scheme == "https"
    hosts = hosts_served(settings.issuer, (settings.host, settings.port), settings.allowed_hosts)
    return FramePolicy(
        hosts=None if mounted else hosts,
        proxies=Proxies.of(settings.trusted_proxies),
        https_only=secure and not settings.insecure_bind,
        secure=secure,
    )


def has_feed(settings: Settings) -> bool:
    """Tell whether the feed is set up, and others can verify its signature without being able to make one."""
    wanted = settings.feed_public or settings.feed_token is not None
    return wanted and not settings.signing_algorithm.startswith("HS")


def endpoints_of(settings: Settings) -> list[Endpoint]:
    """Return the rows of the route table to serve, with their description where it may be seen."""
    served = routes_served(registration=settings.registration, feed=has_feed(settings))
    if not settings.api_docs and not leads_to_loopback(settings.issuer):
        return served
    return described(served, _about(settings))


def describe_api(settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI document of a server with these settings."""
    return describe(endpoints_of(settings), _about(settings))


def _about(settings: Settings) -> About:
    return About(
        issuer=settings.issuer,
        audiences=token_policy(settings).audiences,
        cookie=cookie_policy(settings).name,
        version=metadata.version("tokenkeep"),
    )
