"""HTTPS by the server itself: the cookie that is locked to its host, old protocols, and a renewed certificate."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2
import pytest
from cryptography import x509

from tests.attacks.http.attacker import NAME, PASSWORD
from tests.certificate import Certificate
from tests.system.server_process import LONGEST_WAIT, ServerProcess, wait_until

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("system")]

LOCKED: Final = "__Host-refreshToken"


class TlsServer(ServerProcess):
    """A server that serves https itself."""

    def __init__(self, directory: Path) -> None:
        self.certificate = Certificate(directory)
        super().__init__(directory, tls_cert=str(self.certificate.cert), tls_key=str(self.certificate.key))
        self.url = f"https://127.0.0.1:{self.port}"
        self.arguments = [self.url if word == f"http://127.0.0.1:{self.port}" else word for word in self.arguments]

    def client(self) -> httpx2.Client:
        """Return a client that trusts the certificate as it is now."""
        return httpx2.Client(
            base_url=self.url, timeout=LONGEST_WAIT, trust_env=False, verify=self.certificate.context()
        )

    def handshake(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """Return a connection whose handshake is done."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=LONGEST_WAIT)
        try:
            return context.wrap_socket(connection, server_hostname="127.0.0.1")
        except BaseException:
            connection.close()
            raise


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    """A server with a certificate of its own and one account."""
    with TlsServer(tmp_path_factory.mktemp("https")) as server:
        server.start()
        server.add_user(NAME, PASSWORD)
        yield server


def test_the_cookie_is_locked_to_its_host(https: TlsServer) -> None:
    """Over TLS the cookie is `__Host-`, Secure, HttpOnly, SameSite=Strict, for `/` and without a domain; all flows."""
    with https.client() as client:
        login = client.post("/login", json={"name": NAME, "password": PASSWORD})
        assert login.status_code == 200
        value = _check_locked(login)
        refreshed = client.post("/refresh", headers={"Cookie": f"{LOCKED}={value}"})
        assert refreshed.status_code == 200
        value = _check_locked(refreshed)
        loose = client.post("/refresh", headers={"Cookie": f"refreshToken={value}"})
        assert loose.status_code == 401
        twice = client.post("/refresh", headers={"Cookie": f"{LOCKED}={value}; {LOCKED}={value}"})
        assert twice.status_code == 400
        logout = client.post("/logout", headers={"Cookie": f"{LOCKED}={value}"})
        assert _check_locked(logout) == ""
        assert "Max-Age=0" in logout.headers["set-cookie"]
        for reply in (login, refreshed, loose, twice, logout):
            assert reply.headers["strict-transport-security"].startswith("max-age=31536000")
        ended = client.post("/refresh", headers={"Cookie": f"{LOCKED}={value}"})
        assert ended.status_code == 401


def test_a_jar_keeps_the_cookie_and_loses_it(https: TlsServer) -> None:
    """A cookie jar that knows the rules takes the cookie, sends it, and forgets it at logout."""
    with https.client() as client:
        client.post("/login", json={"name": NAME, "password": PASSWORD})
        assert [cookie.name for cookie in client.cookies.jar] == [LOCKED]
        assert client.post("/refresh").status_code == 200
        assert client.post("/logout").status_code == 200
        assert not list(client.cookies.jar)


def test_old_protocols_are_refused(https: TlsServer) -> None:
    """TLS 1.2 and 1.3 are spoken, 1.1 and 1.0 are not."""
    for version, spoken in (
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ):
        context = ssl.create_default_context(cafile=https.certificate.cert)
        with _allowed_to_be_old():
            context.minimum_version = context.maximum_version = version
        # A client of today would not even try otherwise.
        context.set_ciphers("ALL:@SECLEVEL=0")
        if spoken:
            with https.handshake(context) as connection:
                assert connection.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
        else:
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                https.handshake(context)


def test_the_protocol_that_is_agreed_on_is_http_1_1(https: TlsServer) -> None:
    """Of a client's offer the server takes HTTP/1.1, and one that speaks HTTP/2 only gets no connection."""
    context = https.certificate.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with https.handshake(context) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % https.port)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError):
        https.handshake(context)


def test_plain_http_on_the_https_port_is_no_login(https: TlsServer) -> None:
    """A client that forgets the s gets no answer that it could take for one, and no password is taken."""
    body = json.dumps({"name": NAME, "password": PASSWORD}).encode()
    with socket.create_connection(("127.0.0.1", https.port), timeout=LONGEST_WAIT) as connection:
        connection.sendall(
            b"POST /login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n\r\n%s"
            % (https.port, len(body), body)
        )
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/" not in connection.recv(1_000)


