"""The Dockerfile, the compose files, and the server under the conditions they make. No container engine is used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.system.server_process import ServerProcess
from tokenkeep.cli.serve import DRAIN
from tokenkeep.settings import load
from tokenkeep.settings.safety import judge_safety
from tokenkeep.storage.redis_address import RedisAddress
from tokenkeep.storage.sql.postgres_address import PostgresAddress

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
USER: Final = "10001:10001"
CANARY: Final = "canary-of-the-server-secret-5f4e3d2c1b0a"

Instruction = tuple[str, str]


def read_dockerfile(text: str) -> list[list[Instruction]]:
    """Return the instructions of each stage; those before the first stage are left out."""
    joined = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", " ")
    stages: list[list[Instruction]] = []
    for line in filter(None, joined.splitlines()):
        name, _, value = line.partition(" ")
        if name == "FROM":
            stages.append([])
        if stages:
            stages[-1].append((name, value.strip()))
    return stages


STAGES: Final = read_dockerfile((ROOT / "Dockerfile").read_text("utf-8"))
LAST: Final = STAGES[-1]


def values(stage: list[Instruction], name: str) -> list[str]:
    """Return the values of the instructions of that name."""
    return [value for each, value in stage if each == name]


def environment() -> dict[str, str]:
    """Return the variables that the image sets."""
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(values(LAST, "ENV"))))


def services(name: str) -> dict[str, Any]:
    """Return the services of a compose file."""
    return dict(yaml.safe_load((ROOT / name).read_text("utf-8"))["services"])


COMPOSE: Final = services("compose.yaml")
ON_POSTGRES: Final = services("deploy/compose.postgres.yaml")
FLEET: Final = services("deploy/compose.fleet.yaml")
EVERY_SERVICE: Final = [
    *COMPOSE.items(),
    ("postgres", ON_POSTGRES["postgres"]),
    *((name, FLEET[name]) for name in ("tokenkeep2", "redis")),
]


# ------------------------------------------------------------------------------------------------- Dockerfile


def test_what_is_installed_is_pinned_by_hash():
    """The build takes the pinned wheels and nothing else, and the registry is asked in one step only."""
    steps = " && ".join(values(STAGES[0], "RUN")).split(" && ")
    asks = [
        step for step in steps if re.search(r"pip (\S+ )*(download|install|wheel)", step) and "--no-index" not in step
    ]
    assert len(asks) == 1
    assert "--require-hashes --only-binary :all: --requirement requirements/server.txt" in asks[0]


def test_the_last_stage_builds_nothing():
    """The last stage installs nothing, takes pip away, and copies only the environment and the health check."""
    run = " ".join(values(LAST, "RUN"))
    assert "pip uninstall" in run
    assert not re.search(r"pip3? install|apt|gcc|curl|wget", run)
    assert "venv --without-pip /opt/tokenkeep" in " ".join(values(STAGES[0], "RUN"))
    assert values(LAST, "COPY") == [
        "--from=build /opt/tokenkeep /opt/tokenkeep",
        "deploy/healthcheck.py /opt/tokenkeep/healthcheck.py",
    ]


def test_the_image_runs_as_a_numbered_user():
    """The user is a number, so that an orchestrator can see that it is not root, and owns the data directory."""
    assert values(LAST, "USER") == [USER]
    assert f"-o {USER.partition(':')[0]} -g {USER.partition(':')[2]} /data" in " ".join(values(LAST, "RUN"))
    assert values(LAST, "VOLUME") == ["/data"]
    assert environment()["TOKENKEEP_DATA_DIR"].startswith("/data/")


def test_the_image_starts_stops_and_is_watched():
    """The container is the command, ends on SIGTERM, and is asked whether it lives."""
    assert values(LAST, "ENTRYPOINT") == ['["tokenkeep"]']
    assert values(LAST, "CMD") == ['["serve"]']
    assert values(LAST, "STOPSIGNAL") == ["SIGTERM"]
    (check,) = values(LAST, "HEALTHCHECK")
    assert check.endswith('CMD ["python", "/opt/tokenkeep/healthcheck.py"]')


def test_the_image_holds_no_secret():
    """No secret is set, copied or asked for while the image is built."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert not re.search(r"SECRET|PASSWORD|TOKEN=|DATABASE_URL", text.replace("TOKENKEEP", ""))


def test_both_stages_are_of_one_image():
    """The environment of one stage works in the other, since both begin with the same image, of a fixed version."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert [values(stage, "FROM")[0].split()[0] for stage in STAGES] == ["${PYTHON_IMAGE}"] * 2
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim-\w+$", text, re.MULTILINE)


def test_only_what_is_named_gets_into_the_build():
    """The build is given what the Dockerfile copies, and no data directory, secret or settings file."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    let_in = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    copied = [value.split()[:-1] for stage in STAGES for value in values(stage, "COPY") if "--from" not in value]
    assert {source for sources in copied for source in sources} == let_in
    assert all((ROOT / path).exists() for path in let_in)
    assert not any(
        fnmatch(path, "*secret*") or ".tokenkeep" in path or path.endswith(".toml")
        for path in let_in - {"pyproject.toml"}
    )


