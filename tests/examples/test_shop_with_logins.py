"""The example of an application with the auth server inside: a real process, from the first login to a logout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.examples.served import Served
from tests.ports import free_port
from tests.system.server_process import COMMAND, LONGEST_WAIT, clean_environment

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("system")]

PASSWORD = "correct-horse-battery"


def test_shop_logs_in_serves_and_logs_out(tmp_path: Path):
    """Users log in below /auth, the shop's own routes know them, and a logout ends that at once."""
    port = free_port()
    settings = {"TOKENKEEP_ISSUER": f"http://127.0.0.1:{port}/auth", "TOKENKEEP_RATE_LIMITS": "off"}
    with Served.by_uvicorn(tmp_path, port, "shop_with_logins", **settings) as shop:
        for name, role in (("Ada", "admin"), ("Bob", "user")):
            subprocess.run(
                [str(COMMAND), "users", "add", name, "--role", role, "--password-stdin"],
                input=PASSWORD.encode(),
                capture_output=True,
                check=True,
                cwd=tmp_path,
                env=clean_environment() | settings,
                timeout=LONGEST_WAIT,
            )
        answers = {
            name: shop.request("POST", "/auth/login", json={"name": name, "password": PASSWORD})
            for name in ("Ada", "Bob")
        }
        ada, bob = (answers[name].json()["accessToken"] for name in ("Ada", "Bob"))
        assert shop.request("GET", "/cart", token=bob).json() == {"of": "Bob", "items": []}
        assert shop.request("GET", "/reports", token=ada).json() == {"for": "Ada", "customers": 2}
        assert shop.request("GET", "/reports", token=bob).status_code == 403
        assert shop.request("GET", "/cart").json()["error"] == "Missing token"

        cookie = answers["Bob"].headers["set-cookie"].partition(";")[0]
        assert shop.request("POST", "/auth/logout", headers={"Cookie": cookie}).json() == {"ok": True}
        refused = shop.request("GET", "/cart", token=bob)
        assert (refused.status_code, refused.json()["error"]) == (401, "Invalid token")
        assert shop.request("GET", "/cart", token=ada).status_code == 200
        assert "Traceback" not in shop.log
