"""What `serve` says to do next finds its data directory, however the server was told of it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.flows import prepared
from tests.flows.stage import PASSWORD
from tokenkeep.cli.configured import read_settings
from tokenkeep.cli.serve import _next_steps


@dataclass(frozen=True)
class Way:
    """A way to tell where the data directory is, and what the hint has before and after the command for it."""

    flag: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    config: str | None = None
    before: str = ""
    after: str = ""


PLACE = "the data"
WAYS = {
    "by default": Way(),
    "a flag": Way(flag=PLACE, after=f" --data-dir '{PLACE}'"),
    "a variable": Way(variables={"TOKENKEEP_DATA_DIR": PLACE}, before=f"TOKENKEEP_DATA_DIR='{PLACE}' "),
    "a flag over a variable": Way(
        flag=PLACE, variables={"TOKENKEEP_DATA_DIR": "elsewhere"}, after=f" --data-dir '{PLACE}'"
    ),
    "the file here": Way(config="tokenkeep.toml"),
    "a file that is named": Way(config="named.toml", after=" --config named.toml"),
    "a file that a variable names": Way(
        variables={"TOKENKEEP_CONFIG": "named.toml"}, before="TOKENKEEP_CONFIG=named.toml "
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_hint_names_the_data_directory_as_it_was_given(
    run: Run, folder: Path, prepared_directory: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    """The command of the hint is written as the server was started, and adds the account to its data."""
    how = WAYS[way]
    place = folder / (".tokenkeep" if way == "by default" else PLACE)
    prepared.copy(prepared_directory, place)
    for name in {how.config, how.variables.get("TOKENKEEP_CONFIG")} - {None}:
        Path(str(name)).write_text(f'data_dir = "{PLACE}"\n', "utf-8")
    monkeypatch.setattr("sys.argv", ["tokenkeep", "serve"])
    named = Path(how.config) if how.config not in {None, "tokenkeep.toml"} else None  # type: ignore[arg-type]
    with monkeypatch.context() as started:
        for name, value in how.variables.items():
            started.setenv(name, value)
        told = _next_steps(read_settings(named, {"data_dir": how.flag}), named)
    (hint,) = [line.strip() for line in told.splitlines() if "users add" in line]
    assert hint == f"{how.before}tokenkeep users add Ada --role admin{how.after}"
    words = shlex.split(hint)
    at = words.index("tokenkeep")
    for name, value in (word.split("=", 1) for word in words[:at]):
        monkeypatch.setenv(name, value)
    outcome = run(*words[at + 1 :], "--password-stdin", stdin=f"{PASSWORD}\n")
    assert outcome.code == 0, outcome
    assert f"data directory: {os.fspath(place)}" in outcome.err