# ---------------------------------------------------------------------------------------------------- compose


@pytest.mark.parametrize(("name", "service"), EVERY_SERVICE)
def test_every_container_is_closed(name: str, service: dict[str, Any]):
    """No container can write to its image, gain privileges or keep capabilities."""
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])


@pytest.mark.parametrize(("name", "service"), EVERY_SERVICE)
def test_every_image_has_a_version(name: str, service: dict[str, Any]):
    """No image moves by itself, and none names a registry."""
    assert re.fullmatch(r"[a-z]+:\d[\w.-]*", service["image"]), name


@pytest.mark.parametrize(("name", "service"), [item for item in EVERY_SERVICE if item[0] != "proxy"])
def test_only_the_proxy_is_reachable(name: str, service: dict[str, Any]):
    """Tokenkeep and its database have no published port, and a network without a way out."""
    networks = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["networks"]
    assert "ports" not in service, name
    assert service["networks"] == ["inner"]
    assert networks["inner"]["internal"] is True


def test_tokenkeep_believes_the_proxy_alone():
    """The trusted proxy is the one fixed address of the proxy, inside the network that both share."""
    document = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    trusted = ip_network(COMPOSE["tokenkeep"]["environment"]["TOKENKEEP_TRUSTED_PROXIES"])
    assert trusted.num_addresses == 1
    assert trusted[0] == ip_address(COMPOSE["proxy"]["networks"]["inner"]["ipv4_address"])
    assert trusted.subnet_of(ip_network(document["networks"]["inner"]["ipam"]["config"][0]["subnet"]))


def test_the_settings_of_compose_are_known_and_safe(tmp_path: Path):
    """What the image and compose set together passes every safety rule, without an override."""
    (tmp_path / "secret").write_text(CANARY)
    given = environment() | COMPOSE["tokenkeep"]["environment"]
    given["TOKENKEEP_ISSUER"] = given["TOKENKEEP_ISSUER"].replace("${TOKENKEEP_SITE:-localhost}", "auth.example.com")
    assert given["TOKENKEEP_SECRET_FILE"] == "/run/secrets/tokenkeep_secret"
    given["TOKENKEEP_SECRET_FILE"] = str(tmp_path / "secret")
    findings = judge_safety(load(environ=given).settings)
    assert [finding for finding in findings if not finding.ok or finding.overridden] == []


def test_secrets_come_as_files():
    """No compose file holds a secret; each is a file of the folder secrets/, given to who needs it."""
    for name in ("compose.yaml", "deploy/compose.postgres.yaml", "deploy/compose.fleet.yaml"):
        document = yaml.safe_load((ROOT / name).read_text("utf-8"))
        for secret, source in document.get("secrets", {}).items():
            assert source == {"file": f"./secrets/{secret}"}
        for service in document["services"].values():
            named = {path.removeprefix("/run/secrets/") for path in _secret_files(service)}
            assert named == set(service.get("secrets", []))


def test_compose_reaches_the_database_over_a_socket_with_a_password():
    """The address that the page writes is in the volume that both share, and the database listens on no network."""
    page = (ROOT / "docs/deployment.md").read_text("utf-8")
    written = re.search(r"sed 's\|\.\*\|(postgresql://\S+)\|'", page)
    assert written
    address = PostgresAddress.parse(written[1].replace("&", "0" * 48))
    database = ON_POSTGRES["postgres"]
    assert address.hosts == (("/run/postgresql", 5432),)
    assert ON_POSTGRES["tokenkeep"]["volumes"] == ["database-socket:/run/postgresql:ro"]
    assert "database-socket:/var/run/postgresql" in database["volumes"]
    assert database["command"] == ["postgres", "-c", "listen_addresses="]
    assert database["environment"]["POSTGRES_INITDB_ARGS"] == "--auth-local=scram-sha-256"


def test_docker_waits_until_the_server_has_drained():
    """A stopped container is killed later than the server itself gives up on requests."""
    for node in (COMPOSE["tokenkeep"], FLEET["tokenkeep2"]):
        assert int(node["stop_grace_period"].removesuffix("s")) >= DRAIN + 5


