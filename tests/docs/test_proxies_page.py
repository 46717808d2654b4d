"""docs/proxies.md agrees with the files that it explains, and with what Tokenkeep answers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tokenkeep.api.forward_auth import IDENTITY_HEADERS
from tokenkeep.api.problems import status_of
from tokenkeep.api.schemas import VerifyQuery
from tokenkeep.settings import load
from tokenkeep.settings.safety import judge_safety

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs/proxies.md").read_text("utf-8")
FILES: Final = {"nginx": "guard-nginx.conf", "caddyfile": "guard.Caddyfile", "haproxy": "guard-haproxy.cfg"}
KEYS: Final = (ROOT / "deploy/guard-haproxy-keys").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """Return the page's blocks in a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    """Return a file of deploy/."""
    return (ROOT / "deploy" / name).read_text("utf-8")


@pytest.mark.parametrize("language", FILES)
def test_what_is_quoted_is_what_the_file_says(language: str):
    """Each quoted part stands in the file as it is."""
    assert blocks(language)
    for block in blocks(language):
        assert block in read(FILES[language])


def test_the_settings_of_the_page_may_start(tmp_path: Path):
    """They are known and safe as they stand, and each file says the same of them."""
    (text,) = blocks("toml")
    (tmp_path / "tokenkeep.toml").write_text(text)
    findings = judge_safety(load(config=tmp_path / "tokenkeep.toml").settings)
    assert [finding for finding in findings if not finding.ok or finding.overridden] == []
    for name in FILES.values():
        comments = "\n".join(re.findall(r"^#   (\w+ = \S+)", read(name), re.MULTILINE))
        said = tomllib.loads(comments)
        assert said.keys() >= {"issuer", "audiences"}
        assert {key: value for key, value in said.items() if key in tomllib.loads(text)}.items() <= tomllib.loads(
            text
        ).items()


@pytest.mark.parametrize("text", [*map(read, FILES.values()), *blocks("yaml")], ids=[*FILES, "traefik"])
def test_every_header_is_handed_over(text: str):
    """No file forgets one of the headers, which a client could then send itself."""
    named = re.findall(r"X-Auth-\w+", text)
    assert set(named) == set(IDENTITY_HEADERS)


def test_the_tables_are_whole():
    """Every header and every parameter is explained, and each code has its status."""
    assert tuple(re.findall(r"^\| `(X-Auth-\w+)` \|", PAGE, re.MULTILINE)) == IDENTITY_HEADERS
    assert set(re.findall(r"^\| `([a-z]+)` \|", PAGE, re.MULTILINE)) == set(VerifyQuery.__struct_encode_fields__)
    answers = re.findall(r"^\| (\d{3}) `(\w+)`", PAGE, re.MULTILINE)
    assert len(answers) == 5
    for status, code in answers:
        assert status_of(code) == int(status)


def test_haproxy_has_as_many_places_as_the_script_fills():
    """The script writes each file that the configuration names, and no other."""
    (places,) = re.findall(r"^places=(\d)", KEYS, re.MULTILINE)
    (folder,) = re.findall(r"^folder=(\S+)", KEYS, re.MULTILINE)
    named = re.findall(rf"jwt_verify\(ES256,{folder}/(\d)\.pem\)", read("guard-haproxy.cfg"))
    assert named == [str(place) for place in range(1, int(places) + 1)]
