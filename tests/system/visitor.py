"""Somebody who uses the server over HTTP, as a browser would: an access token in memory, a cookie in the jar."""

from __future__ import annotations

from typing import Any, Final

import httpx2

from tests.system.server_process import ServerProcess
from tests.system.workers import refused_everywhere

COOKIE: Final = "refreshToken"


class Visitor:
    """A user of a server, and everything secret that was ever handed to them."""

    def __init__(self, server: ServerProcess, name: str, password: str) -> None:
        self._server = server
        self.name = name
        self._password = password
        self.access_token = ""
        self.cookie: str | None = None
        self.handed_out: list[str] = [password]

    def login(self) -> httpx2.Response:
        """Log in, and keep what comes."""
        return self._take(self._post("/login", json={"name": self.name, "password": self._password}))

    def refresh(self, *, cookie: str | None = None) -> httpx2.Response:
        """Refresh with the cookie in the jar, or with another one, and keep what comes."""
        return self._take(self._post("/refresh", cookie=cookie or self.cookie))

    def logout(self) -> httpx2.Response:
        """Log out, and keep what comes."""
        return self._take(self._post("/logout", cookie=self.cookie))

    def change_password(self, current: str, new: str) -> httpx2.Response:
        """Change the password, and keep what comes."""
        passwords = {"currentPassword": current, "newPassword": new}
        headers = {"Authorization": f"Bearer {self.access_token}"}
        return self._take(self._server.request("POST", "/password", headers=headers, json=passwords))

    def delete(self, path: str) -> httpx2.Response:
        """Delete what is at a path, with the access token in memory."""
        return self._server.request("DELETE", path, headers={"Authorization": f"Bearer {self.access_token}"})

    def get(self, path: str, *, token: str | None = None) -> httpx2.Response:
        """Get a page with the access token in memory, or with another one."""
        return self._server.request("GET", path, headers={"Authorization": f"Bearer {token or self.access_token}"})

    def signed_in(self) -> bool:
        """Tell whether the access token in memory is accepted."""
        return self.get("/me").status_code == 200

    def shut_out(self, *, within: float | None = None) -> bool:
        """Tell whether every process of the server refuses the access token in memory, as `refused_everywhere` does."""
        return refused_everywhere(self._server, self.access_token, within=within)

    def _post(self, path: str, *, cookie: str | None = None, **options: Any) -> httpx2.Response:
        headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie is not None else {}
        return self._server.request("POST", path, headers=headers, **options)

    def _take(self, response: httpx2.Response) -> httpx2.Response:
        if response.status_code == 200 and "accessToken" in response.json():
            self.access_token = response.json()["accessToken"]
            self.handed_out.append(self.access_token)
        if "set-cookie" in response.headers:
            self.cookie = cookie_in(response)
            if self.cookie is not None:
                self.handed_out.append(self.cookie)
        return response


def cookie_in(response: httpx2.Response) -> str | None:
    """Return the refresh token that an answer puts into the jar; None if it empties the jar."""
    name, _, value = response.headers["set-cookie"].partition(";")[0].partition("=")
    assert name == COOKIE
    return value or None
