"""From settings to the small frozen policy that each part is handed; the parts themselves know no settings.

Not here: which implementation each flow is given (`assembly`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from tokenkeep.api.addresses import Proxies, hosts_served
from tokenkeep.api.frame import FramePolicy
from tokenkeep.domain.accounts import PasswordPolicy
from tokenkeep.domain.key_rotation import RotationPolicy
from tokenkeep.domain.limits import Quota
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