def test_both_nodes_of_the_fleet_are_set_up_alike():
    """The second node has what the first one has with all files laid over each other, but a data volume of its own."""
    first, second = COMPOSE["tokenkeep"], FLEET["tokenkeep2"]
    layers = (first, ON_POSTGRES["tokenkeep"], FLEET["tokenkeep"])
    merged = {name: value for layer in layers for name, value in layer["environment"].items()}
    assert second["environment"] == merged
    assert second["secrets"] == [secret for layer in layers for secret in layer.get("secrets", [])]
    assert [volume.replace("data2:", "data:") for volume in second["volumes"]] == [
        volume for layer in layers for volume in layer["volumes"]
    ]
    alike = ("image", "restart", "user", "read_only", "tmpfs", "mem_limit", "pids_limit", "ulimits", "networks")
    assert {name: second[name] for name in alike} == {name: first[name] for name in alike}


def test_the_fleet_meets_where_it_says():
    """Redis listens where the nodes look for it, and the proxy is told of both nodes by its file's own variable."""
    address = RedisAddress.parse(FLEET["tokenkeep"]["environment"]["TOKENKEEP_REDIS_URL"])
    redis = FLEET["redis"]
    assert address.socket in redis["command"]
    assert redis["healthcheck"]["test"][:3] == ["CMD", "redis-cli", "-s"]
    assert "redis-socket:/run/redis" in redis["volumes"]
    nodes = FLEET["proxy"]["environment"]["TOKENKEEP_NODES"].split()
    assert nodes == [f"{name}:8000" for name in ("tokenkeep", "tokenkeep2")]
    assert "{$TOKENKEEP_NODES:" in (DEPLOY / "fleet.Caddyfile").read_text("utf-8")
    assert FLEET["proxy"]["volumes"] == ["./deploy/fleet.Caddyfile:/etc/caddy/Caddyfile:ro"]


def _secret_files(service: dict[str, Any]) -> Iterator[str]:
    for variable, value in service.get("environment", {}).items():
        if re.search(r"SECRET|PASSWORD|DATABASE_URL|TOKEN$|TOKEN_FILE$", variable.removeprefix("TOKENKEEP_")):
            assert variable.endswith("_FILE"), f"{variable} holds a secret itself"
            yield value


# ------------------------------------------------------------------------------------- under these conditions


@pytest.mark.system
@pytest.mark.xdist_group("system")
def test_the_image_alone_refuses_to_listen(tmp_path: Path):
    """Without an issuer the image does not serve plain http to everyone; it says what to set."""
    server = ServerProcess(tmp_path, environ=_moved(tmp_path))
    server.arguments = []
    with server:
        server.launch()
        assert server.wait() == 1
        assert "host 0.0.0.0 would take plain http from anywhere" in server.log
        assert "set an https issuer and trusted_proxies" in server.log


@pytest.mark.system
@pytest.mark.xdist_group("system")
def test_nothing_but_the_data_directory_is_written(tmp_path: Path):
    """With the variables of image and compose the server is healthy, and leaves every other folder empty."""
    (tmp_path / "secret").write_text(f"{CANARY}\n")
    given = _moved(tmp_path) | {
        "TOKENKEEP_ISSUER": "https://localhost",
        "TOKENKEEP_TRUSTED_PROXIES": "127.0.0.1",
        "TOKENKEEP_SECRET_FILE": str(tmp_path / "secret"),
    }
    cwd = tmp_path / "cwd"
    for folder in (cwd, tmp_path / "home", tmp_path / "temporary"):
        folder.mkdir()
    server = ServerProcess(cwd, environ=given)
    server.data = tmp_path / "volume/data/tokenkeep"
    server.arguments = ["--port", str(server.port)]
    server._log = tmp_path / "log"
    with server:
        server.start()
        assert _health(server.port) == 0
        server.add_user("Ada", "correct-horse-battery")
        login = {"name": "Ada", "password": "correct-horse-battery"}
        assert server.request("POST", "/login", json=login, headers={"Host": "localhost"}).status_code == 200
        assert server.stop() == 0
    assert _health(server.port) == 1
    assert [list(folder.iterdir()) for folder in (cwd, tmp_path / "home", tmp_path / "temporary")] == [[], [], []]
    assert "tokenkeep.db" in {path.name for path in server.data.iterdir()}
    assert "secret" not in {path.name for path in server.data.iterdir()}


def _moved(folder: Path) -> dict[str, str]:
    """Return the image's variables, with its volume and every other place that could be written in a folder."""
    own = environment()
    own.pop("PATH")
    own["TOKENKEEP_DATA_DIR"] = f"{folder}/volume{own['TOKENKEEP_DATA_DIR']}"
    return own | {"HOME": f"{folder}/home", "TMPDIR": f"{folder}/temporary", "TOKENKEEP_RATE_LIMITS": "on"}


def _health(port: int) -> int:
    check = [sys.executable, str(DEPLOY / "healthcheck.py")]
    return subprocess.run(check, env={**os.environ, "TOKENKEEP_PORT": str(port)}, timeout=30, check=False).returncode
