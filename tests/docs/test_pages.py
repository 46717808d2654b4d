"""All pages: their links lead somewhere, each is reached from the index, and none sends its reader elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = sorted((ROOT / "docs").glob("*.md"))
PACKAGING: Final = sorted(
    [ROOT / "Dockerfile", ROOT / "compose.yaml", ROOT / ".dockerignore", *(ROOT / "deploy").iterdir()]
)
OF_EXAMPLES: Final = re.compile(r"(.+\.)?example(\.com)?|localhost|127\.0\.0\.1|\[::1]|\$\{TOKENKEEP_SITE.*")
"""Hosts that are nobody's."""


def prose(page: Path) -> str:
    """Return a page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path):
    """Each link is to a file of the repository, and to a heading in it if it names one."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        assert not urlsplit(link).scheme, f"{link} leads out of the repository"
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_names_every_page():
    """Each page is reached from the index, and the index from the README."""
    index = (ROOT / "docs/index.md").read_text("utf-8")
    assert [page.name for page in DOCS if page.name != "index.md" and f"]({page.name})" not in index] == []
    assert "](docs/index.md)" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("file", [*DOCS, *PACKAGING], ids=lambda file: file.name)
def test_no_address_is_somebodys(file: Path):
    """Addresses are those of examples and of this machine; no file says where to download anything."""
    addresses = re.findall(r"\b(?:https?|ftp|postgresql|git)://[^\s`'\"<>);]+", file.read_text("utf-8"))
    # A user and no host is a unix socket of this machine.
    elsewhere = [address for address in addresses if not urlsplit(address).netloc.endswith("@")]
    hosts = {re.sub(r"^.*@|:\d+$", "", urlsplit(address).netloc) or address for address in elsewhere}
    allowed = {"tokenkeep", "tokenkeep_verify", "orders", "postgres", "db.internal", "host", "TOKENKEEP_UPSTREAM"}
    assert {host for host in hosts if not OF_EXAMPLES.fullmatch(host) and host not in allowed} == set()
