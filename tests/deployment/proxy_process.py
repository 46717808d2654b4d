"""A proxy that runs with a file of deploy/, in which ports and paths of a test replace those written there."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.system.server_process import LONGEST_WAIT

DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy"


@dataclass(frozen=True)
class Site:
    """Where a proxy listens and what it needs: its port, Tokenkeep's port, a folder of its own with a certificate."""

    port: int
    upstream: int
    folder: Path


def changed(name: str, changes: Mapping[str, str]) -> str:
    """Return a file of deploy/ with some words replaced, each of which must be there."""
    text = (DEPLOY / name).read_text("utf-8")
    for old, new in changes.items():
        assert old in text, f"deploy/{name} does not contain {old}"
        text = text.replace(old, new)
    return text


def joined_certificate(folder: Path) -> Path:
    """Write the certificate of a folder and its key into one file, as HAProxy wants them, and return its path."""
    joined = folder / "both.pem"
    joined.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return joined


def nginx_command(folder: Path, server: str) -> list[str]:
    """Write a configuration around a `server` block that keeps to a folder, and return the command to run it."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    # The folders of a test are closed to the user that nginx takes by default.
    user = "user root; " if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {places}\n{server}\n}}\n"
    )
    return ["nginx", "-p", str(folder), "-c", f"{folder}/nginx.conf", "-g", "daemon off;"]


def caddy_command(name: str, site: Site, address: str, changes: Mapping[str, str]) -> list[str]:
    """Write a Caddyfile of deploy/ into the folder of a site, and return the command to run it.

    Its certificate is the one in the folder, since it must not ask anyone for one.

    Args:
        address: that of its one site, as the file has it.
        changes: what else is replaced in it.
    """
    tls = f"tls {site.folder}/cert.pem {site.folder}/key.pem"
    own = {
        "auto_https disable_redirects": "auto_https disable_redirects\n\tadmin off",
        f"{address} {{": f"https://localhost:{site.port} {{\n\tbind 127.0.0.1\n\t{tls}",
    }
    (site.folder / "Caddyfile").write_text(changed(name, {**own, **changes}))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{site.folder}/Caddyfile"]


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a proxy with all of its places in a folder; its output is shown in the end."""
    log = folder / "proxy.log"
    own_places = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(folder))
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **own_places})
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(LONGEST_WAIT)
            print(f"--- {command[0]} ---\n{log.read_text('utf-8', 'replace')}---")
