"""The systemd unit and the script that runs commands as the service does: what they promise, and that they agree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.system.server_process import COMMAND, clean_environment
from tokenkeep.cli.serve import DRAIN
from tokenkeep.settings.options import OPTIONS

DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy"
UNIT: Final = DEPLOY / "tokenkeep.service"
SCRIPT: Final = DEPLOY / "as-tokenkeep"
PROGRAM: Final = "/opt/tokenkeep/bin/tokenkeep"
WORST_EXPOSURE: Final = 15
"""Tenths on the scale of `systemd-analyze security`, on which 100 is a service without any sandbox."""

Values = dict[str, list[str]]


def read_unit(text: str) -> dict[str, Values]:
    """Return the values of every name in every section; a name may stand there several times."""
    sections: dict[str, Values] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"\[(\w+)]", line):
            section = sections.setdefault(match[1], {})
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, f"not a setting: {line}"
            section.setdefault(name, []).append(value)
    return sections


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command, with these variables beside the usual ones."""
    environ = clean_environment() | variables
    return subprocess.run(words, capture_output=True, text=True, env=environ, timeout=60, check=False)


@pytest.fixture(scope="module")
def service() -> Values:
    """The section [Service] of the unit."""
    return read_unit(UNIT.read_text("utf-8"))["Service"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("AmbientCapabilities", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("PrivateUsers", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("SystemCallArchitectures", "native"),
        ("UMask", "0077"),
        ("StateDirectoryMode", "0700"),
        ("LimitCORE", "0"),
    ],
)
def test_the_sandbox_is_on(service: Values, name: str, value: str):
    """The unit gives the server nothing but its data directory and the network."""
    assert service[name] == [value]


def test_only_allowed_system_calls_are_left(service: Values):
    """System calls are an allow-list, less those that change the machine."""
    assert service["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]


def test_the_server_is_nobody_special(service: Values):
    """The server runs as a user of its own; of the unit's commands only a reload's look is privileged."""
    assert service["User"] == service["Group"] == ["tokenkeep"]
    commands = [command for name, values in service.items() if name.startswith("Exec") for command in values]
    assert [command for command in commands if command[0] in "+!"] == ["+/usr/local/sbin/as-tokenkeep tokenkeep doctor"]


def test_the_secret_is_a_credential(service: Values):
    """The server secret comes from a file that only root can read, and is in no variable."""
    assert "secret:/etc/tokenkeep/secret" in service["LoadCredential"]
    assert "TOKENKEEP_SECRET_FILE=%d/secret" in service["Environment"]
    assert not [value for value in service["Environment"] if value.startswith("TOKENKEEP_SECRET=")]


def test_systemd_waits_until_the_server_has_drained(service: Values):
    """systemd tells the main process only, and kills it later than the server itself gives up on requests."""
    assert service["KillMode"] == ["mixed"]
    assert int(service["TimeoutStopSec"][0]) >= DRAIN + 5


def test_a_server_that_could_not_start_is_started_again(service: Values):
    """A database that is down at start is tried again for ever; a wrong call of the command is not."""
    assert service["Restart"] == ["on-failure"]
    assert service["RestartPreventExitStatus"] == ["2"]
    assert read_unit(UNIT.read_text("utf-8"))["Unit"]["StartLimitIntervalSec"] == ["0"]


def test_a_reload_looks_before_it_replaces(service: Values):
    """What doctor finds keeps a reload from replacing a good worker by one that cannot start."""
    looks, replaces = service["ExecReload"]
    assert looks.endswith("tokenkeep doctor")
    assert replaces == "kill -HUP $MAINPID"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path):
    """`systemd-analyze verify` finds nothing to say about the unit, once its programs exist."""
    script = tmp_path / "as-tokenkeep"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    text = UNIT.read_text("utf-8").replace(PROGRAM, str(COMMAND)).replace("/usr/local/sbin/as-tokenkeep", str(script))
    unit = tmp_path / "tokenkeep.service"
    unit.write_text(text)
    done = run("systemd-analyze", "verify", str(unit))
    # Other units of the machine are read too, and may have faults of their own.
    assert [line for line in done.stderr.splitlines() if "tokenkeep" in line] == []
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_exposure_is_small():
    """On systemd's own scale the unit is among the best guarded."""
    options = ("--offline=true", f"--threshold={WORST_EXPOSURE}", "--no-pager")
    done = run("systemd-analyze", "security", *options, str(UNIT))
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd is older than 250 and cannot judge a file")
    assert done.returncode == 0, done.stdout


def test_the_script_names_what_the_unit_names(service: Values):
    """Commands run by the script find the same settings, data and secrets as the service."""
    script = SCRIPT.read_text("utf-8")
    for variable in ("TOKENKEEP_CONFIG", "TOKENKEEP_DATA_DIR"):
        given = next(value for value in service["Environment"] if value.startswith(f"{variable}="))
        assert re.search(rf"\b{re.escape(given)}( |$)", script, re.MULTILINE)
    assert f"runuser -u {service['User'][0]} --" in script
    assert service["WorkingDirectory"] == ["/var/lib/tokenkeep"]
    assert service["StateDirectory"] == ["tokenkeep"]
    assert "cd /var/lib/tokenkeep\n" in script


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script with its fixed folders moved into one of the test's, and without a change of user."""
    moved = SCRIPT.read_text("utf-8")
    for name in ("etc", "var/lib"):
        (tmp_path / name / "tokenkeep").mkdir(parents=True)
        moved = moved.replace(f"/{name}/tokenkeep", f"{tmp_path}/{name}/tokenkeep")
    moved = moved.replace("exec runuser -u tokenkeep --", "exec").replace(" -o tokenkeep -g tokenkeep", "")
    path = tmp_path / "as-tokenkeep"
    path.write_text(moved)
    (tmp_path / "etc/tokenkeep/secret").write_text("canary-of-the-server-secret-5f4e3d2c1b0a\n")
    (tmp_path / "etc/tokenkeep/tokenkeep.toml").write_text('issuer = "https://auth.example.com"\n')
    return path


def test_the_script_hands_over_settings_and_secrets(script: Path):
    """A command that the script runs sees the settings file, the data directory and the secret, masked."""
    done = run("sh", str(script), str(COMMAND), "settings")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "https://auth.example.com" in rows["issuer"]
    assert "TOKENKEEP_SECRET" in rows["secret"]
    assert "********" in rows["secret"]
    assert "TOKENKEEP_DATA_DIR" in rows["data_dir"]
    assert "default" in rows["database_url"]


def test_the_script_works_from_inside_the_service(script: Path):
    """The variables that the unit sets for the server do not stand in the way of a reload's look."""
    done = run(
        "sh", str(script), str(COMMAND), "settings", TOKENKEEP_SECRET_FILE="/run/credentials/tokenkeep.service/secret"
    )
    assert done.returncode == 0, done.stderr


def test_the_script_hands_over_every_secret_that_is_there(script: Path):
    """A database address beside the server secret reaches the command too."""
    (script.parent / "etc/tokenkeep/database_url").write_text("postgresql://localhost/tokenkeep\n")
    program = "import os; print(os.environ['TOKENKEEP_DATABASE_URL'], os.getcwd(), oct(os.umask(0)))"
    done = run("sh", str(script), sys.executable, "-c", program)
    folder = os.path.realpath(script.parent / "var/lib/tokenkeep")
    assert done.stdout.split() == ["postgresql://localhost/tokenkeep", folder, "0o77"], done.stderr


def test_the_script_and_the_unit_know_every_secret():
    """Each setting that is a secret is looked for by the script, and the unit says how to hand it over."""
    secrets = {name for name, option in OPTIONS.items() if option.kind.secret}
    [looked_for] = re.findall(r"^for name in (.*); do$", SCRIPT.read_text("utf-8"), re.MULTILINE)
    assert set(looked_for.split()) == secrets
    unit = UNIT.read_text("utf-8")
    for name in secrets:
        assert f"LoadCredential={name}:/etc/tokenkeep/{name}\n" in unit
        assert f"Environment=TOKENKEEP_{name.upper()}_FILE=%d/{name}\n" in unit


def test_the_script_works_before_the_first_start(script: Path):
    """The data directory, which systemd makes when the service starts, is made for a command that comes before."""
    (script.parent / "var/lib/tokenkeep").rmdir()
    done = run("sh", str(script), str(COMMAND), "settings")
    assert done.returncode == 0, done.stderr
    assert oct((script.parent / "var/lib/tokenkeep").stat().st_mode)[-3:] == "700"


def test_the_script_stops_without_a_secret_it_may_not_read(script: Path):
    """A secret that cannot be read ends the script, and the command is not run without it."""
    (script.parent / "etc/tokenkeep/secret").unlink()
    (script.parent / "etc/tokenkeep/secret").mkdir()
    done = run("sh", str(script), "echo", "the command ran")
    assert done.returncode != 0
    assert done.stdout == ""


def test_the_script_wants_a_command(script: Path):
    """Without a command the script says how it is called, and ends as a wrong call does."""
    done = run("sh", str(script))
    assert done.returncode == 2
    assert done.stderr == "usage: as-tokenkeep COMMAND [ARGUMENT ...]\n"
