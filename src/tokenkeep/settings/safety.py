"""What may not start: rules about settings that would be a breach, each with its fix and its explicit override."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

from tokenkeep.settings.options import Settings, SettingsError


def check_safety(settings: Settings) -> None:
    """Return if the settings are safe to serve with.

    Raises:
        SettingsError: they are not; the text names every rule that is broken and the fix.
    """
    complaints = [complaint for rule in _RULES for complaint in rule(settings)]
    if complaints:
        raise SettingsError("\n".join(complaints))


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _clear_text(settings: Settings) -> Iterator[str]:
    issuer = urlsplit(settings.issuer)
    if settings.insecure_bind or issuer.scheme == "https":
        return
    if not is_loopback(issuer.hostname or ""):
        yield "issuer is plain http off loopback: passwords would travel in clear text; use https (or insecure_bind)"
    if not is_loopback(settings.host):
        yield (
            f"host {settings.host} is reachable from elsewhere while the issuer is plain http: "
            "set an https issuer, or listen on 127.0.0.1 (or insecure_bind)"
        )


def _origins(settings: Settings) -> Iterator[str]:
    issuer = urlsplit(settings.issuer)
    for origin in settings.allowed_origins:
        parts = urlsplit(origin)
        if f"{parts.scheme}://{parts.netloc}" != origin or parts.scheme not in {"http", "https"} or "*" in origin:
            yield f"allowed_origins: {origin} is not an origin; write scheme://host or scheme://host:port exactly"
        elif parts.scheme != issuer.scheme or _site(parts.hostname or "") != _site(issuer.hostname or ""):
            yield (
                f"allowed_origins: {origin} is on another site than the issuer, where browsers do not send the "
                "SameSite=Strict cookie; serve both under one domain"
            )


def _site(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ".".join(host.rsplit(".", 2)[-2:])


_RULES: Final[tuple[Callable[[Settings], Iterator[str]], ...]] = (_clear_text, _origins)
