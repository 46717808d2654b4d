"""The page about the engine: its code runs, and its tables are complete."""

import re
from pathlib import Path

from tokenkeep.jose import errors
from tokenkeep.jose.algorithms import ALGORITHMS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "engine.md").read_text()


def test_the_code_on_the_page_runs():
    """Every block of Python on the page runs, in order, in one program."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) > 7
    names: dict = {}
    for block in blocks:
        exec(compile(block, "docs/engine.md", "exec"), names)


def test_the_page_names_every_error_and_algorithm():
    """Each error that can be raised is listed with its code, and each algorithm is named."""
    roots = {"TokenError", "UsageError", "ClaimError", "KeySelectionError", "MalformedJson", "MalformedBase64"}
    for name in errors.__all__:
        if name not in roots:
            assert f"`{name}`" in PAGE, name
            assert f"`{getattr(errors, name).code}`" in PAGE, name
    for alg in ALGORITHMS:
        assert f"`{alg}`" in PAGE, alg


def test_the_links_of_the_page_lead_somewhere():
    """Each entry of the table of contents is a heading."""
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("## ")
    }
    assert set(re.findall(r"\]\(#([a-z0-9-]+)\)", PAGE)) == headings