def test_only_the_right_certificate_and_key_start(tmp_path: Path) -> None:
    """A key that is not the certificate's, or is not there, is said at the start in a line, not by a dying worker."""
    first, second = Certificate(_made(tmp_path / "a")), Certificate(_made(tmp_path / "b"))
    for cert, key in ((first.cert, second.key), (first.cert, tmp_path / "no-such-key.pem")):
        server = ServerProcess(tmp_path, tls_cert=str(cert), tls_key=str(key))
        server.arguments = [word.replace("http://", "https://") for word in server.arguments]
        with server:
            server.launch()
            assert server.wait() == 1, server.log
        assert "tls_" in server.log
        assert "Traceback" not in server.log


@pytest.mark.slow
def test_a_renewed_certificate_is_served(tmp_path: Path) -> None:
    """After SIGHUP the new pair is served, also where the files are links, as certbot and Kubernetes make them.

    SIGHUP between the two files leaves the old pair in service, and says so. A connection that the old worker accepts
    in the moment in which it stops is closed before it says anything (Granian does that): the next one is served.
    """
    old, new = (Certificate(_made(tmp_path / name)) for name in ("old", "new"))
    with TlsServer(tmp_path) as server:
        server.program = _looking_every(3_600)
        for name in ("cert.pem", "key.pem"):
            _lead(tmp_path / name, tmp_path / "old" / name)
        server.start()
        assert _ask(server) == old.serial

        _lead(tmp_path / "cert.pem", tmp_path / "new" / "cert.pem")
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: "tls_key" in server.log, "the half-done renewal is refused")
        for _ in range(20):
            assert _ask(server) == old.serial
            time.sleep(0.05)

        _lead(tmp_path / "key.pem", tmp_path / "new" / "key.pem")
        for name in ("cert.pem", "key.pem"):
            (tmp_path / "old" / name).unlink()
        os.kill(server.pid, signal.SIGHUP)
        served: list[int | None] = []
        deadline = time.monotonic() + LONGEST_WAIT
        # For a while the old worker and the new one both answer.
        while served[-20:] != [new.serial] * 20:
            assert time.monotonic() < deadline, server.log
            served.append(_ask(server))
        assert set(served) <= {old.serial, new.serial, None}
        assert served.count(None) <= 2


@pytest.mark.slow
def test_a_renewal_is_noticed_without_a_signal(tmp_path: Path) -> None:
    """The files are looked at again and again: a pair that fits replaces the old one, half a pair is said not to."""
    with TlsServer(tmp_path) as server:
        server.program = _looking_every(0.05)
        server.start()
        before = server.certificate.serial
        renewed = Certificate(_made(tmp_path / "new"))
        shutil.copy(renewed.cert, server.certificate.cert)
        wait_until(lambda: "not reloaded" in server.log, "the half-done renewal is refused")
        assert _ask(server) == before
        shutil.copy(renewed.key, server.certificate.key)
        wait_until(lambda: _ask(server) == renewed.serial, "the new certificate is served")
        assert "Traceback" not in server.log


def _looking_every(seconds: float) -> tuple[str, ...]:
    """Return the program of a server that looks at its certificate so often without being told to."""
    return (sys.executable, "-c", f"from tokenkeep.cli import main, serve; serve.RENEWAL_CHECK = {seconds}; main()")


def _ask(server: TlsServer) -> int | None:
    """Make one request over a connection of its own; return the serial number of the certificate that was served.

    None if the connection was closed without a word. That nobody listens is a failure.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    received = b""
    with (
        contextlib.suppress(ssl.SSLEOFError, ConnectionResetError, BrokenPipeError),
        server.handshake(context) as connection,
    ):
        certificate = connection.getpeercert(binary_form=True)
        assert certificate is not None
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        received = connection.recv(1_000)
    if not received:
        return None
    assert received.startswith(b"HTTP/1.1 200 ")
    return x509.load_der_x509_certificate(certificate).serial_number


def _check_locked(reply: httpx2.Response) -> str:
    """Return the cookie's value, after looking at all that is said of it."""
    (header,) = reply.headers.get_list("set-cookie")
    pair, *attributes = [part.strip() for part in header.split(";")]
    name, _, value = pair.partition("=")
    assert name == LOCKED
    assert {each.partition("=")[0].lower() for each in attributes} == {
        "path",
        "httponly",
        "samesite",
        "secure",
        "max-age",
    }
    assert {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"} <= set(attributes)
    return value


def _lead(link: Path, to: Path) -> None:
    """Make a path a link to a file, in one step, whatever it was before."""
    staged = link.with_suffix(".new")
    staged.symlink_to(to)
    staged.rename(link)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


@contextlib.contextmanager
def _allowed_to_be_old() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
