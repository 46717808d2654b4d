"""What `/metrics` tells, to whom, and that nobody can make it grow."""

from __future__ import annotations

import json
from typing import Final

from tests.attacks.http.attacker import JSON, Attacker
from tests.attacks.http.conftest import Log, OpenServer
from tokenkeep.settings import Secret

TOKEN: Final = "ops-token-canary-0123456789abcdef0123456789"
PASSED_ON: Final = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via")
"""Headers by which proxies show themselves."""


async def test_no_request_makes_a_new_series(attacker: Attacker) -> None:
    """After each status was seen once, 500 unknown paths, methods, hosts and names add not one series."""
    await _knock(attacker, 0)
    before = await _series(attacker)

    for number in range(1, 126):
        await _knock(attacker, number)

    assert await _series(attacker) == before
    assert not any("canary" in series for series in before)


async def test_metrics_count_what_happens(attacker: Attacker) -> None:
    """Requests are counted by the route of the table, audit events by kind; a path of nobody's is `other`."""
    before = await _values(attacker)

    await attacker.login()
    await attacker.ask("GET", "/canary")

    after = await _values(attacker)
    grown = {name for name, value in after.items() if value != before.get(name, 0.0) and "_total{" in name}
    assert 'tokenkeep_requests_total{method="POST",route="/login",status="200"}' in grown
    assert 'tokenkeep_requests_total{method="GET",route="other",status="404"}' in grown
    assert 'tokenkeep_events_total{event="session_started"}' in grown


async def test_metrics_of_a_local_server_are_for_this_machine(attack: OpenServer, log: Log) -> None:
    """Of a server for this machine only, whoever is on it sees the metrics, unless the request came past a proxy."""
    attacker = await attack(ops_token=Secret(TOKEN))
    good = ("Authorization", f"Bearer {TOKEN}")
    for client in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert (await attacker.ask("GET", "/metrics", client=client)).status == 200
        for name in PASSED_ON:
            passed_on = (name, "203.0.113.9")
            (await attacker.ask("GET", "/metrics", client=client, headers=[passed_on])).refused(404, "not_found")
            assert (await attacker.ask("GET", "/metrics", client=client, headers=[passed_on, good])).status == 200
    for headers in ([], [("X-Forwarded-For", "127.0.0.1")], [("Forwarded", "for=127.0.0.1")]):
        (await attacker.ask("GET", "/metrics", client="203.0.113.9", headers=headers)).refused(404, "not_found")
    assert (await attacker.ask("GET", "/metrics", client="203.0.113.9", headers=[good])).status == 200
    assert TOKEN[:20] not in json.dumps(log())


async def test_metrics_of_a_public_server_are_for_the_token(attack: OpenServer, log: Log) -> None:
    """Of a server that others reach, only the operations token opens the metrics; else there is no such page."""
    attacker = await attack(
        issuer="https://auth.example.test", host="10.0.0.1", trusted_proxies=("10.0.0.5",), ops_token=Secret(TOKEN)
    )
    good = ("Authorization", f"Bearer {TOKEN}")
    stranger = {"client": "203.0.113.9", "scheme": "https"}
    wrong = [
        *("", "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Bearer {TOKEN} ", f"Basic {TOKEN}"),
        *(TOKEN, "Bearer None", "Bearer \xff\xfe"),
    ]
    closed_to = [
        (stranger, []),
        ({"client": None, "scheme": "https"}, []),
        ({"client": "127.0.0.1"}, []),
        ({"client": "::1", "scheme": "https"}, []),
        ({"client": "10.0.0.5"}, []),
        ({"client": "10.0.0.5"}, [("X-Forwarded-For", "203.0.113.9")]),
        ({"client": "10.0.0.5"}, [("X-Forwarded-For", "127.0.0.1")]),
        (stranger, [("X-Forwarded-For", "127.0.0.1")]),
        (stranger, [("Authorization", "Bearer x"), good]),
        (stranger, [good, ("Authorization", "Bearer x")]),
        (stranger, [("Cookie", f"Authorization=Bearer {TOKEN}"), ("X-Ops-Token", TOKEN)]),
        *((stranger, [("Authorization", value)]) for value in wrong),
        *(({"client": "127.0.0.1"}, [(name, "203.0.113.9")]) for name in PASSED_ON),
    ]
    for options, headers in closed_to:
        reply = await attacker.ask("GET", "/metrics", headers=headers, host="auth.example.test", **options)
        assert reply.status == 404, (options, headers)
        reply.refused(404, "not_found")
    for options in (stranger, {"client": "10.0.0.5"}, {"client": "127.0.0.1"}):
        reply = await attacker.ask("GET", "/metrics", headers=[good], host="auth.example.test", **options)
        assert reply.status == 200
    assert TOKEN[:20] not in json.dumps(log())


async def test_without_an_operations_token_no_token_opens_metrics(attack: OpenServer) -> None:
    """Where none is set, neither an empty token nor `None` is one."""
    attacker = await attack(issuer="https://auth.example.test")
    for value in ("Bearer", "Bearer ", "Bearer None", "", "None"):
        headers = [("Authorization", value)]
        reply = await attacker.ask(
            "GET", "/metrics", headers=headers, client="203.0.113.9", scheme="https", host="auth.example.test"
        )
        reply.refused(404, "not_found")


async def test_metrics_are_not_for_a_page_that_took_over_a_name(attacker: Attacker) -> None:
    """A browser on this machine that was told `evil.example` is 127.0.0.1 (DNS rebinding) does not get them."""
    reply = await attacker.ask("GET", "/metrics", host="evil.example:8000")

    assert reply.status in {404, 421}


async def test_metrics_hold_no_secret(attacker: Attacker) -> None:
    """Names, tokens and addresses of people are no metrics."""
    login = await attacker.login()

    text = (await attacker.ask("GET", "/metrics")).body.decode()

    for secret in (login.json()["accessToken"], login.json()["refreshToken"], "Ada", "127.0.0.1"):
        assert secret not in text


async def _knock(attacker: Attacker, number: int) -> None:
    """Make four requests that nobody foresaw, each refused another way."""
    await attacker.ask("GET", f"/canary{number}/x?{number}")
    await attacker.ask(f"CANARY{number}", "/me")
    await attacker.ask("GET", "/me", host=f"canary{number}.example", headers=[("X-Request-ID", f"canary-{number:08}")])
    await attacker.ask("POST", "/login", headers=[JSON], body=b'{"canary%d":1}' % number)


async def _series(attacker: Attacker) -> set[str]:
    return set(await _values(attacker))


async def _values(attacker: Attacker) -> dict[str, float]:
    # The first look makes the series of the second, so that two looks can be compared.
    await attacker.ask("GET", "/metrics")
    lines = (await attacker.ask("GET", "/metrics")).body.decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}
