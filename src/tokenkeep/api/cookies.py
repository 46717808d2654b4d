"""The refresh cookie, and which sites may make a browser send it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from tokenkeep.api.problems import RequestRefused

_SAME_ORIGIN: Final = "same-origin"
_HARMLESS: Final = re.compile(r"[A-Za-z0-9 *+,./:@_\[\]-]{0,100}")
"""What may be repeated of an origin: characters that mean nothing wherever the sentence is shown."""


@dataclass(frozen=True, slots=True)
class CookiePolicy:
    """What follows from the issuer: the cookie's name and attributes, and the origins that may use it."""

    name: str
    secure: bool
    origins: frozenset[str]

    @classmethod
    def of(cls, issuer: str, allowed_origins: Sequence[str]) -> CookiePolicy:
        """Return the policy of an issuer; over https the cookie is locked to its host (`__Host-`)."""
        parts = urlsplit(issuer)
        secure = parts.scheme == "https"
        name = "__Host-refreshToken" if secure else "refreshToken"
        return cls(name, secure, frozenset({f"{parts.scheme}://{parts.netloc}", *allowed_origins}))

    def set(self, token: str, max_age: int) -> str:
        """Return the `Set-Cookie` value that hands a refresh token over; `max_age` is in seconds."""
        return f"{self.name}={token}; {self._attributes}; Max-Age={max_age}"

    def clear(self) -> str:
        """Return the `Set-Cookie` value that makes a browser forget the cookie."""
        return f"{self.name}=; {self._attributes}; Max-Age=0"

    def read(self, headers: Sequence[str]) -> str | None:
        """Return the refresh token in a request's `Cookie` headers, if there is one.

        Raises:
            RequestRefused: there are two of the name, so that one may have been planted.
        """
        found = [
            value
            for header in headers
            for name, _, value in (pair.strip(" \t").partition("=") for pair in header.split(";"))
            if name == self.name
        ]
        if len(found) > 1:
            raise RequestRefused("malformed_request", f"More than one cookie named {self.name}", noted="two_cookies")
        return found[0] if found and found[0] else None

    def check_origin(self, origins: Sequence[str], fetch_site: str | None) -> None:
        """Return if the request comes from an allowed page, or from no browser at all.

        Args:
            origins: the values of all `Origin` headers.
            fetch_site: the value of `Sec-Fetch-Site`.

        Raises:
            RequestRefused: it comes from another site; the sentence names the origin seen and the setting.
        """
        if len(origins) > 1:
            raise RequestRefused("malformed_request", "More than one Origin header")
        if origins and origins[0] not in self.origins:
            raise RequestRefused("cross_site", _not_allowed(origins[0]))
        if fetch_site == "cross-site":
            raise RequestRefused("cross_site", "Cross-site request refused: Sec-Fetch-Site is cross-site")
        if not origins and fetch_site not in {None, _SAME_ORIGIN}:
            raise RequestRefused("cross_site", "Cross-site request refused: it carries no Origin")

    @property
    def _attributes(self) -> str:
        return "Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if self.secure else "")


def _not_allowed(origin: str) -> str:
    shown = origin if _HARMLESS.fullmatch(origin) else "the request's origin"
    return (
        f"Cross-site request refused: {shown} is neither the issuer's origin nor in allowed_origins "
        "(localhost and 127.0.0.1 are different origins)"
    )
